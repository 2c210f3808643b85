"""What the adapters of the vendors' own interfaces share: chats alone, a model's page, how it is to think."""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import quote

from evalkit.errors import ModelError, ProbeError, RequestRejected, UsageError
from evalkit.models.http import NO_LIST, HTTPBackend
from evalkit.models.openai import wire
from evalkit.models.openai.http_errors import Garbled, Withheld
from evalkit.models.openai.probe import BRIEF, LENGTH, ServedModel, check_interface, short_question
from evalkit.models.openai.reasoning import (
    ASKED_AGAIN,
    LONG_ANSWER,
    SHORTENED,
    less_room,
    too_long,
)
from evalkit.models.reasoning import ALLOWANCE
from evalkit.models.spec import ModelSpec
from evalkit.protocols import ProbeResult, RateLimits
from evalkit.types import Request, Requirements, Response, ServerInfo

LACKS = {
    "stream": "replies of this interface are read whole",
    "logprobs": "this interface reports no log-probabilities of a prompt",
    "sampling": "this interface has one set of parameters",
}
_NO_LOGPROBS = f"{LACKS['logprobs']}. Use SGLang or vLLM (openai: with their URL) for this task"


class ThinkingPlan(NamedTuple):
    """How a model is to think: the vendor's ``fields`` of a request, and what that takes.

    ``room`` is added to the answer's length, in tokens; ``fixed``: the vendor takes it as a budget, so that
    it cannot shrink. ``most`` is the most tokens that the model writes in one reply, if known.
    """

    fields: Mapping[str, Any] = {}
    room: int = 0
    fixed: bool = False
    most: int | None = None

    def length(self, answer: int) -> int:
        """Return the tokens that a whole reply may have. Raises ``RequestRejected`` for too many."""
        total = answer + self.room
        if self.most is None or total <= self.most:
            return total
        if self.fixed:
            raise RequestRejected(
                f"an answer of {answer} tokens and reasoning_tokens={self.room} are more than {self.most}, "
                "the most that the model writes. Set fewer ?reasoning_tokens="
            )
        return max(answer, self.most)

    def shorter(self, problem: RequestRejected) -> ThinkingPlan | None:
        """Return the plan with less room for a request that was too long; None for another problem."""
        if not self.room or self.fixed or not too_long(problem):
            return None
        return self._replace(room=less_room(self.room))

    def stop(self, request: Request) -> tuple[str, ...]:
        """Return the stop strings to send: none where the model may write them while it thinks.

        ``Model`` ends every answer at the first stop string.
        """
        return () if self.room else request.stop


NO_THINKING = ThinkingPlan()


class VendorBackend(HTTPBackend):
    """The base class of adapters of the vendors' own interfaces.

    ``lacks``: parameters of a spec that the interface does not have, each with the reason.
    ``plan``: how the model is to think; ``may_think``: False where the vendor says that it cannot.
    """

    takes_reasoning = True
    lacks: Mapping[str, str] = LACKS

    def __init__(self, spec: ModelSpec) -> None:
        settings = {**spec.options, **spec.generation}
        for name, why in self.lacks.items():
            if settings.get(name, False) is not False:
                raise UsageError(f"model parameter {name}: {why}. Leave it out")
        super().__init__(spec)
        self.plan = NO_THINKING
        self.may_think = True
        self._thinks = False
        self._usual_room = 0  # for a model that thinks although the spec says nothing of it
        self._context: int | None = None

    async def probe(self, needs: Requirements) -> ProbeResult:
        """Find the model on every endpoint and check what the task needs. Raises ``ProbeError``."""
        info = await self._with_reasoning((await self._find(needs))[0])
        await self._check(needs)
        return ProbeResult(self.name, self._as_asked(info), self.traits)

    async def _find_refused(self, served: Sequence[ServedModel], needs: Requirements) -> None:
        """Ask a short question: does the model think unasked? The vendors' lists do not say it.

        Raises ``ProbeError`` if the vendor refuses what the spec says about reasoning.
        """
        self._context = served[0].info.max_context
        self._thinks = self.may_think and await self._thinks_unasked()

    async def _with_reasoning(self, info: ServerInfo) -> ServerInfo:
        """Return the facts with the room that the model gets to think. Raises ``ProbeError``."""
        thinks = self._thinks
        if thinks and not self.spec.reasoning.identity:
            self._give_room()
            await self._fit_room()
        if thinks and self.spec.reasoning.effort == "none":
            raise ProbeError(f"{self.name}: the model reasons although effort=none. Leave effort out")
        if not self.plan.room:
            return info
        said = f"{self.name} reasons: {self.spec.reasoning.about_room(self.plan.room)}"
        found = {"channel": "field" if thinks else "", "allowance": self.plan.room, "said": said}
        chosen = {} if self.spec.reasoning.tokens else {ALLOWANCE: self.plan.room}
        server = info.server | {"reasoning": found}
        return ServerInfo(info.identity | chosen, info.max_context, info.max_running, server)

    def set_plan_by(self, make: Callable[[], ThinkingPlan]) -> None:
        """Set how the model is to think. Raises ``ProbeError`` where ``make`` says that it cannot."""
        try:
            plan = make()
        except UsageError as problem:
            raise ProbeError(f"{self.name}: {problem}") from None
        self.set_plan(plan)

    def set_plan(self, plan: ThinkingPlan) -> None:
        """Set how the model is to think."""
        self.plan = plan if plan.room else plan._replace(room=self._usual_room)

    def _give_room(self) -> None:
        """Give a model room to think from now on, unless the spec switches thinking off."""
        if not self.plan.room:
            self._usual_room = self.spec.reasoning.allowance(self._context)
            self.set_plan(self.plan)

    async def _fit_room(self) -> None:
        """Reduce the room that was given unasked to what a server of unknown context accepts."""
        brief = short_question(self, BRIEF)
        while self._context is None and self.plan.room:
            payload = self.payload(brief)
            try:
                await self.endpoints.call(partial(self._post_to, payload))
            except RequestRejected as problem:
                if (shorter := self.plan.shorter(problem)) is None:
                    return
                self._usual_room, self.plan = shorter.room, shorter
            except ModelError:
                return  # the samples meet the same failure, and report it
            else:
                return

    async def _post_to(self, payload: dict[str, Any], url: str) -> tuple[Any, RateLimits]:
        return await self.post(self.target(url), payload)

    async def _thinks_unasked(self) -> bool:
        """Return whether the model thinks about a short question. Raises ``ProbeError``.

        ``UsageError`` for a refused parameter of the model's spec.
        """
        request = short_question(self, LENGTH)
        try:
            reply, _ = await self.endpoints.call(lambda url: self._generate(url, request))
        except RequestRejected as problem:
            check_interface(self, problem)
            if not (told := self.spec.reasoning.suffix):
                return False
            raise ProbeError(f"{self.name}: the vendor refuses {told}: {problem}") from None
        except ModelError:
            return False  # the samples meet the same failure, and report it
        return bool(reply.reasoning or reply.usage.reasoning_tokens)

    async def _generate(
        self, url: str, request: Request, plan: ThinkingPlan | None = None
    ) -> tuple[Response, RateLimits]:
        check_chat(request)
        shortened, plan = plan is not None, plan or self.plan
        room = plan.room  # another request may give room meanwhile
        if wire.media_of(request):  # encoding media would block the event loop for milliseconds
            payload = await asyncio.to_thread(self.payload, request, plan)
        else:
            payload = self.payload(request, plan)
        start = time.perf_counter()
        try:
            data, rates = await self.post(self.target(url), payload)
        except (Withheld, Garbled) as problem:
            return self.unread(problem), {}
        except RequestRejected as problem:
            if (shorter := plan.shorter(problem)) is not None:
                response, rates = await self._generate(url, request, shorter)
                return response.noted(SHORTENED), rates
            self.learn(problem, payload, request)
            return await self._generate(url, request)
        response = self.read(data, request, latency_s=time.perf_counter() - start)
        response = self.parameters.noted(response, payload)
        if not room and not shortened and _cut_by_thoughts(response):
            self._give_room()
            if self.plan.room:
                response, rates = await self._generate(url, request)
                return response.noted(ASKED_AGAIN), rates
        if room and _answered(response) > request.max_tokens:
            response = response.noted(LONG_ANSWER)
        return self._with_model_note(response), rates

    @abstractmethod
    def payload(self, request: Request, plan: ThinkingPlan | None = None) -> dict[str, Any]:
        """Return the body of a request; ``plan``: how the model is to think, if not as always."""

    def learn(self, problem: RequestRejected, payload: Mapping[str, Any], request: Request) -> None:
        """Take over what the vendor refused in ``payload``, so that another try leaves it out.

        Raises the ``problem`` itself where another try would not help. By default it never does.
        """
        raise problem

    async def _score(self, url: str, request: Request) -> tuple[Response, RateLimits]:
        raise RequestRejected(_NO_LOGPROBS)

    async def check_logprobs(self) -> None:
        """Refuse: the interface reports no log-probabilities of a prompt. Raises ``ProbeError``."""
        raise ProbeError(f"{self.name}: {_NO_LOGPROBS}")

    def identity(self, entry: Mapping[str, Any], **facts: Any) -> dict[str, Any]:
        """Return what decides the replies of a model: its name, how it is to think, and further ``facts``."""
        label = self.spec.options.get("label")
        known = {"provider": self.spec.provider, "model": entry["id"], "label": label, **facts}
        known |= self.spec.reasoning.identity
        return {name: value for name, value in known.items() if value is not None}

    @property
    def model_path(self) -> str:
        """The page of the model below the URL."""
        return f"models/{self.model}"

    async def own_entry(self, url: str) -> Any:
        """Return the page that a vendor has of the model by its name or alias; None if there is none."""
        if self.model in ("", "default"):
            return None
        return await self.get_json(f"{url}/{quote(self.model_path)}", missing=NO_LIST)


def _cut_by_thoughts(response: Response) -> bool:
    """Return whether a reply was cut that shows reasoning, or whose reasoning the vendor counts."""
    return response.finish_reason == "length" and bool(response.reasoning or response.usage.reasoning_tokens)


def _answered(response: Response) -> int:
    """Return the tokens of the answer alone; 0 where the vendor does not count those of the reasoning."""
    usage = response.usage
    return usage.completion_tokens - usage.reasoning_tokens if usage.reasoning_tokens else 0


def check_chat(request: Request) -> None:
    """Raise ``RequestRejected`` for what the vendors' interfaces have no words for."""
    if request.prompt is not None:
        raise RequestRejected("this interface has only chats: a plain prompt needs /completions")
    if request.regex is not None:
        raise RequestRejected("this interface takes no regex: use json_schema")

"""How a model of an OpenAI-compatible server reasons: what is sent for it, its room, replies cut inside it.

``reasoning_probe`` fills a ``RoomToThink`` before the run. For a model that does not reason it does nothing.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal, NamedTuple

from msgspec.structs import replace

from evalkit.errors import RequestRejected
from evalkit.model import KEEP_STOP, end_at_stop
from evalkit.models.openai.usage import SPECIAL_TOKENS
from evalkit.models.reasoning import Reasoning
from evalkit.protocols import RateLimits
from evalkit.reading.patterns import regex
from evalkit.reading.reasoning import (
    UNFINISHED,
    after_reasoning,
    first_mark_closes,
    is_unfinished,
    split_reasoning,
)
from evalkit.types import Request, Response

# Where reasoning comes: a field of the message, marks in the text, marks whose first one is in the chat
# template, or nowhere: the server only counts its tokens. Empty: none was seen.
Channel = Literal["", "field", "marks", "template", "hidden"]
Generate = Callable[[str, Request], Awaitable[tuple[Response, RateLimits]]]
Parameters = dict[str, Any]

LEAST_ROOM = 256  # tokens; less is no room to think
# A server's words for more tokens than fit into its context, or into one reply.
_TOO_LONG = regex(
    r"context|max_(?:completion_|new_|output_)?tokens|too (?:large|long)|exceed|token count", re.IGNORECASE
)
_A_LENGTH = regex(r"\d{3}")
ASKED_AGAIN = "the reply was cut inside its reasoning: asked again with room for it"
SHORTENED = "the prompt left less room for reasoning than the allowance"
LONG_ANSWER = "the answer is longer than the task allows: it used room that was meant for reasoning"


def too_long(problem: RequestRejected) -> bool:
    """Return whether a server says that a request has more tokens than it takes."""
    return bool(_TOO_LONG.search(problem.said or str(problem)))


def less_room(room: int) -> int:
    """Return the tokens for reasoning that are tried where a server says that ``room`` is too much."""
    return room // 2 if room >= LEAST_ROOM else 0


class Way(NamedTuple):
    """How a kind of server is told an effort, and a number of tokens that it then keeps to, if it can."""

    effort: Callable[[str], Parameters]
    tokens: Callable[[int], Parameters] | None = None


def _switched(effort: str) -> Parameters:
    """Return the variables that switch reasoning in templates: of Qwen and GLM, of DeepSeek and Granite."""
    return {"enable_thinking": effort != "none", "thinking": effort != "none"}


def _graded(effort: str) -> Parameters:
    """Return the effort for gpt-oss, and for templates that read it."""
    return {} if effort == "none" else {"reasoning_effort": effort}


def _by_template(effort: str) -> Parameters:
    return {"chat_template_kwargs": _switched(effort), **_graded(effort)}


def _llama_cpp(effort: str) -> Parameters:
    return {"chat_template_kwargs": _switched(effort) | _graded(effort)}


# vLLM needs --reasoning-parser for a budget, SGLang --enable-strict-thinking. llama.cpp has had two names.
WAYS = {
    "vllm": Way(_by_template, lambda n: {"thinking_token_budget": n}),
    "sglang": Way(_by_template),
    "sglang, strict": Way(_by_template, lambda n: {"custom_params": {"thinking_budget": n}}),
    "llamacpp": Way(_llama_cpp, lambda n: {"thinking_budget_tokens": n, "reasoning_budget_tokens": n}),
    "openrouter": Way(
        lambda effort: {"reasoning": {"effort": effort}}, lambda n: {"reasoning": {"max_tokens": n}}
    ),
    "other": Way(lambda effort: {"reasoning_effort": effort}),
}
# The parameters in which a server is told an effort or a number of tokens.
NAMES_OF_REASONING = frozenset(
    name
    for way in WAYS.values()
    for told in (way.effort("low"), way.tokens(1) if way.tokens else {})
    for name in told
)
# Servers that render the prompt by a template of the model: what is ignored there changes no token of it.
RENDERING = ("vllm", "sglang", "sglang, strict", "llamacpp")


class RoomToThink:
    """What is sent to one model for its reasoning, and the room that it gets beside its answer."""

    def __init__(self, settings: Reasoning) -> None:
        self.settings = settings
        self.parameters: Parameters = {}  # of each chat
        self.channel: Channel = ""
        self.opened_by = ""  # the mark that the chat template writes before a reply
        self.allowance = settings.tokens or 0  # of each chat
        self.in_completions = 0  # of each plain completion
        self.fitted = 0  # the largest part of it that the server last accepted, where the whole was too long
        self.measuring = False  # the probe tries what fits: each refusal means that it was too much
        self.context: int | None = None

    async def ask(
        self, generate: Generate, url: str, request: Request, *, chat: bool
    ) -> tuple[Response, RateLimits]:
        """Answer a request with room to think. Raises as ``generate`` does.

        Where a reply without such room is cut inside visible reasoning, the room is given from then on, and
        the request is asked again.
        """
        room = self.room(request, chat=chat)
        if room:
            response, rates = await self._fit(generate, url, request, room, chat)
            return self.read(request, response, chat=chat), rates
        response, rates = await self._fit(generate, url, request, 0, chat)
        return await self.again(generate, url, request, response, rates, chat=chat)

    async def again(
        self,
        generate: Generate,
        url: str,
        request: Request,
        response: Response,
        rates: RateLimits,
        *,
        chat: bool,
    ) -> tuple[Response, RateLimits]:
        """Return a reply that had no room; that of another try with room, if it was cut in its reasoning."""
        if not self._cut(request, response) or not (room := self._switch_on(chat=chat)):
            return response, rates
        response, rates = await self._fit(generate, url, request, room, chat)
        return self.read(request, response.noted(ASKED_AGAIN), chat=chat), rates

    @property
    def idle(self) -> bool:
        """Whether requests go out as they are: no reasoning was seen, and the spec sets nothing for it."""
        return not (self.allowance or self.in_completions or self.parameters)

    def prepared(self, request: Request, *, chat: bool) -> Request:
        """Return a request as it is sent: with room to think and the parameters for reasoning."""
        room = self.room(request, chat=chat)
        prepared = self.with_parameters(request) if chat else request
        return _with_room(prepared, room) if room else prepared

    def room(self, request: Request, *, chat: bool) -> int:
        """Return the tokens that a request gets for reasoning.

        A constraint that begins with the reply leaves none, unless reasoning has a field of its own: a server
        that parses it constrains only the answer.
        """
        if not chat or not self.allowance:
            return 0 if chat else self.in_completions
        constrained = request.json_schema is not None or request.regex is not None
        return 0 if constrained and self.channel in ("marks", "template") else self.allowance

    def with_parameters(self, request: Request) -> Request:
        """Return a chat with the parameters for reasoning; the request's own come first."""
        if not self.parameters:
            return request
        return replace(request, extra=merged(self.parameters, request.extra))

    async def _fit(
        self, generate: Generate, url: str, request: Request, room: int, chat: bool
    ) -> tuple[Response, RateLimits]:
        """Answer a request; with half the room as long as the server says that the whole is too long."""
        prepared = self.with_parameters(request) if chat else request
        shortened = False
        while True:
            try:
                response, rates = await generate(url, _with_room(prepared, room) if room else prepared)
            except RequestRejected as problem:
                if not room:
                    raise
                if not (self.measuring or too_long(problem)):
                    raise _with_hint(problem, room) from None
                room, shortened = less_room(room), True
            else:
                if not shortened:
                    return response, rates
                self.fitted = room
                return response.noted(SHORTENED), rates

    def _cut(self, request: Request, response: Response) -> bool:
        """Return whether a reply shows reasoning, and was cut by its length, or in it by a stop string."""
        if response.finish_reason == "length":
            if _wrote_nothing(response) and not response.usage.reasoning_tokens:
                return request.max_tokens > SPECIAL_TOKENS
            return bool(self.channel_of(response))
        if not request.stop or not (response.reasoning or self.channel):
            return False
        return bool(self.channel_of(response)) and not self._split(response.text)[1].strip()

    def _switch_on(self, *, chat: bool) -> int:
        """Give room from now on, and return it; 0 where the spec allows none."""
        room = self.settings.allowance(self.context)
        if chat:
            self.allowance = self.allowance or room
        else:
            self.in_completions = room
        return room

    def channel_of(self, response: Response) -> Channel:
        """Return where a reply holds reasoning."""
        if response.reasoning:
            return "field"
        if self._split(response.text)[0]:
            return "template" if first_mark_closes(response.text, self.settings.marks) else "marks"
        usage, shown = response.usage, len(response.text.encode())
        # More tokens than bytes of text were thoughts.
        unseen = usage.completion_tokens > shown + SPECIAL_TOKENS and not response.tool_calls
        unseen = unseen or (response.finish_reason == "length" and _wrote_nothing(response))
        return "hidden" if usage.reasoning_tokens or unseen else ""

    def _split(self, text: str) -> tuple[str, str]:
        return split_reasoning(text, self.settings.marks)

    def read(self, request: Request, response: Response, *, chat: bool) -> Response:
        """Return a reply that had room to think, with its answer up to the first stop string.

        ``request`` is the one before it was ``prepared``.
        """
        if request.stop:
            response = self._up_to_stop(request, response)
        text, usage = response.text, response.usage
        opened = chat and self.opened_by and not response.reasoning
        if opened and is_unfinished(text, self.opened_by, self.settings.marks):
            joined = replace(response, text="", reasoning=text)
            return joined if response.finish_reason == "length" else joined.noted(UNFINISHED)
        if usage.reasoning_tokens and usage.completion_tokens - usage.reasoning_tokens > request.max_tokens:
            return response.noted(LONG_ANSWER)
        return response

    def _up_to_stop(self, request: Request, response: Response) -> Response:
        """Return a reply that ends before the first stop string of its answer, as a server would have."""
        reasoning, text = self._split(response.text)
        text = after_reasoning(text) if response.reasoning else text
        if not (end := end_at_stop(request, text)):
            return response
        joined = "\n\n".join(part for part in (response.reasoning, reasoning) if part)
        return replace(response, text=text[: end[1]], reasoning=joined, finish_reason="stop")


def _wrote_nothing(response: Response) -> bool:
    return not (response.text or response.reasoning or response.tool_calls)


def _with_room(request: Request, room: int) -> Request:
    """Return a request with room to think, without its stop strings, which are of the answer alone."""
    kept = request.stop if any(request.extra.get(name) for name in KEEP_STOP) else ()
    return replace(request, max_tokens=request.max_tokens + room, stop=kept)


def _with_hint(problem: RequestRejected, room: int) -> RequestRejected:
    """Return a refusal that may be about the room, in words which evalkit does not know, with what helps."""
    if not _A_LENGTH.search(problem.said):
        return problem
    text = (
        f"{str(problem).rstrip('.')}. The request had room for {room:,} tokens of reasoning. If that is too "
        "much, set fewer with ?reasoning_tokens=N"
    )
    return RequestRejected(text, status=problem.status, said=problem.said, code=problem.code)


def merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> Parameters:
    """Return two sets of parameters as one; objects in both are merged, and ``second`` has the last word."""
    both = {
        name: {**first[name], **value}
        for name, value in second.items()
        if isinstance(value, Mapping) and isinstance(first.get(name), Mapping)
    }
    return {**first, **second, **both}

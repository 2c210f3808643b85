"""Before a run: does the model reason, and where? Does the server follow what the spec says about that?

A model that does not reason gets one short question. One that does gets room for it, and what a spec sets is
tried: the same question with another effort, or with a small number of tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from msgspec.structs import replace

from evalkit.errors import ModelError, ProbeError, RequestRejected, UsageError
from evalkit.models.openai.probe import LENGTH, short_question
from evalkit.models.openai.reasoning import RENDERING, WAYS, Channel, merged
from evalkit.models.reasoning import ALLOWANCE
from evalkit.reading.reasoning import first_mark_closes, template_mark
from evalkit.types import Response, ServerInfo

if TYPE_CHECKING:
    from evalkit.models.openai.backend import OpenAIBackend

SHORT = 32  # tokens of reasoning, to see whether a server keeps to a number
_PLACES: dict[Channel, str] = {
    "field": "in a field of its own",
    "marks": "between marks in its replies",
    "template": "in its replies, up to a closing mark",
    "hidden": "hidden: the server only counts the tokens",
}
_EFFORTS = {
    "": "",
    "followed": "effort={} is followed",
    "switched on": "effort={} switches reasoning on; the server has no degrees of it",
    "not known": "whether effort={} is followed cannot be told",
}
_KEEPS = {
    "": "",
    "server": "",
    "max_tokens": "the server does not end reasoning by itself at that number: longer replies are cut",
    "not known": "whether the server ends reasoning at that number cannot be told",
}


async def probe_reasoning(backend: OpenAIBackend, info: ServerInfo) -> ServerInfo:
    """Find out how a model reasons, and set up ``backend.thinking``.

    Return the facts of the server with what was found. Raises ``ProbeError`` for what the server cannot do.
    """
    thinking, settings = backend.thinking, backend.thinking.settings
    thinking.context = info.max_context
    if settings.tokens and info.max_context and settings.tokens >= info.max_context:
        raise ProbeError(
            f"{backend.name}: reasoning_tokens={settings.tokens} leaves no room for prompt and answer: the "
            f"model's context has {info.max_context:,} tokens"
        )
    if not backend.uses_chat(short_question(backend, LENGTH)):
        if settings.effort:
            raise ProbeError(
                f"{backend.name}: effort={settings.effort} is told in a chat: leave out api=completions"
            )
        thinking.in_completions = settings.tokens or 0
        return _with_facts(info, settings.identity, {})
    kind = server_kind(backend, info)
    thinking.parameters = parameters_for(kind, settings.effort, settings.tokens)
    found = await _Question(backend, kind).answer()
    chosen = {ALLOWANCE: thinking.allowance} if thinking.channel and not settings.tokens else {}
    return _with_facts(info, settings.identity | chosen, found)


def _with_facts(info: ServerInfo, identity: dict[str, Any], found: dict[str, Any]) -> ServerInfo:
    server = info.server | ({"reasoning": found} if found else {})
    return ServerInfo(info.identity | identity, info.max_context, info.max_running, server)


def server_kind(backend: OpenAIBackend, info: ServerInfo) -> str:
    """Return which of ``WAYS`` a server takes."""
    if any((urlsplit(url).hostname or "").endswith("openrouter.ai") for url in backend.endpoints.urls):
        return "openrouter"
    if backend.spec.provider == "sglang":
        return "sglang, strict" if info.server.get("enable_strict_thinking") else "sglang"
    owner = str(info.server.get("owned_by"))
    return owner if owner in ("vllm", "sglang", "llamacpp") else "other"


def parameters_for(kind: str, effort: str | None, tokens: int | None) -> dict[str, Any]:
    """Return what tells a kind of server an effort and a number of tokens, as far as it has them."""
    way = WAYS[kind]
    told = way.effort(effort) if effort else {}
    return merged(told, way.tokens(tokens)) if tokens and way.tokens else told


class _Question:
    """Asks the question in several ways, and says what the replies show."""

    def __init__(self, backend: OpenAIBackend, kind: str) -> None:
        self.backend, self.kind, self.thinking = backend, kind, backend.thinking
        self.settings = backend.thinking.settings
        self.limit = self.settings.tokens if WAYS[kind].tokens else None  # None, too, once it was refused

    async def answer(self) -> dict[str, Any]:
        """Return what was found, as facts for the provenance; nothing for a model that does not reason."""
        thinking, settings = self.thinking, self.settings
        reply = await self._first()
        thinking.channel = self._channel(reply) if reply else ""
        if reply and thinking.channel == "template":
            thinking.opened_by = template_mark([reply.text], settings.marks)
        follows = await self._follows_effort(reply) if settings.effort and reply else ""
        if thinking.channel:
            thinking.allowance = settings.allowance(thinking.context)
            if not thinking.context:
                thinking.allowance = await self._accepted(thinking.allowance)
        elif reply and reply.finish_reason == "stop":
            thinking.allowance = 0  # until a reply shows reasoning
        keeps = await self._keeps_tokens(reply) if settings.tokens else ""
        if not (thinking.channel or settings.identity or (reply and reply.finish_reason == "length")):
            return {}
        said = self._said(reply), _EFFORTS[follows].format(settings.effort), _KEEPS[keeps]
        return {
            "channel": thinking.channel,
            "allowance": thinking.allowance,
            **({"effort": follows} if follows else {}),
            **({"tokens": keeps} if keeps else {}),
            "said": "; ".join(filter(None, said)),
        }

    def _channel(self, reply: Response) -> Channel:
        """Return where a model reasons: also if it closed what the template opened, without a thought."""
        channel = self.thinking.channel_of(reply)
        closed = first_mark_closes(reply.text, self.settings.marks)
        return "template" if closed and not channel and self.settings.effort != "none" else channel

    async def _first(self) -> Response | None:
        """Return the reply with all that the spec sets; None where the server could not answer.

        A refused limit of tokens is left out: ``max_tokens`` then ends the reasoning. Raises ``ProbeError``
        where the server refuses something else that the spec sets.
        """
        if not self.thinking.parameters:
            return self.backend.first_reply
        try:
            return await self._ask(self.thinking.parameters)
        except (RequestRejected, UsageError) as problem:  # UsageError: it names one of these parameters
            if self.limit:
                self.limit = None
                self.thinking.parameters = parameters_for(self.kind, self.settings.effort, None)
                return await self._first()
            told = " and ".join(f"{name}={value}" for name, value in self.settings.identity.items())
            raise ProbeError(f"{self.backend.name}: the server refuses {told}: {problem}") from None
        except ModelError:
            return None  # the samples meet the same failure, and report it

    async def _ask(self, parameters: dict[str, Any], length: int = LENGTH) -> Response:
        length = min(length, (self.thinking.context or 2 * LENGTH) // 2)
        before, self.thinking.parameters = self.thinking.parameters, parameters
        try:
            question = short_question(self.backend, length)  # at temperature 0: replies are compared
            given = tuple(name for name in question.given if name != "temperature")
            return await self.backend.ask_with_room(replace(question, temperature=0.0, given=given))
        finally:
            self.thinking.parameters = before

    async def _follows_effort(self, reply: Response) -> str:
        """Return whether the effort is followed, as far as it can be told. Raises ``ProbeError`` if not."""
        name, effort = self.backend.name, self.settings.effort
        if effort == "none":
            if self.thinking.channel:
                raise ProbeError(
                    f"{name}: the model reasons although effort=none: neither server nor chat template "
                    "switches it off. Leave effort out"
                )
            return "followed"
        other = "low" if effort not in ("minimal", "low") else "high"
        try:
            against = await self._ask(parameters_for(self.kind, other, self.limit))
            if not self._differ(reply, against):
                unset = await self._ask(parameters_for(self.kind, None, self.limit))
                if self._differ(reply, unset):
                    return "switched on"
                raise ProbeError(
                    f"{name}: the server ignores effort={effort}: with effort={other}, and with none set, it "
                    "answers the same after a prompt of the same length. Leave effort out"
                )
            if _prompt(reply) != _prompt(against) or self._reasons(reply) != self._reasons(against):
                return "followed"
            again = await self._ask(self.thinking.parameters)
        except ModelError:
            return "not known"
        return "followed" if self._visible(reply) and _same(reply, again) else "not known"

    def _differ(self, first: Response, second: Response) -> bool:
        """Return whether two replies differ, or cannot be compared: a hidden thought may differ unseen."""
        if not _same(first, second) or _prompt(first) != _prompt(second):
            return True
        return not (self._visible(first) or self.kind in RENDERING)

    def _visible(self, reply: Response) -> bool:
        return self.thinking.channel_of(reply) in ("field", "marks", "template")

    def _reasons(self, reply: Response) -> bool:
        return bool(self.thinking.channel_of(reply))

    async def _keeps_tokens(self, reply: Response | None) -> str:
        """Return what keeps reasoning to its number of tokens: the ``server``, or ``max_tokens`` alone."""
        way = WAYS[self.kind].tokens
        if way is None or not self.limit:
            return "max_tokens"
        length = reply.usage.completion_tokens if reply and self.thinking.channel else 0
        try:
            if length >= 4 * SHORT:
                short = await self._ask(merged(self.thinking.parameters, way(SHORT)))
                return "server" if short.usage.completion_tokens < length / 2 else "max_tokens"
            free = await self._ask(parameters_for(self.kind, self.settings.effort, None))
        except ModelError:
            return "not known"
        return "server" if length < free.usage.completion_tokens / 2 else "not known"

    async def _accepted(self, allowance: int) -> int:
        """Return the allowance, or the part of it that a server of unknown context accepts.

        Raises ``ProbeError`` where it does not accept the number of the spec.
        """
        self.thinking.allowance = allowance
        self.thinking.measuring = True
        try:
            await self._ask(self.thinking.parameters, length=16)
        except ModelError:
            return allowance
        finally:
            self.thinking.measuring = False
        if (fitted := self.thinking.fitted) and self.settings.tokens:
            raise ProbeError(
                f"{self.backend.name}: the server refuses a reply that may have reasoning_tokens={allowance} "
                f"beside its answer, and takes one with {fitted:,}. Set a smaller number"
            )
        return fitted or allowance

    def _said(self, reply: Response | None) -> str:
        """Return what a reader of the screen should know of the model's reasoning."""
        name, thinking, settings = self.backend.name, self.thinking, self.settings
        if thinking.channel:
            return f"{name} reasons, {_PLACES[thinking.channel]}: {settings.about_room(thinking.allowance)}"
        if reply is None:
            return f"{name} did not answer a short question: whether it reasons is not known"
        if settings.identity:
            later = ": it gets room when a reply is cut inside its reasoning" * (settings.effort != "none")
            return f"{name} did not reason about a short question{later}"
        return (
            f"{name} did not end its answer to a short question within {LENGTH:,} tokens. If it reasons, say "
            "so: ?reasoning_tokens=N, and its marks: ?reasoning_marks=OPEN,CLOSE"
        )


def _prompt(reply: Response) -> int:
    return reply.usage.prompt_tokens


def _same(one: Response, other: Response) -> bool:
    return (one.text, one.reasoning) == (other.text, other.reasoning)

"""``Model``, through which a task calls a model: text in, response out. The store records all calls."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from evalkit.errors import UsageError, did_you_mean
from evalkit.protocols import Backend, BackendTraits, ProbeResult, Sender
from evalkit.reading.reasoning import Marks, after_reasoning, split_reasoning
from evalkit.reading.surrogates import whole
from evalkit.requests import describe, tool_fields, with_ids, without_halves, wrong_value
from evalkit.types import (
    Image,
    Message,
    Part,
    Request,
    Response,
    Sample,
    ServerInfo,
    Text,
    Tool,
    ToolCall,
)
from evalkit.util.masking import excerpt

# A run has fewer repeats than this, so that no draw within a sample shares a cache entry with a repeat.
_DRAW = 1 << 20
_SAMPLING = ("max_tokens", "temperature", "top_p", "stop", "seed")

Reference = str | Sequence[ToolCall]
"""A perfect reply: a text, or the calls of tools."""


class Call(Struct, frozen=True):
    """One request and its response."""

    request: Request
    response: Response


class Model:
    """A model, as a task uses it.

    Requests go to ``sender``: the ``adapter`` itself, or the layers around it. ``probed`` is the result of
    the adapter's probe. ``defaults`` are the generation parameters where a task gives none; by default the
    adapter's.
    """

    def __init__(
        self,
        sender: Sender,
        *,
        adapter: Backend | None = None,
        probed: ProbeResult | None = None,
        defaults: Mapping[str, Any] | None = None,
    ) -> None:
        self.adapter = sender if adapter is None and isinstance(sender, Backend) else adapter
        traits = probed.traits if probed else self.adapter.traits if self.adapter else BackendTraits()
        self.defaults = dict(traits.defaults if defaults is None else defaults)
        left_out = self.defaults.get("extra", {}).items()
        self._unset = {name: None for name, value in left_out if value is None}  # also where a task sets them
        self.facts = probed.info if probed else ServerInfo()
        self.sender, self._media = sender, traits.media
        self.reasoning_marks = self.adapter.traits.reasoning_marks if self.adapter else None
        self.window = traits.window  # the samples in progress that suit the adapter; None: any number
        self.calls: list[Call] = []
        self._sample: Sample | None = None
        self._repeat = 0
        self._expected: Callable[[Sequence[Message]], Reference] | None = None
        unknown = self.defaults.keys() - {*_SAMPLING, "extra"}
        if unknown:
            name = min(unknown)
            raise UsageError(f"no such generation default: {name!r}.{did_you_mean(name, _SAMPLING)}")
        for name, value in self.defaults.items():
            if wrong := wrong_value(name, value):
                raise UsageError(f"generation default {name}={value!r}: {wrong}")

    def for_sample(self, sample: Sample, repeat: int = 0) -> Model:
        """Return the same model for one repeat of one sample, with an empty list of calls."""
        bound = object.__new__(Model)  # copy.copy takes four times as long, once for each sample
        bound.__dict__.update(self.__dict__, calls=[], _sample=sample, _repeat=repeat)
        return bound

    def beside(self, other: Model) -> Model:
        """Return this model for the sample and the repeat of ``other``, with an empty list of calls."""
        bound = object.__new__(Model)
        bound.__dict__.update(self.__dict__, calls=[], _sample=other._sample, _repeat=other._repeat)
        return bound

    def expect(self, reply: Callable[[Sequence[Message]], Reference]) -> None:
        """Set the function that gives the perfect reply to a chat, where ``generate`` gets no ``reference``.

        Only ``baseline:gold`` reads it, for the sample that this model is bound to.
        """
        self._expected = reply

    @property
    def repeat(self) -> int:
        """The number of the repetition of its sample, from 0."""
        return self._repeat % _DRAW

    def draw(self, number: int) -> Model:
        """Return the same model for a further independent draw of the sample, with the same list of calls."""
        drawn = copy.copy(self)
        drawn._repeat = self._repeat + number * _DRAW
        return drawn

    def showing(self, sample: Sample) -> Model:
        """Return the same model for the sample as a prompt shows it, with the same list of calls.

        Baselines read ``sample``: ``baseline:gold`` knows its right option in the order shown.
        """
        shown = copy.copy(self)
        shown._sample = sample
        return shown

    async def generate(
        self,
        prompt: str | Sequence[Message],
        *,
        max_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        stop: str | Sequence[str] | None = None,
        seed: int | None = None,
        json_schema: dict[str, Any] | None = None,
        regex: str | None = None,
        images: Sequence[Image] = (),
        tools: Sequence[Tool] = (),
        tool_choice: str = "auto",
        reference: Reference | None = None,
        **extra: Any,
    ) -> Response:
        """Answer a chat. A plain string becomes one user message, ``images`` in front of its text.

        A parameter that is not given comes from the model's spec, else from ``Request``'s defaults. Each
        repeat and each further draw adds its number to the ``seed``. ``extra`` goes to the server unchanged.
        The model may call one of ``tools`` (``response.tool_calls``) as ``tool_choice`` says: ``auto``,
        ``none``, ``required``, or the name of a tool; ``evalkit.converse`` runs the calls.
        ``reference`` is the perfect reply to this prompt, if that is not the sample's target (for example, if
        it cites passages by number, or calls tools). It is never sent: ``baseline:gold`` answers with it.
        Raises ``ModelError`` if the call fails.
        """
        sampling = {
            "max_tokens": max_tokens,
            "temperature": temperature,
            "top_p": top_p,
            "seed": seed,
            "stop": (stop,) if isinstance(stop, str) else stop,
        }
        fields = self._fields(sampling, extra)
        if tools or tool_choice != "auto":
            fields |= tool_fields(tools, tool_choice)
        messages = _messages(prompt, images)
        if images or not isinstance(prompt, str):
            messages = await self._as_backend_takes(messages)
        if reference is None and self._expected is not None:
            reference = self._expected(messages)
        request = Request(
            messages=messages, json_schema=json_schema, regex=regex, **fields, **self._draw(reference)
        )
        return await self._send(request, self._overruled(sampling))

    async def complete(
        self,
        prompt: str,
        *,
        max_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        stop: Sequence[str] | None = None,
        seed: int | None = None,
        **extra: Any,
    ) -> Response:
        """Continue a plain text, without the model's chat template. Arguments as for ``generate``."""
        sampling = {
            "max_tokens": max_tokens,
            "temperature": temperature,
            "top_p": top_p,
            "stop": stop,
            "seed": seed,
        }
        request = Request(prompt=prompt, **self._fields(sampling, extra), **self._draw())
        return await self._send(request, self._overruled(sampling))

    async def text_loglikelihood(self, text: str) -> Response:
        """Return the log-probabilities of a whole text, from a model that scores the first token too.

        Raises ``ModelError``.
        """
        return await self._send(Request(continuation=text, **self._draw()))

    async def loglikelihood(
        self, context: str, continuations: Sequence[str], *, reference: str | None = None, **extra: Any
    ) -> list[Response]:
        """Return the log-probabilities of each continuation after ``context``, in the same order.

        ``response.logprob`` is the sum over the continuation's tokens. ``reference`` is the right one for
        ``baseline:gold``, if that is not the sample's target. ``extra`` goes to the server unchanged, such as
        ``add_special_tokens=False`` where ``context`` holds the token that begins a text.

        Raises ``ModelError``.
        """
        draw = self._draw(reference)
        if draw["sample"] is not None and reference is not None:  # the reference alone is right
            draw["sample"] = msgspec.structs.replace(draw["sample"], choices=())
        extra = {**self.defaults.get("extra", {}), **extra, **self._unset}
        requests = [Request(prompt=context, continuation=c, extra=extra, **draw) for c in continuations]
        return list(await asyncio.gather(*map(self._send, requests)))

    def note(self, response: Response, notes: Iterable[str]) -> Response:
        """Add notes to a reply of this model, for its sample and the report of the run. Return the reply."""
        noted = response.noted(*notes)
        for place, call in enumerate(self.calls):
            if call.response is response:
                self.calls[place] = Call(call.request, noted)
        return noted

    def describe(self, request: Request) -> dict[str, Any]:
        """Return a request as the store keeps it: images by hash, no sample."""
        return describe(request)

    def _fields(self, sampling: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
        fields = dict(self.defaults)
        for name, value in sampling.items():
            if value is not None:
                if wrong := wrong_value(name, value):
                    raise UsageError(f"the task's {name}={value!r}: {wrong}")
                fields[name] = value
        if fields.get("stop") is not None:
            fields["stop"] = tuple(fields["stop"])
        if fields.get("seed") is not None:
            fields["seed"] += self._repeat  # one seed for all draws would draw the same reply each time
        given = tuple(fields)
        fields["extra"] = {**self.defaults.get("extra", {}), **extra, **self._unset}
        fields["given"] = given
        return fields

    def _overruled(self, sampling: Mapping[str, Any]) -> tuple[str, ...]:
        """Return a note for each parameter of the spec that the task sets to another value."""
        notes = [
            f"the task sets {name}={sampling[name]!r}, so {name}={value!r} of the model's spec is not used"
            for name, value in self.defaults.items()
            if sampling.get(name) not in (None, value, *([list(value)] if name == "stop" else []))
        ]
        return tuple(notes)

    async def _as_backend_takes(self, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        """Return messages with their media converted to what the backend takes. Raises ``ModelError``."""
        if self._media is None or all(isinstance(message.content, str) for message in messages):
            return messages
        from evalkit.media import ready_soon

        return await ready_soon(messages, self._media)

    def _draw(self, reference: Reference | None = None) -> dict[str, Any]:
        sample = self._sample
        if reference is not None and not isinstance(reference, str):
            return {"sample": sample, "repeat": self._repeat, "reference_calls": tuple(reference)}
        if sample is not None and reference is not None:
            sample = msgspec.structs.replace(sample, target=reference, answer=msgspec.UNSET)
        return {"sample": sample, "repeat": self._repeat}

    async def _send(self, request: Request, notes: tuple[str, ...] = ()) -> Response:
        request = without_halves(request)
        response = read_reply(request, await self.sender.send(request), self.reasoning_marks)
        if notes:
            response = response.noted(*notes)
        if response.tool_calls:
            named = with_ids(response.tool_calls, request.messages)
            response = msgspec.structs.replace(response, tool_calls=named)
        self.calls.append(Call(request, response))
        return response


def read_reply(request: Request, response: Response, marks: Marks | None = None) -> Response:
    """Return a reply with its reasoning apart from its text, and cut at the first stop string.

    Every reply passes here, whatever answered: a server, the cache, a file of predictions. ``marks`` are
    those of the model's spec.
    """
    if not response.text:
        return response
    constrained = (request.json_schema or request.regex) and response.text.lstrip().startswith("{")
    reasoning, text = ("", response.text) if constrained else split_reasoning(response.text, marks)
    text = whole(after_reasoning(text) if response.reasoning else text)
    fields: dict[str, Any] = {}
    if end := end_at_stop(request, text):
        stop, place = end
        if place + len(stop) < len(text):  # else the server stopped, but did not remove the stop string
            fields["notes"] = (*response.notes, f"the server ignored the stop string {stop!r}: cut there")
        if response.finish_reason == "length":  # it ran on to max_tokens behind its end
            fields["finish_reason"] = "stop"
        text = text[:place]
    if text != response.text:
        joined = "\n\n".join(part for part in (response.reasoning, reasoning) if part)
        return msgspec.structs.replace(response, text=text, reasoning=joined, **fields)
    return response


# Parameters with which a task asks for the stop string itself: vLLM's and SGLang's.
KEEP_STOP = ("include_stop_str_in_output", "no_stop_trim")


def end_at_stop(request: Request, text: str) -> tuple[str, int] | None:
    """Return the first stop string in a text and its place; None if there is none."""
    if not request.stop or (request.extra and any(request.extra.get(name) for name in KEEP_STOP)):
        return None
    first: tuple[str, int] | None = None
    for stop in request.stop:
        place = text.find(stop) if stop else -1
        if place >= 0 and (first is None or place < first[1]):
            first = stop, place
    return first


def _messages(prompt: str | Sequence[Message], images: Sequence[Image]) -> tuple[Message, ...]:
    if isinstance(prompt, str):
        parts: tuple[Part, ...] = (*images, Text(prompt))
        return (Message("user", parts if images else prompt),)
    if images:
        raise UsageError("images= goes with a plain string; put Image parts into the messages instead")
    messages = tuple(prompt)
    for message in messages:
        if not isinstance(message, Message):
            raise UsageError(
                f"a prompt is a text or a list of Message, such as Message('user', 'Hi.'), and one of its "
                f"messages is {excerpt(repr(message))}"
            )
    return messages

"""The adapter of OpenAI-compatible servers: chat, completions, streams, media, schemas, prompt logprobs."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec

from evalkit.errors import RequestRejected, UsageError
from evalkit.models.http import MOST_IN_FLIGHT, HTTPBackend
from evalkit.models.openai import logprobs_probe, probe, refused_by_trial, wire
from evalkit.models.openai.http_errors import Garbled, Withheld, rates_left
from evalkit.models.openai.parameters import Parameters
from evalkit.models.openai.probe import ServedModel
from evalkit.models.openai.prompt_logprobs import PromptLogprobs, read_echo, read_prompt_logprobs
from evalkit.models.openai.reasoning import RoomToThink
from evalkit.models.openai.reasoning_probe import probe_reasoning
from evalkit.models.openai.server_load import load_of
from evalkit.models.openai.sse import read_stream
from evalkit.models.openai.tool_calls import pictures_apart, tools_payload
from evalkit.models.openai.usage import read_usage
from evalkit.models.openai.weights import page_of, started_at, weights_of
from evalkit.models.spec import ModelSpec
from evalkit.protocols import BatchService, Load, ProbeResult, RateLimits
from evalkit.reading.surrogates import whole
from evalkit.types import Request, Requirements, Response, ServerInfo

_VENDOR = "https://api.openai.com/"


class OpenAIBackend(HTTPBackend):
    """``openai:NAME[@URL]``: OpenAI's own service, or with a URL any server with the same API."""

    key_env: str | None = "OPENAI_API_KEY"
    vendor = _VENDOR
    default_url = _VENDOR + "v1"
    start_command = "vllm serve MODEL --port {port}"
    logprob_ways: tuple[str, ...] = ("echo", "prompt_logprobs")
    image_formats: tuple[str, ...] = ("png", "jpeg")  # formats that every server reads; ?images= names others
    takes_reasoning = True

    def __init__(self, spec: ModelSpec) -> None:
        way = spec.options.get("logprobs")
        if way is not None and way not in self.logprob_ways:
            raise UsageError(
                f"{spec.provider} has no logprobs={way}; it has {' and '.join(self.logprob_ways)}"
            )
        super().__init__(spec)
        self.parameters = Parameters(set_by(spec))
        self.full_sampling = spec.options.get("sampling", "standard" if self._vendor else "full") == "full"
        self.thinking = RoomToThink(spec.reasoning)
        self.first_reply: Response | None = None  # to the probe's question, from the first endpoint

    async def _ask(self, url: str, request: Request) -> tuple[Response, RateLimits]:
        with wire.reading(url):
            if request.continuation is not None:
                return await self._score(url, request)
            if self.thinking.idle:  # as for most models: one coroutine less for each request
                response, rates = await self._generate(url, request)
                if response.finish_reason == "stop" and not request.stop:
                    return response, rates
                chat = self.uses_chat(request)
                return await self.thinking.again(self._generate, url, request, response, rates, chat=chat)
            return await self.thinking.ask(self._generate, url, request, chat=self.uses_chat(request))

    async def ask_with_room(self, request: Request) -> Response:
        """Answer one request of the probe past all checks, with room to think. Raises as ``send`` does."""
        return (await self.endpoints.call(partial(self._ask, request=request)))[0]

    async def _find_refused(self, served: Sequence[ServedModel], needs: Requirements) -> None:
        replies = [
            one.reply or await refused_by_trial.ask(self, url, self._probe_length(one.info, needs), needs)
            for url, one in zip(self.endpoints.urls, served, strict=True)
        ]
        self.first_reply = replies[0]

    def _may_reason(self, needs: Requirements) -> bool:
        """Return whether it matters if the model reasons: log-probabilities are not generated."""
        return not needs.logprobs or bool(self.spec.reasoning.identity)

    def _probe_length(self, info: ServerInfo, needs: Requirements) -> int:
        if not self._may_reason(needs):
            return probe.BRIEF
        return min(probe.LENGTH, info.max_context // 2) if info.max_context else probe.LENGTH

    async def probe(self, needs: Requirements) -> ProbeResult:
        """Find the model on every endpoint and check what the task needs. Raises ``ProbeError``."""
        infos = await self._find(needs)
        if self._may_reason(needs):
            infos[0] = await probe_reasoning(self, infos[0])
        await self._check(needs)
        urls = self.endpoints.urls
        by_url = zip(urls, infos, strict=True)
        slots = {url: min(info.max_running, MOST_IN_FLIGHT) for url, info in by_url if info.max_running}
        self.traits = msgspec.structs.replace(self.traits, slots=slots)
        times = [] if self._vendor else await asyncio.gather(*(started_at(self, url) for url in urls))
        started = max(filter(None, times), default=None)
        server = infos[0].server | ({"started": started} if started else {})
        info = msgspec.structs.replace(infos[0], server=server)
        return ProbeResult(self.name, self._as_asked(info), self.traits)

    async def load(self, endpoint: str) -> Load | None:
        """Return how busy a server is; None for a vendor, and for servers with a known number of slots."""
        return None if self._vendor or self.traits.slots else await load_of(self, endpoint)

    def batches(self) -> BatchService | None:
        """Return OpenAI's batch interface, if the spec asks for it."""
        from evalkit.models.batch.openai import OpenAIBatches

        return OpenAIBatches(self) if self.spec.options.get("batch") else None

    async def check_logprobs(self) -> None:
        """Refuse a server without exact prompt log-probabilities. Raises ``ProbeError``, ``ModelError``."""
        await self.endpoints.call(lambda url: logprobs_probe.check_echo(self, url))

    async def facts(self, url: str, entry: dict[str, Any]) -> ServerInfo:
        """Return the facts of the model at ``url``; ``entry`` is its line in ``/models``."""
        meta = entry.get("meta") or {}
        page = await page_of(self, url, entry)
        context = entry.get("max_model_len") or meta.get("n_ctx")
        template = page.get("chat_template")
        facts = {
            "provider": self.spec.provider,
            "model": entry["id"],
            "label": self.spec.options.get("label"),
            "version": page.get("version") or page.get("build_info"),
            "context": context,
            "quantization": meta.get("ftype"),
            "parameters": meta.get("n_params"),
            "bytes": meta.get("size"),
            "chat_template": template and hashlib.sha256(str(template).encode()).hexdigest()[:16],
            **weights_of(url, entry.get("root") or page.get("model_path"), page, entry),
        }
        identity = {name: value for name, value in facts.items() if value is not None}
        # More connections than slots stall llama.cpp for seconds: an idle connection holds a thread until its
        # keep-alive ends.
        return ServerInfo(identity, context, page.get("total_slots"), {"owned_by": entry.get("owned_by")})

    async def _score(self, url: str, request: Request) -> tuple[Response, RateLimits]:
        """Return the log-probabilities of a continuation, read as part of a prompt of ``/completions``."""
        context, continuation = request.prompt or "", request.continuation or ""
        check_continuation(request)
        start = time.perf_counter()
        data, rates, echoed = await self.read_prompt(url, context + continuation, **request.extra)
        echoed.check_beginning(context + continuation)
        first = echoed.border(continuation)
        response = Response(
            text="",
            usage=read_usage(data.get("usage")),
            model=whole(wire.as_text(data.get("model"))) or self.model,
            logprobs=echoed.of_continuation(first),
            is_greedy=echoed.is_greedy(first),
            latency_s=time.perf_counter() - start,
        )
        return self._with_model_note(response), rates

    async def read_prompt(
        self, url: str, prompt: str, **extra: Any
    ) -> tuple[Any, RateLimits, PromptLogprobs]:
        """Let the server read ``prompt``. Return the reply, the rates, and the tokens' log-probabilities."""
        ranked = self.spec.options.get("logprobs") == "prompt_logprobs"
        payload = {
            "model": self.model,
            "prompt": prompt,
            **wire.sampling_payload(Request(max_tokens=1), full=self.full_sampling),
            **({"prompt_logprobs": 1} if ranked else {"echo": True, "logprobs": 1}),
        }
        payload = wire.with_extra(payload, extra)
        data, rates = await self.post_fitted(f"{url}/completions", payload, Request(extra=extra))
        return data, rates, read_prompt_logprobs(data) if ranked else read_echo(data)

    async def _generate(self, url: str, request: Request) -> tuple[Response, RateLimits]:
        if request.regex is not None and self._vendor:
            raise RequestRejected("OpenAI's service takes no regex: use json_schema")
        chat = self.uses_chat(request)
        if wire.media_of(request):  # encoding media would block the event loop for milliseconds
            payload = await asyncio.to_thread(self._payload, request, chat)
        else:
            payload = self._payload(request, chat)
        target = self.target(url) if chat else f"{url}/completions"
        start = time.perf_counter()
        first_token_s: float | None = None
        rates: RateLimits = {}
        try:
            if payload.get("stream"):
                async with self.transport.stream_json(target, payload) as stream:
                    data, first_token_s = await read_stream(stream, target, start)
                    rates = rates_left(stream.headers)
            else:
                data, rates = await self.post(target, payload)
        except (Withheld, Garbled) as problem:
            return self.unread(problem), rates
        except RequestRejected as problem:
            self.parameters.learn(problem, payload, request)
            return await self._generate(url, request)
        response = self.read(
            data, request, latency_s=time.perf_counter() - start, first_token_s=first_token_s
        )
        if self.parameters.late:
            response = self.parameters.noted(response, payload)
        return self._with_model_note(response), rates

    def target(self, url: str) -> str:
        """Return the address that answers chats, for the API at ``url``."""
        return f"{url}/chat/completions"

    def payload(self, request: Request) -> dict[str, Any]:
        """Return the body of a request, with room to think for a model that reasons."""
        chat = self.uses_chat(request)
        return self._payload(self.thinking.prepared(request, chat=chat), chat)

    def answer(self, data: Any, request: Request) -> Response:
        """Return the response in the decoded reply to a ``payload``. Raises as ``read`` does."""
        chat = self.uses_chat(request)
        response = super().answer(data, self.thinking.prepared(request, chat=chat))
        has_room = self.thinking.room(request, chat=chat)
        return self.thinking.read(request, response, chat=chat) if has_room else response

    def read(self, data: Any, request: Request, **timing: Any) -> Response:
        """Return the response in a decoded reply. Raises ``ModelError`` for a reply that is none."""
        choice = wire.read_choice(data)
        message = wire.part_of(choice.get("message") or choice.get("delta"), "message")
        return wire.reply(
            choice,
            message or {"content": choice.get("text")},
            request,
            read_usage(data.get("usage")),
            model=whole(wire.as_text(data.get("model"))) or self.model,
            **timing,
        )

    def uses_chat(self, request: Request) -> bool:
        """Return whether a request goes through the chat template."""
        return request.prompt is None and self.spec.options.get("api", "chat") == "chat"

    def _payload(self, request: Request, chat: bool) -> dict[str, Any]:
        payload: dict[str, Any] = {"model": self.model}
        if chat:
            messages = pictures_apart(request.messages) if request.has_tools else request.messages
            payload["messages"] = [wire.message_payload(message) for message in messages]
        else:
            payload["prompt"] = wire.plain_prompt(request)
        payload.update(wire.sampling_payload(request, full=self.full_sampling))
        if request.tools:
            payload.update(tools_payload(request))
        payload["stream"] = bool(self.spec.options.get("stream"))  # some servers stream unless told not to
        if payload["stream"]:
            payload["stream_options"] = wire.WITH_USAGE
        return self.parameters.fit(wire.with_extra(payload, request.extra), request)

    async def post_fitted(
        self, url: str, payload: dict[str, Any], request: Request
    ) -> tuple[Any, RateLimits]:
        """Post a payload without the parameters that the server refuses. Raises as ``send`` does."""
        fitting = self.parameters.fit(payload, request)
        try:
            return await self.post(url, fitting)
        except RequestRejected as problem:
            self.parameters.learn(problem, fitting, request)
            return await self.post_fitted(url, payload, request)

    async def _count_tokens(self, request: Request) -> int:
        """Return the prompt tokens of a request, sent past all checks. Raises as ``send`` does."""
        return await super()._count_tokens(self.thinking.with_parameters(request))

    def usual_formats(self) -> tuple[str, ...]:
        """Return the picture formats that are sent unchanged if the spec names none."""
        return (*self.image_formats, "webp") if self._vendor else self.image_formats


def set_by(spec: ModelSpec) -> dict[str, Any]:
    """Return what a model's spec sends, as a payload has it."""
    stop = {"stop": list(spec.generation["stop"])} if "stop" in spec.generation else {}
    stream = {"stream": True} if spec.options.get("stream") else {}
    return {**spec.generation, **stop, **stream, **spec.extra}


def check_continuation(request: Request) -> None:
    """Raise ``RequestRejected`` for an empty continuation."""
    if not request.continuation:
        raise RequestRejected("an empty continuation has no log-probability")

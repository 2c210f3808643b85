"""The adapter of OpenAI-compatible servers: chat, completions, streams, media, schemas, prompt logprobs."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import msgspec

from evalkit.errors import RequestRejected, UsageError
from evalkit.models.openai import probe, wire
from evalkit.models.openai.api_key import read_key
from evalkit.models.openai.byte_semaphore import ByteSemaphore
from evalkit.models.openai.endpoints import Endpoints
from evalkit.models.openai.first_answers import FirstAnswers
from evalkit.models.openai.http_errors import Withheld, fail, fail_within, rates_left
from evalkit.models.openai.identity_guard import IdentityGuard
from evalkit.models.openai.prompt_logprobs import PromptLogprobs, read_echo, read_prompt_logprobs
from evalkit.models.openai.same_model import same_model
from evalkit.models.openai.server_load import load_of
from evalkit.models.openai.shown import ShownMedia
from evalkit.models.openai.sse import read_events, read_stream
from evalkit.models.openai.tool_calls import pictures_apart, tools_payload
from evalkit.models.openai.transport import Reply, Timeouts, Transport
from evalkit.models.openai.weights import page_of, started_at, weights_of
from evalkit.models.spec import ModelSpec
from evalkit.protocols import Backend, BackendTraits, Load, ProbeResult, RateLimits
from evalkit.reading.surrogates import whole, whole_values
from evalkit.types import MediaSupport, Request, Requirements, Response, ServerInfo
from evalkit.util.masking import mask_bytes

# The most requests in flight at a server that reports a number: more would wait in the server's own queue.
MOST_IN_FLIGHT = 256
_VENDOR = "https://api.openai.com/"
_WITHHELD = "the server's content filter refused the request"


class OpenAIBackend(Backend):
    """``openai:NAME[@URL]``: OpenAI's own service, or with a URL any server with the same API."""

    key_env: str | None = "OPENAI_API_KEY"
    default_url = _VENDOR + "v1"
    start_hint = "Start it, for example: vllm serve MODEL --port 8000"
    logprob_ways: tuple[str, ...] = ("echo", "prompt_logprobs")
    image_formats: tuple[str, ...] = ("png", "jpeg")  # formats that every server reads; ?images= names others

    def __init__(self, spec: ModelSpec) -> None:
        way = spec.options.get("logprobs")
        if way is not None and way not in self.logprob_ways:
            raise UsageError(
                f"{spec.provider} has no logprobs={way}; it has {' and '.join(self.logprob_ways)}"
            )
        self.spec = spec
        self.name = spec.display
        self.model = spec.name
        self._first_answers = FirstAnswers(self._ask)
        self._guard = IdentityGuard(self._identity_at, self._first_answers.agree)
        self.endpoints = Endpoints(spec.urls or (self.default_url,), self._guard)
        self._vendor = any(url.startswith(_VENDOR) for url in self.endpoints.urls)
        self._new_length_name = self._vendor  # max_completion_tokens in place of max_tokens
        self.full_sampling = spec.options.get("sampling", "standard" if self._vendor else "full") == "full"
        self.traits = self._traits()
        self._bytes = ByteSemaphore()
        self._shown = ShownMedia(self._count_tokens)
        self._names = {self.model}  # under which the model may sign its replies
        self._key = read_key(spec, self.key_env, required=self._vendor)
        self.transport = Transport(
            _timeouts(spec),
            {"Authorization": f"Bearer {self._key}"} if self._key else None,
            spec.options.get("proxy"),
        )

    async def send(self, request: Request) -> Response:
        """Answer one request. Raises ``ModelError``, or ``ProbeError`` if no request can succeed."""
        return (await self.send_to(request, ""))[0]

    async def send_to(self, request: Request, endpoint: str) -> tuple[Response, RateLimits]:
        """Answer one request at an endpoint, or at the least busy one. Raises as ``send`` does."""
        exchange = partial(self._ask, request=request)
        if not (size := wire.media_bytes(request)):
            response, rates = await self.endpoints.call(exchange, endpoint)
            self._first_answers.remember(request, response)
            return response, rates
        async with self._bytes.hold(size):
            response, rates = await self.endpoints.call(exchange, endpoint)
        await self._shown.check(request, response)
        return response, rates

    async def _ask(self, url: str, request: Request) -> tuple[Response, RateLimits]:
        with wire.reading(url):
            return await (self._generate if request.continuation is None else self._score)(url, request)

    async def probe(self, needs: Requirements) -> ProbeResult:
        """Find the model on every endpoint and check what the task needs. Raises ``ProbeError``."""
        urls, infos = self.endpoints.urls, []
        for url in urls:
            self.model, info = await probe.find_model(self, url)
            infos.append(info)
        probe.check_same_identity(urls, infos)
        self._guard.trust(infos[0].identity)
        self._names = {self.model, str(infos[0].identity.get("root"))}
        self._shown = ShownMedia(self._count_tokens, probing=True)
        cost = await probe.check(self, needs)
        self._shown.probed(cost, images=needs.images, audio=needs.audio)
        by_url = zip(urls, infos, strict=True)
        slots = {url: min(info.max_running, MOST_IN_FLIGHT) for url, info in by_url if info.max_running}
        self.traits = msgspec.structs.replace(self.traits, slots=slots)
        self.name = replace(self.spec, name=self.model).display
        times = [] if self._vendor else await asyncio.gather(*(started_at(self, url) for url in urls))
        started = max(filter(None, times), default=None)
        server = infos[0].server | ({"started": started} if started else {})
        info = msgspec.structs.replace(infos[0], server=server)
        return ProbeResult(self.name, info, self.traits)

    async def load(self, endpoint: str) -> Load | None:
        """Return how busy a server is; None for a vendor, and for servers with a known number of slots."""
        return None if self._vendor or self.traits.slots else await load_of(self, endpoint)

    async def close(self) -> None:
        """Release connections."""
        await self.transport.close()

    async def get_json(self, url: str, missing: Sequence[int] = (404, 405, 501)) -> Any:
        """Return a JSON page of the server; None for a status of ``missing``. Raises as ``send`` does."""
        reply = await self.transport.get(url)
        if reply.status in missing:
            return None
        return whole_values(self.decoded(reply, url))

    async def post(self, url: str, payload: Any) -> tuple[Any, RateLimits]:
        """Post JSON and return the decoded reply and the rates. Raises as ``send`` does."""
        reply = await self.transport.post_json(url, payload)
        data = self.decoded(reply, url)
        fail_within(data, mask_bytes(reply.body), url)
        return data, rates_left(reply.headers)

    def decoded(self, reply: Reply, url: str) -> Any:
        """Return the decoded body of a reply. Raises the error of an error status or a broken body."""
        if reply.status >= 400:
            fail(reply.status, reply.headers, mask_bytes(reply.body), url)
        try:
            return wire.decoded(reply.body, reply.headers.get("content-type"))
        except ValueError:
            return read_events(reply.body, url)

    async def check_logprobs(self) -> None:
        """Refuse a server without exact prompt log-probabilities. Raises ``ProbeError``, ``ModelError``."""
        await self.endpoints.call(lambda url: probe.check_echo(self, url))

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
            usage=wire.read_usage(data.get("usage")),
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
        data, rates = await self.post(f"{url}/completions", wire.with_extra(payload, extra))
        return data, rates, read_prompt_logprobs(data) if ranked else read_echo(data)

    async def _generate(self, url: str, request: Request) -> tuple[Response, RateLimits]:
        if request.regex is not None and self._vendor:
            raise RequestRejected("OpenAI's service takes no regex: use json_schema")
        chat = self.uses_chat(request)
        if wire.media_of(request):  # encoding media would block the event loop for milliseconds
            payload = await asyncio.to_thread(self._payload, request, chat)
        else:
            payload = self._payload(request, chat)
        target = f"{url}/chat/completions" if chat else f"{url}/completions"
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
        except Withheld:
            return Response(text="", finish_reason="refusal", model=self.model, notes=(_WITHHELD,)), rates
        except RequestRejected as problem:
            if "max_tokens" not in payload or not chat or "max_completion_tokens" not in str(problem):
                raise
            self._new_length_name = True  # the server refused max_tokens, and named what it takes
            return await self._generate(url, request)
        choice = wire.read_choice(data)
        message = wire.part_of(choice.get("message") or choice.get("delta"), "message")
        model = whole(wire.as_text(data.get("model"))) or self.model
        response = wire.reply(
            choice,
            message or {"content": choice.get("text")},
            request,
            wire.read_usage(data.get("usage")),
            model=model,
            latency_s=time.perf_counter() - start,
            first_token_s=first_token_s,
        )
        return self._with_model_note(response), rates

    def _with_model_note(self, response: Response) -> Response:
        """Return a reply with a note if it names another model than was asked for, as gateways do."""
        if response.model in self._names or same_model(self.model, response.model):
            return response
        note = f"another model answered: {response.model[:100]}"
        return msgspec.structs.replace(response, notes=(*response.notes, note))

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
        if self._new_length_name and chat:
            payload["max_completion_tokens"] = payload.pop("max_tokens")
        payload["stream"] = bool(self.spec.options.get("stream"))  # some servers stream unless told not to
        if payload["stream"]:
            payload["stream_options"] = {"include_usage": True}
        return wire.with_extra(payload, request.extra)

    async def _count_tokens(self, request: Request) -> int:
        """Return the prompt tokens of a request, sent past all checks. Raises as ``send`` does."""
        response, _ = await self.endpoints.call(partial(self._generate, request=request))
        return response.usage.prompt_tokens

    def _traits(self) -> BackendTraits:
        options = self.spec.options
        formats = options.get("images") or (*self.image_formats, *(("webp",) if self._vendor else ()))
        media = MediaSupport(
            images=frozenset(f"image/{name}" for name in formats),
            audio=frozenset(wire.AUDIO_FORMATS),
            video=options.get("video") == "file",
            max_pixels=options.get("max_pixels"),
            max_side=options.get("max_side"),
        )
        return BackendTraits(
            endpoints=self.endpoints.urls,
            max_inflight=options.get("max_inflight"),
            requests_per_minute=options.get("rpm"),
            tokens_per_minute=options.get("tpm"),
            down_timeout=options.get("down_timeout"),
            retry_budget=options.get("retry_budget"),
            media=media,
            defaults=self.spec.defaults,
        )

    async def _identity_at(self, url: str) -> Mapping[str, Any]:
        return (await probe.model_at(self, url)).info.identity


def check_continuation(request: Request) -> None:
    """Raise ``RequestRejected`` for an empty continuation."""
    if not request.continuation:
        raise RequestRejected("an empty continuation has no log-probability")


def _timeouts(spec: ModelSpec) -> Timeouts:
    options = spec.options
    total = options.get("timeout", Timeouts.total)
    return Timeouts(
        connect=options.get("connect_timeout", Timeouts.connect),
        first_byte=options.get("first_byte_timeout", total),
        stall=options.get("stall_timeout", Timeouts.stall),
        total=total,
    )

"""Any OpenAI-compatible server: chat and completions, streaming or not, images, schemas, prompt logprobs."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import msgspec

from evalkit.errors import ProbeError, RequestRejected, ServerFailed, UsageError
from evalkit.media.sniff import look
from evalkit.models.openai import probe, wire
from evalkit.models.openai.byte_semaphore import ByteSemaphore
from evalkit.models.openai.endpoints import Endpoints
from evalkit.models.openai.http_errors import fail, fail_within, rates_left
from evalkit.models.openai.identity_guard import IdentityGuard
from evalkit.models.openai.prompt_logprobs import PromptLogprobs, read_echo, read_prompt_logprobs
from evalkit.models.openai.server_load import load_of
from evalkit.models.openai.sse import StreamedReply
from evalkit.models.openai.transport import Reply, Stream, Timeouts, Transport
from evalkit.models.spec import ModelSpec
from evalkit.protocols import Backend, BackendTraits, Load, ProbeResult, RateLimits
from evalkit.types import Audio, Image, MediaSupport, Request, Requirements, Response, ServerInfo, Video

# What a server says it runs at once is taken up to here: more would only wait in its queue, out of order.
MOST_IN_FLIGHT = 256
_VENDOR = "https://api.openai.com/"
# Where servers tell their version and, llama.cpp, how many requests they answer at once.
_PAGES = {"llamacpp": "/props", "vllm": "/version"}


class OpenAIBackend(Backend):
    """``openai:NAME[@URL]``: without a URL OpenAI's own service, with one any server that speaks its API."""

    key_env: str | None = "OPENAI_API_KEY"
    default_url = _VENDOR + "v1"
    start_hint = "Start it, for example: vllm serve MODEL --port 8000"
    logprob_ways: tuple[str, ...] = ("echo", "prompt_logprobs")
    image_formats: tuple[str, ...] = ("png", "jpeg")  # what every server reads; others are named by ?images=

    def __init__(self, spec: ModelSpec) -> None:
        way = spec.options.get("logprobs")
        if way is not None and way not in self.logprob_ways:
            raise UsageError(
                f"{spec.provider}: has no logprobs={way}; it has {' and '.join(self.logprob_ways)}"
            )
        self.spec = spec
        self.name = spec.display
        self.model = spec.name
        self._guard = IdentityGuard(self._identity_at)
        self.endpoints = Endpoints(spec.urls or (self.default_url,), self._guard)
        self._vendor = any(url.startswith(_VENDOR) for url in self.endpoints.urls)
        self.full_sampling = spec.options.get("sampling", "standard" if self._vendor else "full") == "full"
        self.traits = self._traits()
        self._bytes = ByteSemaphore()
        self._image_cost = probe.ImageCost()
        self._counted: set[type] = set()
        self._counting = asyncio.Lock()
        self._key = self._read_key()
        self.transport = Transport(
            _timeouts(spec),
            {"Authorization": f"Bearer {self._key}"} if self._key else None,
            spec.options.get("proxy"),
        )

    async def send(self, request: Request) -> Response:
        """Answer one request. Raises ``ModelError``, or ``ProbeError`` where no request can succeed."""
        return (await self.send_to(request, ""))[0]

    async def send_to(self, request: Request, endpoint: str) -> tuple[Response, RateLimits]:
        """Answer one request at an endpoint, or at the least busy one. Raises as ``send`` does."""
        exchange = partial(self._generate if request.continuation is None else self._score, request=request)
        if not (size := wire.media_bytes(request)):
            return await self.endpoints.call(exchange, endpoint)
        async with self._bytes.hold(size):
            response, rates = await self.endpoints.call(exchange, endpoint)
        self._check_seen(request, response)
        await self._check_counted(request, response)
        return response, rates

    async def probe(self, needs: Requirements) -> ProbeResult:
        """Find the model on every endpoint and check what the task needs. Raises ``ProbeError``."""
        urls, infos = self.endpoints.urls, []
        for url in urls:
            self.model, info = await probe.find_model(self, url)
            infos.append(info)
        probe.same_everywhere(urls, infos)
        self._guard.trust(infos[0].identity)
        self._counted = {Image, Audio, Video}  # the probe compares for itself
        self._image_cost = await probe.check(self, needs)
        self._counted = {kind for kind, asked in ((Image, needs.images), (Audio, needs.audio)) if asked}
        told = zip(urls, infos, strict=True)
        slots = {url: min(info.max_running, MOST_IN_FLIGHT) for url, info in told if info.max_running}
        self.traits = msgspec.structs.replace(self.traits, slots=slots)
        self.name = replace(self.spec, name=self.model).display
        return ProbeResult(self.name, infos[0], self.traits)

    async def load(self, endpoint: str) -> Load | None:
        """Return how busy a server is. A vendor does not say; one that told its slots is never overfull."""
        return None if self._vendor or self.traits.slots else await load_of(self, endpoint)

    async def close(self) -> None:
        """Release connections."""
        await self.transport.close()

    async def get_json(self, url: str) -> Any:
        """A document of the server, decoded; None where it has no such page. Raises as ``send`` does."""
        reply = await self.transport.get(url)
        if reply.status in (404, 405):
            return None
        return self.decoded(reply, url)

    async def post(self, url: str, payload: Any) -> tuple[Any, RateLimits]:
        """Post to the server. Returns its reply, decoded, and its rates. Raises as ``send`` does."""
        reply = await self.transport.post_json(url, payload)
        data = self.decoded(reply, url)
        fail_within(data, self._scrub(reply.body), url)
        return data, rates_left(reply.headers)

    def decoded(self, reply: Reply, url: str) -> Any:
        """The document in a reply. Raises what an error status or a broken body means."""
        if reply.status >= 400:
            fail(reply.status, reply.headers, self._scrub(reply.body), url)
        try:
            return wire.decoded(reply.body, reply.headers.get("content-type"))
        except (msgspec.DecodeError, UnicodeDecodeError):
            start = self._scrub(reply.body)[:200].decode("utf-8", "replace")
            raise ServerFailed(f"{url} answered {reply.status} with what is not JSON: {start!r}") from None

    async def check_logprobs(self) -> None:
        """Refuse a server without exact prompt log-probabilities. Raises ``ProbeError``, ``ModelError``."""
        await self.endpoints.call(lambda url: probe.check_echo(self, url))

    async def facts(self, url: str, entry: dict[str, Any]) -> ServerInfo:
        """What is known of the model at ``url``; ``entry`` is its line in ``/models``."""
        meta, owner = entry.get("meta") or {}, entry.get("owned_by")
        page = _PAGES.get(owner or "")
        told = await self.get_json(url.removesuffix("/v1") + page) if page else None
        told = told if isinstance(told, dict) else {}
        context = entry.get("max_model_len") or meta.get("n_ctx")
        known = {
            "provider": self.spec.provider,
            "model": entry["id"],
            "label": self.spec.options.get("label"),
            "root": entry.get("root"),
            "version": told.get("version") or told.get("build_info"),
            "context": context,
            "quantization": meta.get("ftype"),
            "parameters": meta.get("n_params"),
            "bytes": meta.get("size"),
        }
        identity = {name: value for name, value in known.items() if value is not None}
        # More connections than llama.cpp has slots stall it for seconds: each idle one holds a thread until
        # its keep-alive ends.
        return ServerInfo(identity, context, told.get("total_slots"), {"owned_by": owner})

    async def _score(self, url: str, request: Request) -> tuple[Response, RateLimits]:
        """Return the log-probabilities of a continuation, by reading the prompt through ``/completions``."""
        context, continuation = request.prompt or "", request.continuation or ""
        check_continuation(request)
        start = time.perf_counter()
        data, rates, echoed = await self.read_prompt(url, context + continuation, **request.extra)
        first = echoed.border(continuation)
        response = Response(
            text="",
            usage=wire.read_usage(data.get("usage")),
            model=wire.as_text(data.get("model")) or self.model,
            logprobs=tuple(echoed.logprobs[first:]),
            is_greedy=echoed.is_greedy(first),
            latency_s=time.perf_counter() - start,
        )
        return response, rates

    async def read_prompt(
        self, url: str, prompt: str, **extra: Any
    ) -> tuple[Any, RateLimits, PromptLogprobs]:
        """Let the server read ``prompt``. Returns its reply, its rates, and the tokens' log-probabilities."""
        ranked = self.spec.options.get("logprobs") == "prompt_logprobs"
        payload = {
            "model": self.model,
            "prompt": prompt,
            **wire.sampling_payload(Request(max_tokens=1), full=self.full_sampling),
            **({"prompt_logprobs": 1} if ranked else {"echo": True, "logprobs": 1}),
            **extra,
        }
        data, rates = await self.post(f"{url}/completions", payload)
        return data, rates, read_prompt_logprobs(data) if ranked else read_echo(data)

    async def _generate(self, url: str, request: Request) -> tuple[Response, RateLimits]:
        if request.regex is not None and self._vendor:
            raise RequestRejected("OpenAI's service takes no regex: use json_schema")
        chat = self.uses_chat(request)
        if wire.media_of(request):  # reading and encoding pictures takes milliseconds
            payload = await asyncio.to_thread(self._payload, request, chat)
        else:
            payload = self._payload(request, chat)
        target = f"{url}/chat/completions" if chat else f"{url}/completions"
        start = time.perf_counter()
        if payload.get("stream"):
            async with self.transport.stream_json(target, payload) as stream:
                return await self._read_stream(stream, target, start), rates_left(stream.headers)
        data, rates = await self.post(target, payload)
        choice = wire.read_choice(data)
        message = wire.part_of(choice.get("message"), "message") if chat else {"content": choice.get("text")}
        response = wire.reply(
            choice,
            message,
            usage=wire.read_usage(data.get("usage")),
            model=wire.as_text(data.get("model")) or self.model,
            latency_s=time.perf_counter() - start,
        )
        return response, rates

    def uses_chat(self, request: Request) -> bool:
        """Whether a request goes through the chat template."""
        return request.prompt is None and self.spec.options.get("api", "chat") == "chat"

    def _payload(self, request: Request, chat: bool) -> dict[str, Any]:
        payload: dict[str, Any] = {"model": self.model}
        if chat:
            payload["messages"] = [wire.message_payload(message) for message in request.messages]
        else:
            payload["prompt"] = wire.plain_prompt(request)
        payload.update(wire.sampling_payload(request, full=self.full_sampling))
        if self._vendor and chat:
            payload["max_completion_tokens"] = payload.pop("max_tokens")
        if self.spec.options.get("stream"):
            payload |= {"stream": True, "stream_options": {"include_usage": True}}
        return payload | request.extra

    async def _read_stream(self, stream: Stream, url: str, start: float) -> Response:
        """Put a streamed reply together. Raises ``ServerFailed`` where it ends too early."""
        if stream.status >= 400:
            body = b"\n".join([line async for line in stream.lines])
            fail(stream.status, stream.headers, self._scrub(body), url)
        pieces = StreamedReply()
        async for line in stream.lines:
            if not line.startswith(b"data:"):
                continue
            data = line[5:].strip()
            if data == b"[DONE]":
                pieces.done = True
                break
            self._add(pieces, data, url, start)
        if not pieces.whole:
            raise ServerFailed(f"{url} broke off in the middle of a streamed reply")
        return wire.reply(
            {"finish_reason": pieces.finish},
            pieces.message(),
            usage=wire.read_usage(pieces.usage),
            model=pieces.model or self.model,
            latency_s=time.perf_counter() - start,
            first_token_s=pieces.first_token_s,
        )

    def _add(self, pieces: StreamedReply, data: bytes, url: str, start: float) -> None:
        try:
            chunk = msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            said = self._scrub(data)[:200].decode("utf-8", "replace")
            raise ServerFailed(f"{url} streamed what is not JSON: {said!r}") from None
        fail_within(chunk, self._scrub(data), url)
        pieces.add(chunk, time.perf_counter() - start)

    def _check_seen(self, request: Request, response: Response) -> None:
        """Refuse a reply to pictures that the server dropped. Raises ``RequestRejected``."""
        shown = request.images
        counted = response.usage.image_tokens
        if not shown:
            return
        if counted == 0 or (counted is None and self._image_cost.counted):
            raise RequestRejected(
                "the server dropped the image: it counted no image tokens. Check its chat template "
                "and that the model sees images"
            )
        tokens = response.usage.prompt_tokens
        if 0 < tokens < len(shown) * self._image_cost.tokens:
            # A smaller picture than the probe's may cost less: look closer before refusing.
            sizes = [look(image.read()).size for image in shown]
            large = sum(size is not None and min(size) >= probe.PICTURE for size in sizes)
            if tokens < large * self._image_cost.tokens:
                raise RequestRejected(
                    f"the server dropped images: {tokens} prompt tokens are too few for {large} images of at "
                    f"least {self._image_cost.tokens} tokens each"
                )

    async def _check_counted(self, request: Request, response: Response) -> None:
        """Once for each kind of medium: it must cost prompt tokens. Raises ``RequestRejected``.

        Servers drop what their chat template does not know, and answer the text alone.
        """
        for kind in dict.fromkeys(type(part) for part in wire.media_of(request)):
            async with self._counting:
                if kind in self._counted or not response.usage.prompt_tokens:
                    continue
                bare = wire.without(request, kind)
                fewer, _ = await self.endpoints.call(partial(self._generate, request=bare))
                if fewer.usage.prompt_tokens >= response.usage.prompt_tokens:
                    raise RequestRejected(
                        f"the server dropped the {kind.__name__.lower()}: as many prompt tokens without it. "
                        "Check the model and its chat template"
                    )
                self._counted.add(kind)

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

    def _read_key(self) -> str | None:
        named = self.spec.options.get("api_key_env")
        key = os.environ.get(named or self.key_env or "") or None
        if named and key is None:
            raise UsageError(f"{named} is not set; it should hold the API key: export {named}=…")
        if self._vendor and key is None:
            raise ProbeError(
                f"{self.name}: OPENAI_API_KEY is not set. export OPENAI_API_KEY=…, "
                f"or name your own server: {self.name}@http://127.0.0.1:8000"
            )
        return key

    def _scrub(self, body: bytes) -> bytes:
        return body.replace(self._key.encode(), b"***") if self._key else body


def check_continuation(request: Request) -> None:
    """Refuse what has no log-probability. Raises ``RequestRejected``."""
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

"""What all adapters of HTTP servers share: endpoints, key, limits of memory, errors, the checks before a run.

An adapter adds its wire format: ``target``, ``payload`` and ``read``, which open no connection.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import msgspec

from evalkit.models.headers import read_headers, read_query
from evalkit.models.openai import probe, wire
from evalkit.models.openai.api_key import read_key
from evalkit.models.openai.byte_semaphore import ByteSemaphore
from evalkit.models.openai.endpoints import Endpoints
from evalkit.models.openai.first_answers import FirstAnswers
from evalkit.models.openai.http_errors import Garbled, Withheld, fail, fail_within, rates_left
from evalkit.models.openai.identity_guard import IdentityGuard
from evalkit.models.openai.parameters import Parameters
from evalkit.models.openai.probe import ServedModel
from evalkit.models.openai.same_model import same_model
from evalkit.models.openai.shown import ShownMedia
from evalkit.models.openai.sse import read_events
from evalkit.models.openai.transport import Reply, Timeouts, Transport
from evalkit.models.spec import ModelSpec
from evalkit.protocols import Backend, BackendTraits, ProbeResult, RateLimits
from evalkit.reading.surrogates import whole_values
from evalkit.types import MediaSupport, Request, Requirements, Response, ServerInfo
from evalkit.util.masking import mask_bytes

# The most requests in flight at a server that reports a number: more would wait in the server's own queue.
MOST_IN_FLIGHT = 256
NO_LIST = (403, 404, 405, 501)  # a key may chat, but not list the models (403)
_WITHHELD = "the server's content filter refused the request"
_GARBLED = "the server could not read what the model wrote ({})"


class HTTPBackend(Backend):
    """The base class of adapters of HTTP servers.

    - ``key_env``: the environment variable of the API key; ``vendor``: where the URLs of the vendor's own
      service begin; ``default_url``: the URL where the spec has none.
    - ``start_command``: how a server of this kind is started, with ``{port}``.
    - ``image_formats``, ``audio_formats``: what every server of this kind reads.
    - ``parameters``: evalkit's defaults that no request has; an adapter fills them.
    """

    key_env: str | None = None
    vendor = ""
    default_url = ""
    start_command = ""
    image_formats: tuple[str, ...] = ("png", "jpeg")
    audio_formats: Mapping[str, str] = wire.AUDIO_FORMATS

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self.name = spec.display
        self.model = spec.name
        self._first_answers = FirstAnswers(self._ask)
        self._guard = IdentityGuard(self._identity_at, self._first_answers.agree)
        self.endpoints = Endpoints(spec.urls or (self.default_url,), self._guard)
        self._vendor = bool(self.vendor) and any(u.startswith(self.vendor) for u in self.endpoints.urls)
        self.traits = self._traits()
        self._bytes = ByteSemaphore()
        self._shown = ShownMedia(self._count_tokens)
        self._names = {self.model}  # under which the model may sign its replies
        self.parameters = Parameters({})
        self._key = read_key(spec, self.key_env, required=self._vendor)
        self.transport = Transport(
            _timeouts(spec),
            {**self.headers(self._key), **read_headers(spec.headers)},
            spec.options.get("proxy"),
            read_query(spec.query),
        )

    def how_to_reach(self, url: str) -> str:
        """Return what to do where nothing answers at ``url``."""
        if self._vendor:
            return "Check the network. Behind a proxy, add ?proxy=URL: the variable HTTPS_PROXY is not used"
        port = urlsplit(url).port
        if not (port and self.start_command):
            return "Is the server running? Check the URL"
        return f"Is the server running? Start it, for example: {self.start_command.format(port=port)}"

    # --- The wire format: what an adapter defines ---

    def headers(self, key: str | None) -> dict[str, str]:
        """Return the headers of every request."""
        return {"Authorization": f"Bearer {key}"} if key else {}

    @abstractmethod
    def target(self, url: str) -> str:
        """Return the address that answers chats, for the API at ``url``."""

    @abstractmethod
    def payload(self, request: Request) -> dict[str, Any]:
        """Return the body of a chat request. Raises ``RequestRejected`` for what the interface cannot say."""

    @abstractmethod
    def read(self, data: Any, request: Request, **timing: Any) -> Response:
        """Return the response in a decoded reply. ``timing``: further fields of the response.

        Raises ``ModelError`` for a reply that is none.
        """

    async def entries(self, url: str) -> list[dict[str, Any]]:
        """Return the models that the API at ``url`` lists, each with its ``id``. Raises as ``send`` does."""
        return probe.entries_of(await self.get_json(f"{url}/models", missing=NO_LIST))

    @abstractmethod
    async def facts(self, url: str, entry: dict[str, Any]) -> ServerInfo:
        """Return the facts of the model at ``url``; ``entry`` is its line in the list of models."""

    @abstractmethod
    async def check_logprobs(self) -> None:
        """Refuse a server without exact prompt log-probabilities. Raises ``ProbeError``, ``ModelError``."""

    @abstractmethod
    async def _generate(self, url: str, request: Request) -> tuple[Response, RateLimits]: ...

    @abstractmethod
    async def _score(self, url: str, request: Request) -> tuple[Response, RateLimits]: ...

    # --- What all of them share ---

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

    def withheld(self) -> Response:
        """Return the response for a request that the vendor's content filter refused."""
        return Response(text="", finish_reason="refusal", model=self.model, notes=(_WITHHELD,))

    def unread(self, problem: Withheld | Garbled) -> Response:
        """Return the response for a request whose error is the model's own doing, or a filter's."""
        if isinstance(problem, Withheld):
            return self.withheld()
        notes = (_GARBLED.format(problem.code),)
        return Response(text="", finish_reason="other", model=self.model, notes=notes)

    async def probe(self, needs: Requirements) -> ProbeResult:
        """Find the model on every endpoint and check what the task needs. Raises ``ProbeError``."""
        infos = await self._find(needs)
        await self._check(needs)
        return ProbeResult(self.name, infos[0], self.traits)

    async def _find(self, needs: Requirements) -> list[ServerInfo]:
        """Find the model on every endpoint and return its facts. Raises ``ProbeError``."""
        urls, served = self.endpoints.urls, []
        for url in urls:
            served.append(await probe.find_model(self, url))
            self.model = served[-1].model
        probe.check_same_identity(urls, [one.info for one in served])
        await self._find_refused(served, needs)
        self.parameters.settle()
        self._first_answers.drawn = "temperature" in self.parameters.effective
        infos = [self._as_asked(one.info) for one in served]
        self._guard.trust(infos[0].identity)
        self._names = {self.model, *(str(infos[0].identity.get(name)) for name in ("root", "deployed"))}
        self.name = replace(self.spec, name=self.model).display
        return infos

    async def _find_refused(self, served: Sequence[ServedModel], needs: Requirements) -> None:
        """Find out which parameters the servers refuse; an adapter that learns none does nothing."""

    def _as_asked(self, info: ServerInfo) -> ServerInfo:
        """Return the facts of a server with what is left out of its requests."""
        if not (missing := self.parameters.missing):
            return info
        identity = info.identity | ({"left_out": names} if (names := self.parameters.effective) else {})
        server = info.server | {"left_out": missing}
        return msgspec.structs.replace(info, identity=identity, server=server)

    async def ask_at(self, url: str, request: Request) -> Response:
        """Answer one request of the probe at an endpoint, past all checks. Raises as ``send`` does."""

        async def plainly(url: str) -> tuple[Response, RateLimits]:
            with wire.reading(url):
                return await self._generate(url, request)

        return (await self.endpoints.call(plainly, url))[0]

    async def _check(self, needs: Requirements) -> None:
        """Check what the task needs. Raises ``ProbeError``."""
        self._shown = ShownMedia(self._count_tokens, probing=True)
        cost = await probe.check(self, needs)
        self._shown.probed(cost, images=needs.images, audio=needs.audio)

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

    def _with_model_note(self, response: Response) -> Response:
        """Return a reply with a note if it names another model than was asked for, as gateways do."""
        if response.model in self._names or same_model(self.model, response.model):
            return response
        return response.noted(f"another model answered: {response.model[:100]}")

    def answer(self, data: Any, request: Request) -> Response:
        """Return the response in a decoded reply, noted if another model gave it. Raises as ``read``."""
        return self._with_model_note(self.read(data, request))

    async def _count_tokens(self, request: Request) -> int:
        """Return the prompt tokens of a request, sent past all checks. Raises as ``send`` does."""
        response, _ = await self.endpoints.call(partial(self._generate, request=request))
        return response.usage.prompt_tokens

    async def _identity_at(self, url: str) -> Mapping[str, Any]:
        return self._as_asked((await probe.model_at(self, url)).info).identity

    def usual_formats(self) -> tuple[str, ...]:
        """Return the picture formats that are sent unchanged if the spec names none."""
        return self.image_formats

    def _traits(self) -> BackendTraits:
        options = self.spec.options
        formats = options.get("images") or self.usual_formats()
        media = MediaSupport(
            images=frozenset(f"image/{name}" for name in formats),
            audio=frozenset(self.audio_formats),
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


def _timeouts(spec: ModelSpec) -> Timeouts:
    options = spec.options
    total = options.get("timeout", Timeouts.total)
    return Timeouts(
        connect=options.get("connect_timeout", Timeouts.connect),
        first_byte=options.get("first_byte_timeout", total),
        stall=options.get("stall_timeout", Timeouts.stall),
        total=total,
    )

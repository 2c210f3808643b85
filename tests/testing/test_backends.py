"""Our own adapters keep the contract of ``Backend``; the kit finds an adapter that does not."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from aiohttp import web

from evalkit.models.fake import FakeBackend
from evalkit.protocols import BackendTraits, Load, ProbeResult, RateLimits
from evalkit.testing import check_backend
from evalkit.types import Request, Requirements, Response, ServerInfo
from tests.servers.dialects import DIALECTS, Dialect, Said
from tests.servers.in_thread import in_thread


@pytest.mark.parametrize("name", ["lead", "copy", "extract", "random", "echo", "empty"])
def test_baselines(name: str) -> None:
    assert check_backend(f"baseline:{name}").info.identity["provider"] == "baseline"


def test_the_openai_adapter_on_a_real_server(llama_server: str) -> None:
    assert check_backend(f"openai:tiny@{llama_server}").name == "openai:tiny"


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda d: d.name)
def test_the_adapters_of_all_servers(dialect: Dialect, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ANTHROPIC_API_KEY", "GOOGLE_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.setenv(name, "a-key-for-tests")
    pages = [web.get(path, _page(page)) for path, page in dialect.pages.items()]
    with in_thread([*pages, web.post(dialect.path, _page(dialect.reply(Said("Hello."))))]) as url:
        assert check_backend(dialect.spec.format(url=url)).info.identity["model"] == "tiny"


def _page(body: Any) -> Any:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response(body)

    return answer


class Faulty(FakeBackend):
    """An adapter with a fault that its name says."""

    def __init__(self, fault: str) -> None:
        super().__init__(self.answer, name=fault)
        self.numbers = itertools.count()
        if fault == "traits":
            self.traits = {"cacheable": False}  # type: ignore[assignment]

    def answer(self, request: Request) -> Any:
        special = request.continuation is not None
        match self.name:
            case "text":
                return Response(text=None)  # type: ignore[arg-type]
            case "finish":
                return Response(text="", finish_reason="eos")  # type: ignore[arg-type]
            case "untyped" if special:
                raise KeyError("choices")
            case "logprobs" if special:
                return Response(text="", logprobs=(float("nan"),))
        return Response(text="hello", logprobs=(-1.0,) if special else None)

    async def send(self, request: Request) -> Response:
        response = await super().send(request)
        return "hello" if self.name == "reply" else response  # type: ignore[return-value]

    async def probe(self, needs: Requirements) -> ProbeResult:
        changing = {"started": next(self.numbers)} if self.name == "identity" else {}
        info = ServerInfo({} if self.name == "nameless" else {"model": "m", **changing})
        return ProbeResult(self.name, info, self.traits)

    async def send_to(self, request: Request, endpoint: str) -> tuple[Response, RateLimits]:
        response, rates = await super().send_to(request, endpoint)
        return response, None if self.name == "rates" else rates  # type: ignore[return-value]

    async def load(self, endpoint: str) -> Load | None:
        return 3 if self.name == "load" else Load(1, 0)  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("text", "text is None, not a string"),
        ("finish", "finish_reason is 'eos'"),
        ("untyped", "a log-likelihood: KeyError is no error of evalkit.errors"),
        ("logprobs", "not finite numbers up to 0"),
        ("reply", "send returned str, not Response"),
        ("identity", "a second probe returned other facts"),
        ("nameless", "the identity is empty"),
        ("rates", "send_to returned NoneType for the rates"),
        ("load", "load returned 3"),
    ],
)
def test_a_faulty_adapter_is_found(fault: str, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        check_backend(lambda: Faulty(fault))


def test_the_same_adapter_without_a_fault_passes() -> None:
    assert check_backend(lambda: Faulty("sound")).traits == BackendTraits(free=True)


def test_what_is_no_subclass_is_refused() -> None:
    with pytest.raises(AssertionError, match="object is no subclass of Backend"):
        check_backend(object)  # type: ignore[arg-type]

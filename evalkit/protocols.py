"""The whole contract of a plug-in: what a server adapter, a retriever and a judge must and may provide.

Subclass the class, define its abstract methods, and override a default where there is more to say. evalkit
asks for nothing else: no attribute of a plug-in is found by its name. How a plug-in is registered and checked
is in docs/plug-ins.md.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, Self

import msgspec
from msgspec import Struct

from evalkit.errors import UsageError
from evalkit.types import (
    MediaSupport,
    Passage,
    Progress,
    Request,
    Requirements,
    Response,
    Sample,
    ServerInfo,
)


class Described:
    """Something that a run's provenance records."""

    def describe(self) -> dict[str, Any]:
        """Return plain facts (kind, version, parameters) as JSON can hold them; nothing by default."""
        return {}


# --- Server adapters ---------------------------------------------------------------------------------------


class BackendTraits(Struct, frozen=True, kw_only=True):
    """How a backend wants to be used: as far as its spec says, then as its probe found out.

    - ``cacheable``: equal requests have equal replies: they are cached, and sent once when asked together.
    - ``endpoints``: the addresses among which evalkit chooses (``send_to``); none: the backend is one place.
    - ``slots``: how many requests each endpoint runs at once, where it said so.
    - ``max_inflight``: the most requests at all endpoints together.
    - ``requests_per_minute``, ``tokens_per_minute``: the rates of each endpoint.
    - ``down_timeout``: the seconds that an outage may last before the run stops.
    - ``retry_budget``: how many tries again for each answered request.
    - ``media``: the kinds of pictures, sounds and films that are sent as they are; None: all.
    - ``defaults``: generation parameters for what the task does not say.
    """

    cacheable: bool = True
    endpoints: tuple[str, ...] = ()
    slots: Mapping[str, int] = {}
    max_inflight: int | None = None
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    down_timeout: float | None = None
    retry_budget: float | None = None
    media: MediaSupport | None = None
    defaults: dict[str, Any] = {}


class ProbeResult(Struct, frozen=True):
    """What a probe found out: the name to show, facts for provenance and cache keys, and the traits."""

    name: str
    info: ServerInfo
    traits: BackendTraits = BackendTraits()


class ReportedRateLimit(NamedTuple):
    """What is left of a rate, as a reply's headers say.

    ``units`` are requests or tokens, left for ``reset_s`` seconds; after that there are ``most``, infinite
    where the server does not say.
    """

    units: float
    reset_s: float
    most: float


RateLimits = Mapping[str, ReportedRateLimit]  # by kind: "requests", "tokens"


class Load(Struct, frozen=True):
    """Requests that a server runs, requests that wait there, and the most that it runs, if it says so."""

    running: int
    waiting: int
    most: int | None = None


class Sender(Protocol):
    """What answers requests: a backend, or a layer around one."""

    async def send(self, request: Request) -> Response:
        """Answer one request. Raises ``evalkit.errors.ModelError``."""
        ...


class Backend(ABC):
    """An adapter of a model server, or a model in this process.

    ``name`` is what tables show. ``send`` is all that must be defined. Cache, retries, rates, schedule and
    resume come by themselves; which errors are tried again is in ``evalkit.errors``.
    """

    name: str
    traits: BackendTraits = BackendTraits()

    @abstractmethod
    async def send(self, request: Request) -> Response:
        """Answer one request. Raises ``evalkit.errors.ModelError``.

        Many calls run at the same time, in one event loop: wait without blocking it. A call may be cancelled.
        """

    async def send_to(self, request: Request, endpoint: str) -> tuple[Response, RateLimits]:
        """Answer one request at one of ``traits.endpoints`` ("" where there are none).

        Returns the response, and what it says is left of the endpoint's rates. Raises as ``send`` does; with
        ``not_sent`` set on a ``ServerFailed``, another endpoint takes the request at once.
        """
        return await self.send(request), {}

    async def probe(self, needs: Requirements) -> ProbeResult:
        """Check before a run that the model is there and can do what the task needs.

        Raises ``evalkit.errors.ProbeError`` with the fix in its message. By default nothing is checked.
        """
        return ProbeResult(self.name, ServerInfo({"model": self.name}), self.traits)

    async def load(self, endpoint: str) -> Load | None:
        """Return how busy an endpoint is; None where it does not say, and it is not asked again."""
        return None

    async def close(self) -> None:
        """Release connections. Called once, also after a failed probe."""
        return


# --- Retrievers --------------------------------------------------------------------------------------------


class Check(Struct, frozen=True):
    """One thing that ``Retriever.verify`` looked at; ``ok`` is None where it could not, as ``found`` says."""

    name: str
    ok: bool | None
    found: str


class Retriever(Described, ABC):
    """Finds passages of a corpus. ``search`` and ``get`` must be defined.

    A retriever that is known by name (``-p search=NAME?option=value``) is constructed as below. Constructing
    is cheap: an index is built or read at the first search, or by ``prepare``.
    """

    search_options: ClassVar[frozenset[str]] = frozenset()  # options that leave the index as it is

    def __init__(self, corpus: Path, directory: Path, *, progress: Progress, **options: Any) -> None:
        """Take a ``corpus`` (docs/corpora.md) and the ``directory`` for an index of it.

        Raises ``UsageError`` for an unknown option, ``CorpusError`` for a corpus that is not there.
        """
        if options:
            raise UsageError(f"{type(self).__name__} has no option {min(options)!r}; it takes none")
        self.corpus_path, self.directory, self.progress = corpus, directory, progress

    @classmethod
    def open(cls, directory: Path, *, progress: Progress, **options: Any) -> Self:
        """Return the retriever of an index on disk, its corpus read from the index.

        Raises ``SetupError`` where there is none. By default a retriever keeps no index.
        """
        raise UsageError(f"{directory}: {cls.__name__} keeps no index that could be opened")

    @abstractmethod
    async def search(self, query: str, k: int) -> Sequence[Passage]:
        """Return the ``k`` best passages, best first, ties broken by id; fewer where there are no more."""

    @abstractmethod
    async def get(self, ids: Sequence[str]) -> Sequence[Passage]:
        """Return whole documents by id, in the order asked for. Raises ``evalkit.errors.CorpusError``."""

    async def unknown(self, documents: Sequence[str]) -> list[str] | None:
        """Return those document ids that the corpus lacks; None where the retriever cannot say."""
        return None

    async def prepare(self) -> None:
        """Build or load the index now."""
        return

    async def verify(self) -> list[Check] | None:
        """Check the index on disk; None where there is nothing to check. Raises ``SetupError``."""
        return None

    async def close(self) -> None:
        """Release memory, threads and files. Called once, at the end of the command."""
        return


# --- Judges ------------------------------------------------------------------------------------------------

Relation = Literal["entails", "contradicts", "neutral"]


class Judge(Described, ABC):
    """Weighs sentences against passages. ``name`` says who judges."""

    name: str

    @abstractmethod
    async def relation(self, passages: Sequence[Passage], sentence: str, sample: Sample) -> Relation:
        """Return whether the passages, taken together, support the sentence.

        Raises ``JudgeError`` where the judge's reply is no verdict, ``ModelError`` where there is no reply.
        """

    @abstractmethod
    async def claims(self, text: str, sample: Sample) -> list[str]:
        """Return the single claims that a text makes, in order. Raises as ``relation`` does."""


def described(value: object) -> dict[str, Any]:
    """Return what provenance records of a fixture's value; nothing for a value of another kind."""
    return msgspec.to_builtins(value.describe()) if isinstance(value, Described) else {}

"""The whole contract of a plug-in: what a server adapter, a retriever and a judge must and may provide.

Subclass the class, define its abstract methods, and override the other methods where the defaults do not
fit. evalkit uses nothing else of a plug-in. docs/plug-ins.md shows how to register and check one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, Self

import msgspec
from msgspec import Struct

from evalkit.errors import EvalkitError, UsageError
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
    """A part of a run that its provenance records."""

    def describe(self) -> dict[str, Any]:
        """Return facts (kind, version, parameters) that JSON can hold; an empty dictionary by default."""
        return {}


# --- Server adapters ---------------------------------------------------------------------------------------


class BackendTraits(Struct, frozen=True, kw_only=True):
    """How evalkit should use a backend: first by its model spec, later by its probe.

    - ``cacheable``: equal requests have equal replies, so that replies are cached, and of equal requests in
      flight one is sent.
    - ``endpoints``: the addresses among which evalkit chooses (``send_to``); empty for a single unnamed one.
    - ``slots``: the number of requests that each endpoint runs at once, if known.
    - ``max_inflight``: the most requests in flight at all endpoints together.
    - ``requests_per_minute``, ``tokens_per_minute``: the rate limits of each endpoint.
    - ``down_timeout``: the seconds that an outage may last before the run stops.
    - ``retry_budget``: the number of retries for each answered request.
    - ``media``: the media that the backend takes; None: all, unchanged.
    - ``defaults``: generation parameters where the task gives none.
    - ``window``: the number of samples in progress that suits the backend; None: evalkit's own number.
    - ``reasoning_marks``: what opens and closes reasoning in the text of replies, where evalkit does not know
      it (``?reasoning_marks=OPEN,CLOSE``; set by ``evalkit.models.load``).
    - ``free``: nobody pays for the replies, not even with the time of a server.
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
    window: int | None = None
    reasoning_marks: tuple[str, str] | None = None
    free: bool = False


class ProbeResult(Struct, frozen=True):
    """The result of a probe: the name to show, facts for provenance and cache keys, and the traits."""

    name: str
    info: ServerInfo
    traits: BackendTraits = BackendTraits()


class ReportedRateLimit(NamedTuple):
    """A rate limit in the headers of a reply.

    ``units`` (requests or tokens) are left for the next ``reset_s`` seconds; then there are ``most`` again,
    infinite if the server does not report the number.
    """

    units: float
    reset_s: float
    most: float


RateLimits = Mapping[str, ReportedRateLimit]  # by kind: "requests", "tokens"


class Load(Struct, frozen=True):
    """The requests that a server runs, those that wait there, and the most that it runs at once, if known."""

    running: int
    waiting: int
    most: int | None = None


class BatchState(Struct, frozen=True):
    """The state of a batch job.

    - ``word``: the vendor's word for it; ``done``: the lines that have a result.
    - ``refused``: the vendor's reason where it took the job, but will answer none of its lines.
    - ``too_much``: it will take fewer lines, or the same lines when earlier jobs have ended.
    - ``cancelled``: lines without a result were cancelled by a user.
    """

    word: str
    ended: bool = False
    done: int = 0
    refused: str = ""
    too_much: bool = False
    cancelled: bool = False


class BatchResult(Struct, frozen=True):
    """The result of one line of a batch job: the ``body`` of the reply, or the ``problem``."""

    key: str
    body: Any = None
    problem: EvalkitError | None = None


class BatchService(ABC):
    """A vendor's batch interface: takes requests by the file and answers within a day, at a lower price.

    ``max_lines`` and ``max_bytes`` are the vendor's limits of one file. A file goes out when no request has
    come for ``wait_s`` seconds (``?batch_wait=``), or when it is full. All methods raise ``ModelError`` as
    ``Backend.send`` does. A job that the vendor does not know is a ``RequestRejected`` of status 404.
    """

    max_lines: int
    max_bytes: int
    wait_s: float = 10.0

    @abstractmethod
    def line(self, key: str, request: Request) -> bytes:
        """Return a request as one line of a file. ``key`` (64 hex digits) comes back with its result.

        Called in a thread. Raises ``RequestRejected`` for a request that the interface does not take.
        """

    @abstractmethod
    async def submit(self, name: str, lines: Sequence[bytes]) -> str:
        """Submit a job and return the vendor's id. ``name`` is evalkit's own: ``find`` looks for it."""

    @abstractmethod
    async def find(self, name: str, keys: Sequence[str], since: float, known: Collection[str]) -> str | None:
        """Return the id of the job that was submitted as ``name``; None if the vendor has no such job.

        For a vendor that keeps no names: the job's ``keys``, the time before its submission (epoch seconds),
        and the ids that are ``known`` as those of other jobs.
        """

    @abstractmethod
    async def state(self, job: str) -> BatchState:
        """Return the state of a job."""

    @abstractmethod
    def results(self, job: str) -> AsyncIterator[BatchResult]:
        """Yield the results of an ended job, in any order.

        An expired line is a ``ServerFailed``: it is asked again. A cancelled one is a ``SetupError``.
        """

    @abstractmethod
    async def cancel(self, job: str) -> None:
        """Cancel a job. Lines that the vendor has answered stay answered, and are paid for."""

    @abstractmethod
    def read(self, body: Any, request: Request) -> Response:
        """Return the response in the ``body`` of a result."""


class Sender(Protocol):
    """Something that answers requests: a backend, or a layer around one."""

    async def send(self, request: Request) -> Response:
        """Answer one request. Raises ``evalkit.errors.ModelError``."""
        ...


class Backend(ABC):
    """An adapter of a model server, or a model in this process.

    ``name`` is the name in tables. Only ``send`` must be defined. evalkit adds cache, retries, rate limits,
    schedule and resume; ``evalkit.errors`` says which errors are tried again.

    ``takes_reasoning``: whether the ``effort`` and ``reasoning_tokens`` of a spec reach the model. Where they
    do not, a spec that has them is refused.
    """

    name: str
    traits: BackendTraits = BackendTraits()
    takes_reasoning: ClassVar[bool] = False

    @abstractmethod
    async def send(self, request: Request) -> Response:
        """Answer one request. Raises ``evalkit.errors.ModelError``.

        Many calls run at the same time in one event loop, so do not block it. A call may be cancelled.
        """

    async def send_to(self, request: Request, endpoint: str) -> tuple[Response, RateLimits]:
        """Answer one request at one of ``traits.endpoints`` ("" if there are none).

        Return the response and the rate limits in its headers. Raises as ``send`` does. A ``ServerFailed``
        with ``not_sent`` set sends the request to another endpoint at once.
        """
        return await self.send(request), {}

    async def probe(self, needs: Requirements) -> ProbeResult:
        """Check before a run that the model is there and can do what the task needs.

        Raises ``evalkit.errors.ProbeError`` with the fix in its message. The default checks nothing.
        """
        return ProbeResult(self.name, ServerInfo({"model": self.name}), self.traits)

    def batches(self) -> BatchService | None:
        """Return the batch interface, if the spec says ``?batch=true``; None for a backend without one."""
        return None

    async def load(self, endpoint: str) -> Load | None:
        """Return how busy an endpoint is; None if it does not report that: then it is not asked again."""
        return None

    async def close(self) -> None:
        """Release connections. Called once, also after a failed probe."""
        return


# --- Retrievers --------------------------------------------------------------------------------------------


class Check(Struct, frozen=True):
    """One check of ``Retriever.verify`` and its result; ``ok`` is None if the check could not be made."""

    name: str
    ok: bool | None
    found: str


class Retriever(Described, ABC):
    """Finds passages of a corpus. ``search`` and ``get`` must be defined.

    A retriever that has a name (``-p search=NAME?option=value``) is constructed as below. The constructor is
    cheap: the first search, or ``prepare``, builds or reads the index.
    """

    search_options: ClassVar[frozenset[str]] = frozenset()  # options that do not change the index
    index_format: ClassVar[int] = 1  # raise it when older indexes cannot be used: each format has its folders

    def __init__(self, corpus: Path, directory: Path, *, progress: Progress, **options: Any) -> None:
        """Store the path of a ``corpus`` (docs/corpora.md) and the ``directory`` for its index.

        Raises ``UsageError`` for an unknown option, ``CorpusError`` for a missing corpus.
        """
        if options:
            raise UsageError(f"{type(self).__name__} has no option {min(options)!r}; it takes none")
        self.corpus_path, self.directory, self.progress = corpus, directory, progress

    @classmethod
    def open(cls, directory: Path, *, progress: Progress, **options: Any) -> Self:
        """Return the retriever of an index on disk; the index names the corpus.

        Raises ``SetupError`` if there is no index. The default is for a retriever that keeps none.
        """
        raise UsageError(f"{directory}: {cls.__name__} keeps no index on disk")

    @abstractmethod
    async def search(self, query: str, k: int) -> Sequence[Passage]:
        """Return the ``k`` best passages, each with its ``score``; fewer if the corpus has no more.

        The highest score comes first; of equal scores, the smaller id.
        """

    @abstractmethod
    async def get(self, ids: Sequence[str]) -> Sequence[Passage]:
        """Return whole documents by id, in the order of ``ids``. Raises ``evalkit.errors.CorpusError``."""

    async def unknown(self, documents: Sequence[str]) -> list[str] | None:
        """Return the ids of ``documents`` that the corpus does not have; None if that cannot be told."""
        return None

    async def prepare(self) -> None:
        """Build or load the index now."""
        return

    async def verify(self) -> list[Check] | None:
        """Check the index on disk; None if there is nothing to check. Raises ``SetupError``."""
        return None

    async def close(self) -> None:
        """Release memory, threads and files. Called once, at the end of the command."""
        return


# --- Judges ------------------------------------------------------------------------------------------------

Relation = Literal["entails", "contradicts", "neutral"]


class Judge(Described, ABC):
    """Compares sentences with passages. ``name`` names the judge."""

    name: str

    @abstractmethod
    async def relation(self, passages: Sequence[Passage], sentence: str, sample: Sample) -> Relation:
        """Return whether the passages, taken together, support the sentence.

        Raises ``JudgeError`` if the judge's reply is no verdict, ``ModelError`` if there is no reply.
        """

    @abstractmethod
    async def claims(self, text: str, sample: Sample) -> list[str]:
        """Return the single claims that a text makes, in order. Raises as ``relation`` does."""


def described(value: object) -> dict[str, Any]:
    """Return what provenance records of a fixture's value; empty if the value is not ``Described``."""
    return msgspec.to_builtins(value.describe()) if isinstance(value, Described) else {}

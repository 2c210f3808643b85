"""Retrieval alone, measured: a retriever, or a TREC run made elsewhere, on a benchmark with judgements.

It is a run in the score store like any other, with the retriever in the place of the model: one sample is one
query, its answer the ranking. What the judgements and the corpus do not agree on is counted and kept with
the run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from evalkit.collection.items import Item
from evalkit.collection.sources import TaskSource
from evalkit.collection.targets import one_item
from evalkit.collection.with_metrics import with_metrics
from evalkit.errors import SetupError, UsageError
from evalkit.metrics.retrieval import ranking_measure, trec_order
from evalkit.protocols import Backend, BackendTraits, ProbeResult, Retriever
from evalkit.retrieval.trec import Benchmark, Qrels, Rankings
from evalkit.store.records import RunSpec
from evalkit.task import Info, Task
from evalkit.types import (
    Answer,
    Passage,
    Request,
    Requirements,
    Response,
    Sample,
    ServerInfo,
    Status,
)

PREFIX = "retrieval/"
SHOWN = 10  # passages that are stored with their texts

Unknown = Literal["error", "miss", "drop"]


class NoModel(Backend):
    """In the place of a model: a retrieval task asks none."""

    traits = BackendTraits(cacheable=False)

    def __init__(self, name: str) -> None:
        self.name = name

    async def send(self, request: Request) -> Response:
        """Nobody is there to answer. Raises ``SetupError``."""
        raise SetupError("a retrieval benchmark asks no model")

    async def probe(self, needs: Requirements) -> ProbeResult:
        """Ask nobody: a retriever is ready when it was made."""
        return ProbeResult(self.name, ServerInfo({"provider": "retriever", "model": self.name}), self.traits)


def default_measures(k: int) -> list[str]:
    """What is measured where nothing else is asked for, of rankings ``k`` deep."""
    deep = [f"R@{depth}" for depth in (10, 100, 1000) if depth < k]
    return [f"nDCG@{min(k, 10)}", f"AP@{k}", f"RR@{min(k, 10)}", *deep, f"R@{k}", f"P@{min(k, 10)}"]


def searching(
    bench: Benchmark, retriever: Retriever, measures: Sequence[str], *, k: int, kept: Rankings
) -> Item:
    """A retriever on a benchmark, ``k`` documents a query. Scores by query and document go to ``kept``.

    Raises ``UsageError`` for judged queries without a text.
    """
    texts = bench.queries or {}
    if silent := [query for query in bench.qrels if query not in texts]:
        raise UsageError(
            f"{bench.qrels_file}: {len(silent):,} of {len(bench.qrels):,} judged queries have no text, such "
            f"as {silent[0]!r}: give the file of queries that belongs to it by --queries FILE"
        )

    async def search(sample: Sample, model: Any, retriever: Retriever) -> Answer:
        passages, scores = await best_documents(retriever, sample.input, k)
        kept[sample.id] = scores
        return ranked(scores, passages[:SHOWN])

    return one_item(_task(bench, search, measures, {"depth": k}), values={"retriever": retriever})


def replaying(bench: Benchmark, rankings: Rankings, measures: Sequence[str], **facts: Any) -> Item:
    """A run made elsewhere. A judged query that it lacks scores 0, as with trec_eval's ``-c``.

    Raises ``UsageError`` where it has none of the benchmark's queries.
    """
    missing = [query for query in bench.qrels if query not in rankings]
    strange = [query for query in rankings if query not in bench.qrels]
    if len(missing) == len(bench.qrels):
        raise UsageError(
            f"the run has none of the {len(bench.qrels):,} judged queries; its queries are such as "
            f"{next(iter(rankings))!r}, the judgements' such as {missing[0]!r}"
        )

    async def replay(sample: Sample, model: Any) -> Answer:
        return ranked(rankings.get(sample.id, {}))

    counted = {"queries without a ranking": len(missing), "queries without judgements": len(strange)}
    return one_item(_task(bench, replay, measures, {**facts, **counted}))


class RetrievalSource(TaskSource):
    """Runs of ``evalkit retrieve``: their samples are in the store, not in a file."""

    def find(self, target: str, include_path: Path | None) -> list[Task]:
        """Raises ``UsageError``: a retriever is measured by a command of its own."""
        raise UsageError(f"{target} is no task to run; measure retrievers with: evalkit retrieve")

    def rebuild(self, spec: RunSpec) -> Item:
        """Return the item of a stored run, to score it again."""
        measures = tuple(map(ranking_measure, spec.provenance["benchmark"]["measures"]))
        task = Task(spec.task_name, _not_again, (), measures, where=spec.path)
        return one_item(with_metrics(task, spec.reproduction.metrics))


async def _not_again(sample: Sample, model: Any) -> Answer:
    raise SetupError("a retrieval run is made by evalkit retrieve")


async def best_documents(
    retriever: Retriever, query: str, k: int
) -> tuple[Sequence[Passage], dict[str, float]]:
    """Passages that belong to the ``k`` best documents, and the documents' scores: their best passages'."""
    wanted = k
    while True:
        passages = await retriever.search(query, wanted)
        scores: dict[str, float] = {}
        for passage in passages:
            scores.setdefault(passage.document, passage.score)
        if len(scores) >= k or len(passages) < wanted:
            return passages, dict(list(scores.items())[:k])
        wanted *= 2  # several passages of one document: look further down


def ranked(scores: Mapping[str, float], passages: Sequence[Passage] | None = None) -> Answer:
    """An answer that is a ranking: by score, ties as trec_eval breaks them. Of the passages' metadata plain
    values are kept, not what may be as long as the text."""
    shown = None if passages is None else tuple(map(_light, passages))
    return Answer(passages=shown, ranking=tuple(trec_order(scores)), status=Status.OK)


def _light(passage: Passage) -> Passage:
    plain = {name: value for name, value in passage.metadata.items() if not isinstance(value, list | dict)}
    return msgspec.structs.replace(passage, metadata=plain)


async def settled(bench: Benchmark, retriever: Retriever, unknown: Unknown) -> tuple[Benchmark, int | None]:
    """The benchmark with its relevant documents that the corpus lacks dealt with, and how many these are.
    None where the retriever, a plug-in's, cannot say.

    ``error`` raises ``UsageError`` for any, ``miss`` leaves them in, as documents that nobody can find,
    ``drop`` leaves them out, and queries that have no other with them.
    """
    relevant = {name for grades in bench.qrels.values() for name, grade in grades.items() if grade > 0}
    if (missing := await retriever.unknown(sorted(relevant))) is None:
        return bench, None
    lacking = set(missing)
    if not lacking or unknown == "miss":
        return bench, len(lacking)
    if unknown == "error":
        raise UsageError(
            f"{bench.qrels_file}: {len(lacking):,} of {len(relevant):,} relevant documents are not in the "
            f"corpus, such as {min(lacking)!r}. Is it the right corpus (--corpus)? If so, --unknown miss "
            "counts them as documents that are never found, and --unknown drop leaves them out"
        )
    left: Qrels = {}
    for query, grades in bench.qrels.items():
        known = {name: grade for name, grade in grades.items() if name not in lacking}
        if any(grade > 0 for grade in known.values()):
            left[query] = known
    return msgspec.structs.replace(bench, qrels=left), len(lacking)


def _task(bench: Benchmark, fn: Any, measures: Sequence[str], facts: Mapping[str, Any]) -> Task:
    texts = bench.queries or {}
    samples = [
        Sample(query, texts.get(query, query), relevance=grades) for query, grades in bench.qrels.items()
    ]
    metrics = tuple(map(ranking_measure, dict.fromkeys(measures)))
    described = {
        "corpus": str(bench.corpus.resolve()),
        "qrels": str(bench.qrels_file.resolve()),
        "qrels_sha256": hashlib.sha256(bench.qrels_file.read_bytes()).hexdigest(),
        "queries": len(samples),
        "measures": [metric.name for metric in metrics],
        **facts,
    }
    return Task(
        name=PREFIX + bench.name,
        fn=fn,
        samples=samples,
        metrics=metrics,
        tags=("retrieval",),
        info=Info(str(bench.corpus)),
        where=str(bench.corpus),
        facts={"benchmark": described},
    )

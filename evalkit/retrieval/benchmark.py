"""Evaluation of retrieval alone: a retriever, or a TREC run made elsewhere, on a benchmark with judgements.

The result is a run in the score store, with the retriever in the place of the model: a sample is a query, and
its answer is the ranking. The number of judged documents and queries that corpus, judgements and run do not
share is recorded with the run.
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
SHOWN = 10  # the number of passages per query that are stored with their texts

Unknown = Literal["error", "miss", "drop"]
SameId = Literal["drop", "keep"]


class NoModel(Backend):
    """A placeholder for the model: a retrieval task asks no model."""

    traits = BackendTraits(cacheable=False)

    def __init__(self, name: str) -> None:
        self.name = name

    async def send(self, request: Request) -> Response:
        """Raise ``SetupError``: there is no model."""
        raise SetupError("a retrieval benchmark asks no model")

    async def probe(self, needs: Requirements) -> ProbeResult:
        """Return the result for a retriever, which needs no probe."""
        return ProbeResult(self.name, ServerInfo({"provider": "retriever", "model": self.name}), self.traits)


def default_measures(k: int) -> list[str]:
    """Return the names of the default measures of rankings of ``k`` documents."""
    recalls = [f"R@{depth}" for depth in (10, 100, 1000) if depth < k]
    return [f"nDCG@{min(k, 10)}", f"AP@{k}", f"RR@{min(k, 10)}", *recalls, f"R@{k}", f"P@{min(k, 10)}"]


def without_itself(
    bench: Benchmark, query: str, scores: dict[str, float], same_id: SameId
) -> dict[str, float]:
    """Return a ranking without the document that has the query's own id.

    BEIR leaves that document out (``ignore_identical_ids``): in ArguAna and Quora the queries are documents.
    A document that is judged relevant for the query stays: there the ids agree for another reason.
    """
    if same_id == "keep" or query not in scores or bench.qrels.get(query, {}).get(query, 0) > 0:
        return scores
    return {document: score for document, score in scores.items() if document != query}


def searching(
    bench: Benchmark,
    retriever: Retriever,
    measures: Sequence[str],
    *,
    k: int,
    kept: Rankings,
    same_id: SameId = "keep",
) -> Item:
    """Return the item of a retriever on a benchmark, ``k`` documents per query.

    The scores by query and document are written to ``kept``. ``same_id`` is for ``without_itself``. Raises
    ``UsageError`` for judged queries without a text.
    """
    texts = bench.queries or {}
    if missing := [query for query in bench.qrels if query not in texts]:
        raise UsageError(
            f"{bench.qrels_file}: {len(missing):,} of {len(bench.qrels):,} judged queries have no text, such "
            f"as {missing[0]!r}: give the file with their texts by --queries FILE"
        )

    async def search(sample: Sample, model: Any, retriever: Retriever) -> Answer:
        passages, found = await best_documents(retriever, sample.input, k + (same_id == "drop"))
        scores = dict(list(without_itself(bench, sample.id, found, same_id).items())[:k])
        kept[sample.id] = scores
        return ranked(scores, [passage for passage in passages if passage.document in scores][:SHOWN])

    facts = {"depth": k, "document with the query's id": same_id}
    return one_item(_task(bench, search, measures, facts), values={"retriever": retriever})


def replaying(
    bench: Benchmark,
    rankings: Rankings,
    measures: Sequence[str],
    *,
    same_id: SameId = "keep",
    **facts: Any,
) -> Item:
    """Return the item of a run made elsewhere. ``same_id`` is for ``without_itself``.

    A judged query without a ranking scores 0, as with trec_eval's ``-c``. Raises ``UsageError`` where the run
    has none of the benchmark's queries.
    """
    missing = [query for query in bench.qrels if query not in rankings]
    unjudged = [query for query in rankings if query not in bench.qrels]
    if len(missing) == len(bench.qrels):
        raise UsageError(
            f"the run has none of the {len(bench.qrels):,} judged queries; its queries are such as "
            f"{next(iter(rankings))!r}, the judgements' such as {missing[0]!r}"
        )

    async def replay(sample: Sample, model: Any) -> Answer:
        return ranked(without_itself(bench, sample.id, rankings.get(sample.id, {}), same_id))

    counted = {"queries without a ranking": len(missing), "queries without judgements": len(unjudged)}
    facts["document with the query's id"] = same_id
    return one_item(_task(bench, replay, measures, {**facts, **counted}))


class RetrievalSource(TaskSource):
    """Runs of ``evalkit retrieve``: their samples are in the store, not in a file."""

    def find(self, target: str, include_path: Path | None) -> list[Task]:
        """Raise ``UsageError``: another command measures retrievers."""
        raise UsageError(f"{target} cannot be run as a task; measure retrievers with: evalkit retrieve")

    def rebuild(self, spec: RunSpec) -> Item:
        """Return the item of a stored run, to score it again."""
        measures = tuple(map(ranking_measure, spec.provenance["benchmark"]["measures"]))
        task = Task(spec.task_name, _not_again, (), measures, where=spec.path)
        return one_item(with_metrics(task, spec.reproduction.metrics))


async def _not_again(sample: Sample, model: Any) -> Answer:
    raise SetupError("a retrieval run cannot be answered again: use evalkit retrieve")


async def best_documents(
    retriever: Retriever, query: str, k: int
) -> tuple[Sequence[Passage], dict[str, float]]:
    """Return passages of the ``k`` best documents, and each document's score: that of its best passage."""
    depth = k
    while True:
        passages = await retriever.search(query, depth)
        scores: dict[str, float] = {}
        for passage in passages:
            scores.setdefault(passage.document, passage.score)
        if len(scores) >= k or len(passages) < depth:
            return passages, dict(list(scores.items())[:k])
        depth *= 2  # several passages belong to one document: search deeper


def ranked(scores: Mapping[str, float], passages: Sequence[Passage] | None = None) -> Answer:
    """Return an answer that is a ranking: by score, ties in trec_eval's order.

    Lists and dicts are left out of the passages' metadata, because they may be as long as the text.
    """
    kept = None if passages is None else tuple(map(_with_plain_metadata, passages))
    return Answer(passages=kept, ranking=tuple(trec_order(scores)), status=Status.OK)


def _with_plain_metadata(passage: Passage) -> Passage:
    plain = {name: value for name, value in passage.metadata.items() if not isinstance(value, list | dict)}
    return msgspec.structs.replace(passage, metadata=plain)


async def settled(bench: Benchmark, retriever: Retriever, unknown: Unknown) -> tuple[Benchmark, int | None]:
    """Return the benchmark after the rule for relevant documents that the corpus lacks, and their number.

    The number is None where the retriever does not know its documents. Rules: ``error`` raises
    ``UsageError`` for such a document; ``miss`` keeps them, as documents that cannot be found; ``drop``
    removes them, and the queries that have no other relevant document.
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
    qrels: Qrels = {}
    for query, grades in bench.qrels.items():
        present = {name: grade for name, grade in grades.items() if name not in lacking}
        if any(grade > 0 for grade in present.values()):
            qrels[query] = present
    return msgspec.structs.replace(bench, qrels=qrels), len(lacking)


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

"""A store with invented runs of one RAG task, whose every sample is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from evalkit.stats import estimate
from evalkit.store import open_store
from evalkit.store.records import MetricInfo, Reproduction, RunSpec, SampleRecord
from evalkit.store.store import Store
from evalkit.types import Answer, Passage, Response, Sample, Score, Status

METRICS = (
    MetricInfo("f1"),
    MetricInfo("citation_recall"),
    MetricInfo("mrr", kind="retrieval"),
    MetricInfo("abstained", kind="fact", higher_is_better=None),
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "evalkit.db") as opened:
        yield opened


@pytest.fixture
def add_run(store: Store) -> Callable[..., str]:
    """Add a run: by sample id its scores, the documents shown (None: none by design), and their ranking."""

    def add(arm: str, samples: Mapping[str, tuple[dict[str, float], Any, Any]], **options: Any) -> str:
        params = {"arm": arm, "k": options.get("k", 2), "position": options.get("position")}
        if "search" in options:
            params["search"] = options["search"]
        run_id = "-".join(str(value) for value in params.values() if value is not None)
        metrics = options.get("metrics", METRICS)
        store.runs.begin(
            RunSpec(
                id=run_id,
                task=f"rag[arm={arm}]",
                path="task_rag.py",
                model=options.get("model", "m"),
                model_spec=options.get("model", "m"),
                params=params,
                metrics=metrics,
                dataset=options.get("dataset", "d"),
                n_expected=len(samples),
                reproduction=Reproduction(parameters=options.get("parameters", {})),
            )
        )
        store.samples.write(
            run_id, [_record(n, name, *seen) for n, (name, seen) in enumerate(samples.items())]
        )
        means = {
            info.name: estimate(values, low=0, high=1)
            for info in metrics
            if (values := [s[info.name] for s, _, _ in samples.values() if info.name in s])
        }
        store.runs.finish(run_id, options.get("status", "complete"), means, 1.0)
        return run_id

    return add


def _record(n: int, name: str, scores: dict[str, float], shown: Any, ranking: Any) -> SampleRecord:
    passages = None if shown is None else tuple(Passage(document, "text") for document in shown)
    sample = Sample(name, f"{name}?", relevance={f"{name}-gold": 2, f"{name}-also": 1})
    answer = Answer(Response(text="It is so [1]."), passages=passages, ranking=ranking)
    made = tuple(Score(metric, value) for metric, value in scores.items())
    return SampleRecord(sequence=n, sample=sample, status=Status.OK, answer=answer, scores=made)

"""A store whose runs name files that must not be run: each leaves a marker when Python imports it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from evalkit.store import open_store
from evalkit.store.records import MetricInfo, Reproduction, RunSpec, SampleRecord
from evalkit.types import Answer, Estimate, Passage, Response, Sample, Score, Status

PLANTED = """
from pathlib import Path
Path({marker!r}).touch()

from typing import Literal
from evalkit import Answer, Sample, task
from evalkit.metrics import exact_match

@task([Sample("a", "?", "b")], metrics=[exact_match()])
async def rag(sample, model, arm: Literal["closed_book", "retrieved", "oracle"] = "retrieved") -> Answer:
    return Answer(await model.generate("?"))
"""
YAML = """
task: planted
dataset_path: json
output_type: generate_until
doc_to_text: !function planted.text
doc_to_target: !function planted.text
"""


class Planted(NamedTuple):
    """The store, the marker that no reader may leave, and the ids of the store's runs."""

    store: Path
    marker: Path
    runs: tuple[str, ...]


def plant(folder: Path) -> Planted:
    """Make a store of RAG runs, vision runs and a run of lm-eval, all of tasks whose files leave a marker."""
    marker, trap = folder / "marker", folder / "trap"
    trap.mkdir()
    code = PLANTED.format(marker=str(marker))
    for name in ("task_trap.py", "evalconf.py", "planted.py"):
        (trap / name).write_text(code)
    (trap / "planted.yaml").write_text(YAML)
    file, store = trap / "task_trap.py", folder / "evalkit.db"
    arms = [("rag", {"arm": arm, "k": 2}) for arm in ("closed_book", "retrieved", "oracle")]
    arms += [("scans", {"image": arm}) for arm in ("real", "blank")]
    arms += [("lm_eval/planted", {"include_path": str(trap)})]
    runs = []
    with open_store(store) as opened:
        for task, params in arms:
            runs.append(f"{task.replace('/', '-')}-{next(iter(params.values()))}"[:24])
            metrics = (MetricInfo("f1"), MetricInfo("mrr", kind="retrieval"))
            opened.runs.begin(
                RunSpec(
                    id=runs[-1],
                    task=task,
                    path=str(file),
                    model="m",
                    model_spec="baseline:gold",
                    params=params,
                    metrics=metrics,
                    n_expected=4,
                    dataset="d",
                    reproduction=Reproduction(path=str(file), params=params),
                )
            )
            opened.samples.write(runs[-1], [_record(n) for n in range(4)])
            half = Estimate(0.5, 0.3, (0.0, 1.0), 4)
            opened.runs.finish(runs[-1], "complete", {"f1": half, "mrr": half}, 1.0)
    return Planted(store, marker, tuple(runs))


def _record(n: int) -> SampleRecord:
    answer = Answer(Response(text="It is so [1]."), passages=(Passage("gold", "text"),))
    scores = (Score("f1", float(n % 2)), Score("mrr", 1.0))
    sample = Sample(f"s{n}", "?", "yes", relevance={"gold": 1})
    return SampleRecord(sequence=n, sample=sample, status=Status.OK, answer=answer, scores=scores)

"""Result files of lm-eval as runs in the store: ``results_*.json`` and ``samples_*.jsonl`` beside them."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from evalkit.data.bounded import lines as read_lines
from evalkit.data.bounded import read_whole
from evalkit.errors import StoreError, UsageError
from evalkit.lm_eval import PREFIX
from evalkit.lm_eval.metrics import range_of, without_credit
from evalkit.reading.reasoning import Marks, is_unfinished, split_reasoning, template_mark
from evalkit.stats import estimate
from evalkit.store.records import MetricInfo, Reproduction, Run, RunSpec, SampleRecord
from evalkit.store.store import Store
from evalkit.types import Answer, Estimate, Response, Sample, Score, Status

_Z95 = 1.959963984540054
_BATCH = 100
# Keys in an entry of ``results`` that are not scores.
_OTHER = frozenset({"name", "alias", "sample_len", "sample_count"})


def import_results(where: Path, store: Store, marks: Marks | None = None) -> tuple[list[Run], list[str]]:
    """Import every task of every result file under ``where`` into the store.

    ``marks`` open and close reasoning in the replies, besides those that evalkit knows. Returns the new runs,
    and the ids of the runs that the store already held. Raises ``UsageError`` for a folder without results,
    or a broken file.
    """
    if not where.exists():
        raise UsageError(f"{where}: no such file or folder")
    files = [where] if where.is_file() else sorted(where.rglob("results_*.json"))
    if not files:
        raise UsageError(f"{where}: no results_*.json here; lm-eval writes it with --output_path")
    imported: list[Run] = []
    present: list[str] = []
    for path in files:
        document = _read(path)
        for task in document["results"]:
            spec = _spec(document, task, path, marks)
            file = _samples_file(path, task)
            samples = (
                list(_records(file, marks)) if file else []
            )  # read first: a broken line must leave no run
            try:
                store.runs.begin(spec)
            except StoreError:
                present.append(spec.id)
                continue
            imported.append(_fill(store, spec, document, task, samples))
    return imported, present


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(read_whole(path))
    except (ValueError, RecursionError) as problem:
        raise UsageError(f"{path}: {problem}") from None
    if not isinstance(document, dict) or not isinstance(document.get("results"), dict):
        raise UsageError(f"{path}: not a result file of lm-eval: the key 'results' is missing")
    return document


def _samples_file(path: Path, task: str) -> Path | None:
    """Return the samples file of a result file: the one whose name ends with the same date."""
    moment = path.stem.removeprefix("results_")
    file = path.parent / f"samples_{task}_{moment}.jsonl"
    return file if file.parent == path.parent and file.is_file() else None


def _spec(document: Mapping[str, Any], task: str, path: Path, marks: Marks | None) -> RunSpec:
    config = document.get("config") or {}
    model = document.get("model_name") or config.get("model_name") or "unknown"
    source = document.get("model_source") or config.get("model") or "lm-eval"
    n = _count(document, task)
    content = hashlib.sha256(path.read_bytes() + task.encode()).hexdigest()
    return RunSpec(
        id=f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(_date(document)))}-{content[:6]}",
        task=PREFIX + task,
        path=path.name,
        model=str(model) if ":" in str(model) else f"{source}:{model}",
        model_spec=str(config.get("model_args") or ""),
        tags=("lm_eval", "imported"),
        metrics=tuple(_infos(document, task)),
        n_expected=n,
        dataset=str((document.get("task_hashes") or {}).get(task, "")),
        reproduction=Reproduction(given=True),
        provenance={
            "imported_from": path.name,
            "lm_eval": {
                "version": document.get("lm_eval_version"),
                "configs": {task: (document.get("configs") or {}).get(task)},
                "versions": {task: (document.get("versions") or {}).get(task)},
                "n-shot": {task: (document.get("n-shot") or {}).get(task)},
                "n-original": {task: _original(document, task, n)},
                "groups": _members(document, task),
            },
            "config": config,
            **({"reasoning_marks": marks} if marks else {}),
            **{key: document[key] for key in ("git_hash", "date", "chat_template_sha") if key in document},
        },
    )


def _date(document: Mapping[str, Any]) -> float:
    date = document.get("date")
    return float(date) if isinstance(date, int | float) else 0.0


def _count(document: Mapping[str, Any], task: str) -> int:
    counted = (document.get("n-samples") or {}).get(task) or {}
    return int(counted.get("effective") or document["results"][task].get("sample_len") or 0)


def _original(document: Mapping[str, Any], task: str, n: int) -> int:
    return int(((document.get("n-samples") or {}).get(task) or {}).get("original") or n)


def _members(document: Mapping[str, Any], task: str) -> dict[str, list[str]]:
    members = (document.get("group_subtasks") or {}).get(task)
    return {task: list(members)} if members else {}


def _infos(document: Mapping[str, Any], task: str) -> Iterator[MetricInfo]:
    better = (document.get("higher_is_better") or {}).get(task) or {}
    for name in _scores(document["results"][task]):
        base = name.partition(",")[0]
        yield MetricInfo(name, *range_of(base), better.get(base), help="imported from lm-eval")


def _scores(values: Mapping[str, Any]) -> list[str]:
    """Return the names of an entry's scores, ``metric,filter``."""
    named = (key for key, value in values.items() if key not in _OTHER and isinstance(value, int | float))
    return [key for key in named if not key.partition(",")[0].endswith("_stderr")]


def _fill(
    store: Store, spec: RunSpec, document: Mapping[str, Any], task: str, samples: list[_Imported]
) -> Run:
    records = [sample.record for sample in samples]
    given: dict[str, list[float]] = {}
    values: dict[str, list[float]] = {}
    for sample in samples:
        for theirs, ours in zip(sample.given, sample.record.scores, strict=True):
            given.setdefault(theirs.metric, []).append(theirs.value or 0.0)
            values.setdefault(ours.metric, []).append(ours.value or 0.0)
    for start in range(0, len(records), _BATCH):
        store.samples.write(spec.id, records[start : start + _BATCH])
    if cut_off := sum(record.status is not Status.OK for record in records):
        store.runs.add_provenance(spec.id, notes={_CUT_OFF: cut_off})
    entry = document["results"][task]
    metrics = {
        n: _estimate(entry, n, given.get(n, []), values.get(n, []), spec.n_expected or 0)
        for n in _scores(entry)
    }
    seconds = document.get("total_evaluation_time_seconds")
    store.runs.finish(spec.id, "complete", metrics, float(seconds) if seconds else 0.0)
    return store.runs.get(spec.id)


_CUT_OFF = "ended inside their reasoning: no credit, where lm-eval may have given some"


def _estimate(
    entry: Mapping[str, Any], name: str, given: list[float], values: list[float], n: int
) -> Estimate:
    """Return the file's value and error, with an interval from the samples where the value is their mean.

    ``given`` are the file's scores of the samples, ``values`` ours. Where these differ, their mean counts.
    """
    base, _, ensemble = name.partition(",")
    value, error = float(entry[name]), entry.get(f"{base}_stderr,{ensemble}")
    se = float(error) if isinstance(error, int | float) else math.inf
    low, high = range_of(base)
    if given and math.isclose(sum(given) / len(given), value, rel_tol=1e-9, abs_tol=1e-12):
        mean = estimate(values, low=low, high=high)
        if given != values:
            return mean
        return msgspec.structs.replace(mean, value=value, se=se if math.isfinite(se) else mean.se)
    if math.isfinite(se):
        ci = max(value - _Z95 * se, low), min(value + _Z95 * se, math.inf if high is None else high)
        return Estimate(value, se, ci, n, "normal")
    return Estimate(value, se, (low, math.inf if high is None else high), n, "undetermined")


class _Imported(NamedTuple):
    """A sample, and the scores that the file gives it: a reply without an answer keeps no credit."""

    record: SampleRecord
    given: tuple[Score, ...]


def _records(file: Path, marks: Marks | None) -> Iterator[_Imported]:
    """Yield the samples in the order of the file; the lines of a sample, one per filter, are one record."""
    lines: dict[Any, list[dict[str, Any]]] = {}
    for number, _, text in read_lines(file):
        try:
            line = json.loads(text)
            lines.setdefault(line["doc_id"], []).append(line)
        except (ValueError, KeyError, TypeError, RecursionError) as problem:
            raise UsageError(f"{file}:{number}: not a sample of lm-eval: {problem!r}") from None
    replies = [_first_text(document_lines[0].get("resps") or []) for document_lines in lines.values()]
    opened_by = template_mark(replies, marks)
    for sequence, (reply, (doc_id, document_lines)) in enumerate(zip(replies, lines.items(), strict=True)):
        unfinished = bool(opened_by) and is_unfinished(reply, opened_by, marks)
        parts = (reply, "") if unfinished else split_reasoning(reply, marks)
        yield _record(sequence, str(doc_id), document_lines, *parts)


def _record(sequence: int, doc_id: str, lines: list[dict[str, Any]], reasoning: str, text: str) -> _Imported:
    first = lines[0]
    requests = [list(argument.values()) for argument in (first.get("arguments") or {}).values()]
    resps = first.get("resps") or []
    cut_off = not text and bool(reasoning)
    kept = ("doc_hash", "prompt_hash", "target_hash")
    hashes: dict[str, Any] = {key: first[key] for key in kept if key in first}
    sample = Sample(
        id=doc_id,
        input=str(requests[0][0]) if requests and requests[0] else "",
        target=str(first.get("target", "")),
        metadata={"doc_id": first["doc_id"], "doc": first.get("doc"), "arguments": requests, **hashes},
    )
    filtered = {line.get("filter", "none"): line.get("filtered_resps") for line in lines}
    response = Response(text=text, reasoning=reasoning) if text != _first_text(resps) else None
    status = Status.EMPTY if cut_off else Status.OK
    facts = {"resps": resps, "filtered_resps": filtered}
    answer = Answer(response, text, status=status, metadata=facts)
    given = tuple(score for line in lines for score in _line_scores(line))
    scores = tuple(_without_credit(score) for score in given) if cut_off else given
    record = SampleRecord(sequence=sequence, sample=sample, status=status, answer=answer, scores=scores)
    return _Imported(record, given)


def _without_credit(score: Score) -> Score:
    value = without_credit(score.metric.partition(",")[0], score.value or 0.0)
    return Score(score.metric, value)


def _first_text(resps: Any) -> str:
    while isinstance(resps, list) and resps:
        resps = resps[0]
    return resps if isinstance(resps, str) else ""


def _line_scores(line: Mapping[str, Any]) -> Iterator[Score]:
    """Yield the numeric scores of one line. Other values need lm-eval's aggregation and are left out."""
    for base in line.get("metrics") or []:
        value = line.get(base)
        if isinstance(value, int | float) and math.isfinite(value):
            yield Score(f"{base},{line.get('filter', 'none')}", float(value))

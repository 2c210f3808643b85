"""Runs as result files of lm-eval, for lm-eval's own tables, readers and uploads."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from evalkit.errors import UsageError
from evalkit.lm_eval import PREFIX
from evalkit.store.records import Run, SampleRecord
from evalkit.store.store import Store
from evalkit.util.version import VERSION

Filtered = Callable[[SampleRecord], Mapping[str, Any]]

_UNSAFE = re.compile(r"[\"<>:/|\\?*\[\]]+")  # in the names of models, by lm-eval's rule
_SAFE = re.compile(r"[^\w.-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_LONE = "backslashreplace"  # half an emoji becomes its JSON escape
_LONGEST = 150  # bytes of a name, so that a file's name with task and date stays below 255


def export_run(run: Run, store: Store, out: Path, include_path: Path | None = None) -> list[Path]:
    """Write ``MODEL/results_DATE.json`` and ``MODEL/samples_TASK_DATE.jsonl`` for each task of a run.

    ``include_path`` is the folder of YAML files whose filters may be run, where the run is of a task in one.
    Returns the files, all of them inside ``out`` whatever the names of model and tasks are. Raises
    ``UsageError`` where they cannot be written.
    """
    moment = _moment(run)
    folder = out / _file_name(_UNSAFE.sub("__", run.spec.model))
    parts = _parts(run)
    files: dict[str, Path] = {}
    for name in parts:
        safe = _file_name(_SAFE.sub("_", name))
        file = folder / f"samples_{safe}_{moment}.jsonl"
        files[name] = (
            file if file not in files.values() else file.with_stem(f"samples_{safe}-{len(files)}_{moment}")
        )
    results = folder / f"results_{moment}.json"
    filtered = _filters(run, include_path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _check_inside(out, (results, *files.values()))
        hashes = _write_samples(run, store, parts, files, filtered)
        text = json.dumps(_document(run, parts, hashes), indent=2, ensure_ascii=False)
        results.write_text(text, encoding="utf-8", errors=_LONE)
    except OSError as problem:
        raise UsageError(f"{out}: {problem.strerror}") from None
    return [results, *files.values()]


def _moment(run: Run) -> str:
    try:
        moment = datetime.fromtimestamp(run.started, UTC)
    except (ValueError, OverflowError, OSError):
        raise UsageError(f"run {run.id}: its start, {run.started!r}, is no date") from None
    return moment.replace(tzinfo=None).isoformat().replace(":", "-")


def _file_name(name: str) -> str:
    """Return a name that stays in its folder: not ``..``, without control characters, not too long."""
    safe = _CONTROL.sub("_", name).encode("utf-8", "replace")
    if len(safe) > _LONGEST:
        safe = safe[:_LONGEST] + b"-" + hashlib.sha256(safe).hexdigest()[:8].encode()
    text = safe.decode("utf-8", "ignore")
    return text if text.strip(". ") else text.replace(".", "_") or "_"


def _check_inside(out: Path, paths: Iterable[Path]) -> None:
    """Raise ``UsageError`` for a link in ``out`` that leads out of it."""
    for path in paths:
        if not path.resolve().is_relative_to(out.resolve()):
            raise UsageError(f"{path} is a link to {path.resolve()}, outside {out}: choose another --out")


def _write_samples(
    run: Run,
    store: Store,
    parts: Mapping[str, Mapping[str, str]],
    files: Mapping[str, Path],
    filtered: Filtered,
) -> dict[str, str]:
    """Write each task's samples; the hash of its documents, prompts and targets, as lm-eval makes it."""
    hashes: dict[str, list[str]] = {name: [] for name in parts}
    ensembles = dict.fromkeys(key.rpartition(",")[2] for metrics in parts.values() for key in metrics)
    with ExitStack() as stack:
        streams = {
            n: stack.enter_context(f.open("w", encoding="utf-8", errors=_LONE)) for n, f in files.items()
        }
        for ensemble in ensembles:  # one filter after the other, as lm-eval does
            for record in store.samples.records(run.id):
                named = str(record.sample.metadata.get("task"))
                name = named if named in parts else next(iter(parts))
                here = {k.rpartition(",")[0]: m for k, m in parts[name].items() if k.endswith(f",{ensemble}")}
                if here:
                    line = _line(record, ensemble, here, filtered(record).get(ensemble))
                    hashes[name].append(line["doc_hash"] + line["prompt_hash"] + line["target_hash"])
                    streams[name].write(json.dumps(line, ensure_ascii=False) + "\n")
    return {name: _hash("".join(listed)) for name, listed in hashes.items()}


def _filters(run: Run, include_path: Path | None) -> Filtered:
    """Responses after filtering, by filter: as they were imported, or by lm-eval's filters once more.

    Filters of a user's folder are code. A folder that only the stored run names is not trusted.
    """
    if not run.spec.task.startswith(PREFIX) or "imported_from" in run.spec.provenance:
        return lambda record: (record.answer.metadata if record.answer else {}).get("filtered_resps") or {}
    from evalkit.lm_eval.tasks import filters_of

    folder = run.spec.reproduction.params.get("include_path")
    if folder and include_path is None:
        raise UsageError(
            f"run {run.id}: the filters of its task are files of {folder}, which an export would run. "
            f"If you trust them: evalkit export {run.id} --include-path {folder}"
        )
    apply = filters_of(run.spec.task_name, include_path)
    return lambda record: apply(record.sample, record.answer) if record.answer else {}


def _parts(run: Run) -> dict[str, dict[str, str]]:
    """Return the tasks of a run that have samples, each with its metrics: lm-eval's name to the run's name.

    Names are ``metric,filter``; a metric of a task that is not lm-eval's gets the filter ``none``. In a
    group, the members' metrics are called ``member/metric,filter``.
    """
    recorded = run.spec.provenance.get("lm_eval") or {}
    name = _task_name(run)
    leaves = [leaf for leaf in recorded.get("configs") or {} if leaf != name] or [name]
    if leaves == [name]:
        return {name: {_keyed(metric): metric for metric in run.metrics}}
    return {
        leaf: {m.removeprefix(f"{leaf}/"): m for m in run.metrics if m.startswith(f"{leaf}/")}
        for leaf in leaves
    }


def _task_name(run: Run) -> str:
    return run.spec.task_name.removeprefix(PREFIX)


def _keyed(metric: str) -> str:
    return metric if "," in metric else f"{metric},none"


def _document(run: Run, parts: dict[str, dict[str, str]], hashes: dict[str, str]) -> dict[str, Any]:
    recorded = run.spec.provenance.get("lm_eval") or {}
    name = _task_name(run)
    groups = {} if name in parts else _groups(run, parts)
    counts = {leaf: _counted(run, metrics) for leaf, metrics in parts.items()}
    entries = {leaf: _entry(run, leaf, metrics, counts[leaf]) for leaf, metrics in parts.items()}
    shots = recorded.get("n-shot") or {}
    original = recorded.get("n-original") or {}
    return {
        "results": {**groups, **entries},
        **({"groups": groups} if groups else {}),
        "group_subtasks": recorded.get("groups") or ({} if name not in parts else {name: []}),
        "configs": {leaf: (recorded.get("configs") or {}).get(leaf) or {"task": leaf} for leaf in parts},
        "versions": {
            **dict.fromkeys(groups, run.spec.provenance.get("task_version")),
            **{leaf: (recorded.get("versions") or {}).get(leaf) for leaf in parts},
        },
        "n-shot": {leaf: shots.get(leaf) or 0 for leaf in parts},
        "higher_is_better": {n: _directions(run, keys) for n, keys in {**_named(groups), **parts}.items()},
        "n-samples": {
            leaf: {"original": original.get(leaf) or n, "effective": n} for leaf, n in counts.items()
        },
        "config": {
            "model": "evalkit",
            "model_args": {"spec": run.spec.model_spec},
            "batch_sizes": [],
            "limit": run.spec.limit,
            "bootstrap_iters": run.spec.params.get("bootstrap_iters"),
        },
        "evalkit": {
            "version": VERSION,
            "run": run.id,
            "status": run.status,
            "params": _jsonable(run.spec.params),
        },
        "date": run.started,
        "lm_eval_version": recorded.get("version"),
        "task_hashes": hashes,
        "model_source": run.spec.model.partition(":")[0],
        "model_name": run.spec.model,
        "model_name_sanitized": _UNSAFE.sub("__", run.spec.model),
        "total_evaluation_time_seconds": str(run.wall_s),
    }


def _groups(run: Run, parts: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the entries of a group and of the groups inside it: all metrics that belong to no leaf task."""
    metrics_of: dict[str, dict[str, str]] = {}
    for metric in run.metrics:
        head, slash, key = metric.partition("/")
        if not (slash and head in parts):
            group = head if slash else _task_name(run)
            metrics_of.setdefault(group, {})[key if slash else metric] = metric
    return {name: _entry(run, name, metrics, run.n) for name, metrics in metrics_of.items()}


def _named(groups: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    return {name: {key: key for key in entry if "," in key} for name, entry in groups.items()}


def _counted(run: Run, metrics: Mapping[str, str]) -> int:
    return max((run.metrics[m].n for m in metrics.values()), default=run.n)


def _entry(run: Run, name: str, metrics: Mapping[str, str], n: int) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": name, "alias": name, "sample_len": n}
    for key, metric in metrics.items():
        base, _, ensemble = key.rpartition(",")
        estimate = run.metrics[metric]
        entry[key] = estimate.value
        entry[f"{base}_stderr,{ensemble}"] = estimate.se if math.isfinite(estimate.se) else "N/A"
    return entry


def _directions(run: Run, metrics: Mapping[str, str]) -> dict[str, bool | None]:
    infos = {info.name: info.higher_is_better for info in run.spec.metrics}
    return {key.rpartition(",")[0]: infos.get(metric) for key, metric in metrics.items()}


def _line(record: SampleRecord, ensemble: str, metrics: Mapping[str, str], filtered: Any) -> dict[str, Any]:
    """Return a sample as lm-eval logs it under one filter; ``metrics`` maps lm-eval's names to the run's."""
    metadata = record.sample.metadata
    values = {score.metric: score.value for score in record.scores}
    scored = {base: values[metric] for base, metric in metrics.items() if values.get(metric) is not None}
    arguments = _arguments(record)
    resps = (record.answer.metadata if record.answer else {}).get("resps")
    resps = resps or [[record.answer.reply if record.answer else ""]]
    doc = _jsonable(metadata.get("doc") or {"id": record.sample.id, "input": record.sample.input})
    target = str(metadata.get("target", "; ".join(record.sample.targets)))
    return {
        "doc_id": metadata.get("doc_id", record.sequence),
        "doc": doc,
        "target": target,
        "arguments": {
            f"gen_args_{i}": {f"arg_{j}": arg for j, arg in enumerate(args)}
            for i, args in enumerate(arguments)
        },
        "resps": _texts(resps),
        "filtered_resps": _texts(filtered or [draws[0] for draws in resps]),
        "filter": ensemble,
        "metrics": list(scored),
        "doc_hash": metadata.get("doc_hash") or _hash(json.dumps(doc, indent=2, ensure_ascii=False)),
        "prompt_hash": metadata.get("prompt_hash") or _hash(str(arguments[0][0]) if arguments[0] else ""),
        "target_hash": metadata.get("target_hash") or _hash(target),
        "status": record.status.value,
        **scored,
    }


def _arguments(record: SampleRecord) -> list[list[Any]]:
    metadata = record.sample.metadata
    if "requests" in metadata:
        return [[_argument(arg) for arg in request["args"]] for request in metadata["requests"]]
    if metadata.get("arguments"):
        return [list(arguments) for arguments in metadata["arguments"]]
    return [[json.dumps(_jsonable(request), ensure_ascii=False)] for request in record.requests] or [
        [record.sample.input]
    ]


def _argument(arg: Any) -> Any:
    """Return an argument as lm-eval logs it: the messages of a chat as JSON."""
    chat = isinstance(arg, dict) and "messages" in arg
    return json.dumps(arg["messages"], ensure_ascii=False) if chat else arg


def _texts(value: Any) -> Any:
    """Return nested responses as text, as lm-eval writes them, so that a column has one type."""
    return [_texts(entry) for entry in value] if isinstance(value, list | tuple) else str(value)


def _jsonable(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()

"""The conditions of a run: all that its scores depend on besides the model.

``differences`` is the one place that decides whether two runs may be compared as equals. The ranking of the
leaderboard, ``evalkit show``, ``evalkit run``, the RAG report, the image ablation and the pytest gate ask it.
Server, weights, data type and the generation parameters of the model's spec belong to the model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct

from evalkit.requests import canonical
from evalkit.store.records import Run, SampleRecord
from evalkit.store.turns import continued

Kind = Literal[
    "task",
    "samples",
    "repeats",
    "parameter",
    "version",
    "code",
    "prompt",
    "setting",
    "fixture",
    "metric",
    "mixed",
]

# Facts of an index or a judge that say where and when it was made, and not what it is.
_CIRCUMSTANCES = frozenset({"path", "stamp", "versions", "files", "facts", "packages", "format"})

_MOST_REQUESTS = 64  # of one sample, whose prompts are recorded


class Difference(Struct, frozen=True):
    """One difference between two runs, in words that complete "the runs differ in …".

    ``metric`` is the one metric whose values cannot be compared; empty where it concerns all scores.
    """

    kind: Kind
    text: str
    metric: str = ""

    @property
    def of_samples(self) -> bool:
        """Whether it concerns which samples were asked, or how often."""
        return self.kind in ("samples", "repeats")


def differences(first: Run, second: Run, swept: Collection[str] = ()) -> list[Difference]:
    """Return the differences of two runs besides the model; none where they may be compared as equals.

    A fact that one of the runs did not record is no difference. ``swept`` are parameters that a comparison
    varies on purpose: their values are not listed, nor the prompts and settings that follow from them.
    """
    found = [*_tasks(first, second), *_samples(first, second), *_parameters(first, second, swept)]
    found += _code(first, second)
    if all(_value(first, name) == _value(second, name) for name in swept):
        found += _requests(first, second)
    return [*found, *_fixtures(first, second), *_metrics(first, second), *_mixed(first, second)]


def key(run: Run, metric: str) -> bytes:
    """Return a key that is equal for runs whose recorded conditions are all the same, for one metric."""
    facts, spec = run.spec.provenance, run.spec
    fixtures = {name: _fixture(run, name) for name in facts if name.startswith("fixture ")}
    asked = facts.get("asked") or {}
    rule = [(info.version, info.code) for info in spec.metrics if info.name == metric]
    code = facts.get("code_sha256") or facts.get("task_sha256")
    known = [
        run.sample_set,
        facts.get("task_version"),
        code,
        sorted(asked.get("requests", ())),
        fixtures,
        rule,
    ]
    return canonical([*known, sorted((name, repr(value)) for name, value in spec.params.items())])


def listed(found: Collection[Difference]) -> str:
    """Return differences in words: ``the prompt; k (5 and 10)``."""
    return "; ".join(difference.text for difference in found)


def for_metric(found: Collection[Difference], metric: str) -> list[Difference]:
    """Return the differences that concern the values of one metric."""
    return [difference for difference in found if difference.metric in ("", metric)]


def mixed(run: Run) -> str:
    """Return what changed within a run, which ``resume --allow-changed`` continued; empty for other runs."""
    return "; ".join(run.spec.provenance.get("mixed", ()))


def _tasks(first: Run, second: Run) -> Iterator[Difference]:
    names = first.spec.task_name, second.spec.task_name
    if names[0] != names[1]:
        yield Difference("task", f"the task ({names[0]} and {names[1]})")


def _samples(first: Run, second: Run) -> Iterator[Difference]:
    if first.spec.repeats != second.spec.repeats:
        yield Difference("repeats", f"the repeats ({first.spec.repeats} and {second.spec.repeats})")
    asked = [(run.spec.dataset, run.n / max(run.spec.repeats, 1)) for run in (first, second)]
    if asked[0] != asked[1]:
        sizes = [f"{run.n // max(run.spec.repeats, 1):,}" for run in (first, second)]
        counts = " and ".join(sizes) if sizes[0] != sizes[1] else f"{sizes[0]} each, not the same"
        yield Difference("samples", f"the samples ({counts})")


def _parameters(first: Run, second: Run, swept: Collection[str]) -> Iterator[Difference]:
    for name in dict.fromkeys([*_parameter_names(first), *_parameter_names(second)]):
        here, there = _value(first, name), _value(second, name)
        # A path is a location: its content shows in the samples, the index and the prompts.
        if name not in swept and here != there and not (_is_path(here) or _is_path(there)):
            yield Difference("parameter", f"{name} ({_short(here)} and {_short(there)})")
    versions = _both(first, second, "task_version")
    if versions and versions[0] != versions[1]:
        yield Difference("version", f"the task's version ({versions[0]} and {versions[1]})")


def _parameter_names(run: Run) -> Collection[str]:
    return run.spec.reproduction.params or run.spec.params


def _value(run: Run, name: str) -> Any:
    """Return a parameter's value; where the run does not have it, the default that the run recorded."""
    values = run.spec.reproduction.params or run.spec.params
    parameters = run.spec.reproduction.parameters
    return values.get(name, parameters[name].default if name in parameters else None)


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and Path(value).is_absolute()


def _code(first: Run, second: Run) -> Iterator[Difference]:
    if codes := _both(first, second, "code_sha256"):
        if codes[0] != codes[1]:
            yield Difference("code", "the task code")
    elif (files := _both(first, second, "task_sha256")) and files[0] != files[1]:
        yield Difference("code", "the task file")  # which a comment changes too
    readers = [(run.spec.provenance.get("asked") or {}).get("extractor") for run in (first, second)]
    if None not in readers and readers[0] != readers[1]:
        yield Difference("code", f"the extractor of the answer ({readers[0]} and {readers[1]})")


def _requests(first: Run, second: Run) -> Iterator[Difference]:
    """Yield differences of the requests for the same sample: prompts and settings."""
    asked = _both(first, second, "asked")
    if asked is None:
        hashes = _both(first, second, "prompt_sha256")
        defaults = _both(first, second, "generation_defaults")
        same_side = defaults and defaults[0] == defaults[1] and "image" not in first.spec.params
        if hashes and same_side and hashes[0] != hashes[1]:
            yield Difference("prompt", "the prompt, or its settings")
        return
    here, there = asked
    if here["sample"] != there["sample"]:
        return
    shared = here["requests"].keys() & there["requests"].keys()
    if not shared and here["requests"] and there["requests"]:
        yield Difference("prompt", "the prompt")
    for prompt in sorted(shared)[:1]:
        yield from _settings(first, second, here["requests"][prompt], there["requests"][prompt])


def _settings(
    first: Run, second: Run, here: Mapping[str, Any], there: Mapping[str, Any]
) -> Iterator[Difference]:
    """Yield the generation settings that differ, without those that a model's spec gave."""
    given = [_flat(run.spec.provenance.get("generation_defaults", {})) for run in (first, second)]
    for name in dict.fromkeys([*here, *there]):
        values = here.get(name), there.get(name)
        of_model = any(name in spec and spec[name] == v for spec, v in zip(given, values, strict=True))
        if values[0] != values[1] and not of_model:
            both = f"{name} ({_short(values[0])} and {_short(values[1])})"
            yield Difference("setting", "the tools" if name == "tools" else both)


def _flat(defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return generation defaults by the names of ``asked``: what ``extra`` holds as ``extra.NAME``."""
    extra = {f"extra.{name}": value for name, value in (defaults.get("extra") or {}).items()}
    return {**{name: value for name, value in defaults.items() if name != "extra"}, **extra}


def _fixtures(first: Run, second: Run) -> Iterator[Difference]:
    """Yield indexes, judges and other fixtures that differ, and the configuration of lm-eval's tasks."""
    shared = first.spec.provenance.keys() & second.spec.provenance.keys()
    for name in sorted(name for name in shared if name.startswith("fixture ")):
        here, there = (_fixture(run, name) for run in (first, second))
        if here != there:
            parts = ", ".join(sorted(k for k in {*here, *there} if here.get(k) != there.get(k)))
            yield Difference("fixture", f"the {name.removeprefix('fixture ')} ({parts})")
    if suites := _both(first, second, "lm_eval"):
        named = (("versions", "version"), ("n-shot", "number of shots"), ("configs", "configuration"))
        for part, what in named:
            here, there = (suite.get(part) or {} for suite in suites)
            if any(_unlike(here[leaf], there[leaf]) for leaf in here.keys() & there.keys()):
                yield Difference("fixture", f"the {what} of lm-eval's task")


def _fixture(run: Run, name: str) -> Any:
    """Return what a fixture is. A benchmark of retrievers measures them: only their corpus is a condition."""
    facts = _essence(run.spec.provenance[name])
    return {"corpus": facts.get("corpus")} if "benchmark" in run.spec.provenance else facts


def _unlike(here: Any, there: Any) -> bool:
    """Return whether two entries differ; of configurations, in a field that both have (without metadata)."""
    if isinstance(here, Mapping) and isinstance(there, Mapping):
        fields = (here.keys() & there.keys()) - {"metadata"}
        return any(here[name] != there[name] for name in fields)
    return None not in (here, there) and str(here) != str(there)


def _essence(facts: Any) -> Any:
    """Return the facts that say what a thing is, at all depths, without its circumstances."""
    if not isinstance(facts, Mapping):
        return facts
    return {name: _essence(value) for name, value in facts.items() if name not in _CIRCUMSTANCES}


def _metrics(first: Run, second: Run) -> Iterator[Difference]:
    others = {info.name: info for info in second.spec.metrics}
    for info in first.spec.metrics:
        if (other := others.get(info.name)) is None:
            continue
        if info.version != other.version:
            text = f"{info.name}'s rule (version {info.version} and {other.version})"
            yield Difference("metric", text, info.name)
        elif info.code and other.code and info.code != other.code:
            yield Difference("metric", f"{info.name}'s code", info.name)


def _mixed(first: Run, second: Run) -> Iterator[Difference]:
    for run in (first, second):
        if changed := mixed(run):
            yield Difference("mixed", f"what run {run.id} mixes ({changed})")


def _both(first: Run, second: Run, name: str) -> tuple[Any, Any] | None:
    values = first.spec.provenance.get(name), second.spec.provenance.get(name)
    return None if None in values else values


def _short(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:39]}…"


def asked(record: SampleRecord) -> dict[str, Any]:
    """Return what was asked for a sample, for the comparison of runs.

    ``requests`` are the generation settings by the SHA-256 of each prompt. A prompt is the text alone:
    pictures, sounds and films are converted to what the model takes. Of a conversation, only the first
    request counts: the later ones hold what the model itself said. ``extractor`` is the one that read the
    answer, where the task recorded it.
    """
    read = record.answer.metadata if record.answer else {}
    beginnings = [one for n, one in enumerate(record.requests) if continued(record.requests, n) is None]
    requests = {_prompt_sha256(one): _given(one) for one in beginnings[:_MOST_REQUESTS]}
    return {"sample": record.sample.id, "extractor": read.get("extractor"), "requests": requests}


def _prompt_sha256(request: Mapping[str, Any]) -> str:
    messages = [(one["role"], _text(one["content"])) for one in request.get("messages", ())]
    return hashlib.sha256(
        canonical([messages, request.get("prompt"), request.get("continuation")])
    ).hexdigest()


def _text(content: Any) -> Any:
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content if part["type"] == "text")


def _given(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a request; those that go to the server unchanged as ``extra.NAME``."""
    other = ("messages", "prompt", "continuation", "repeat", "extra")
    extra = {f"extra.{name}": value for name, value in request.get("extra", {}).items()}
    return {**{name: value for name, value in request.items() if name not in other}, **extra}

"""lm-eval's scores of stored answers, by lm-eval's filters, metrics, aggregation and standard errors."""

from __future__ import annotations

import contextlib
import io
import math
import os
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from evalkit.errors import MetricError
from evalkit.lm_eval.metrics import HarnessMetric, estimate_of, is_lost, make_metric, per_document
from evalkit.lm_eval.suite import Suite
from evalkit.stats import combined
from evalkit.types import Answer, Estimate, Sample
from evalkit.util.boundary import reason

BOOTSTRAP_ITERS = 1000
Items = dict[tuple[str, str], list[Any]]


def declared(configs: Sequence[Mapping[str, Any]]) -> tuple[HarnessMetric, ...]:
    """Return the metrics that the YAML files name, for a listing, before a task is loaded."""
    from lm_eval.api.registry import DEFAULT_METRIC_REGISTRY

    names: dict[str, str] = {}
    for config in configs:
        listed = config.get("metric_list")
        if listed is None and "class" not in config:
            defaults = DEFAULT_METRIC_REGISTRY[config.get("output_type", "generate_until")]
            listed = [{"metric": name} for name in defaults]
        filters = [f["name"] for f in config.get("filter_list") or [{"name": "none"}]]
        for entry in listed or []:
            base = str(getattr(entry["metric"], "__name__", entry["metric"])).rpartition(".")[2]
            names.update({f"{base},{name}": base for name in filters})
    return tuple(make_metric(name, base, unloaded, None) for name, base in names.items())


@dataclass
class Scores:
    """The scores of one suite's documents."""

    suite: Suite
    _filtered: dict[int, tuple[Answer, list[Any]]] = field(default_factory=dict)
    _scored: tuple[Answer, dict[str, dict[str, Any]]] | None = None

    def prepare(self, answered: Sequence[tuple[Sample, Answer]]) -> None:
        """Filter a batch of answers at once, because some of lm-eval's filters take long to set up."""
        self._filtered = {}
        try:
            for name, of_task in _by_task(answered).items():
                pairs = [(answer, self._instances(sample, answer)) for sample, answer in of_task]
                self._filter(name, [instance for _, instances in pairs for instance in instances])
                self._filtered.update({id(answer): (answer, instances) for answer, instances in pairs})
        except BaseException:  # noqa: BLE001 - plug-in code: scoring each document alone shows the faulty one
            self._filtered = {}

    def filtered(self, sample: Sample, answer: Answer) -> dict[str, list[Any]]:
        """Return one document's responses after each filter, one for each request."""
        name, instances = sample.metadata["task"], self._instances(sample, answer)
        self._filter(name, instances)
        return {
            e.name: [i.filtered_resps[e.name] for i in instances] for e in self.suite.leaves[name]._filters
        }

    def _filter(self, name: str, instances: list[Any]) -> None:
        for ensemble in self.suite.leaves[name]._filters:
            ensemble.apply(instances)

    def metrics(self) -> tuple[HarnessMetric, ...]:
        """Return the metrics of the loaded tasks; for a group, its own metrics first, then its members'."""
        metrics: dict[str, HarnessMetric] = {}
        for group in self.suite.groups.values():
            for key, base, better in self._group_keys(group):
                name = key if group.name == self.suite.name else f"{group.name}/{key}"
                metrics[name] = make_metric(name, base, self._scorer(group, key), better)
        for leaf_name, leaf in self.suite.leaves.items():
            for base, better in self._directions(leaf).items():
                for ensemble in leaf._filters:
                    key = f"{base},{ensemble.name}"
                    name = self._named(leaf_name, key)
                    metrics[name] = make_metric(name, base, self._scorer(leaf, key), better)
        return tuple(metrics.values())

    def _named(self, leaf: str, key: str) -> str:
        alone = len(self.suite.leaves) == 1 and not self.suite.groups
        return key if alone or leaf == self.suite.name else f"{leaf}/{key}"

    def _group_keys(self, group: Any) -> Iterator[tuple[str, str, bool | None]]:
        for entry in group.aggregate_metric_list or []:
            members = group.get_all_tasks()
            filters = entry.filter_list or dict.fromkeys(e.name for m in members for e in m._filters)
            known = [d for m in members if entry.metric in (d := self._directions(m))]
            better = known[0][entry.metric] if known else None
            yield from ((f"{entry.metric},{name}", entry.metric, better) for name in filters)

    def _directions(self, leaf: Any) -> dict[str, bool | None]:
        better = leaf.higher_is_better()
        return {name: better.get(name) for name in leaf.aggregation()}

    def missing(self) -> list[str]:
        """Return a line for each aggregate of a group that none of its members measures."""
        return [
            f"lm-eval's group {group.name} has no score {key}: none of its members measures that"
            for group in self.suite.groups.values()
            for key, base, _ in self._group_keys(group)
            if not any(
                base in self._directions(member) and key == f"{base},{ensemble.name}"
                for member in group.get_all_tasks()
                for ensemble in member._filters
            )
        ]

    def _scorer(self, part: Any, key: str) -> Callable[[Sample, Answer], float | None]:
        """Return a metric's function: the value of ``key`` for documents of ``part``, a task or a group."""
        members = part.get_all_tasks() if hasattr(part, "get_all_tasks") else [part]
        inside = {member.task_name for member in members}
        base, _, ensemble = key.partition(",")

        def score(sample: Sample, answer: Answer) -> float | None:
            name = sample.metadata["task"]
            if name not in inside:
                return None
            values = self._values(sample, answer).get(ensemble, {})
            if base not in values:
                return None
            item, aggregation = values[base], self._aggregation(name, base)
            if is_lost(item, aggregation):
                document = f"document {sample.metadata['doc_id']} of {name}"
                raise MetricError(f"the task gave {item} as {base} of {document}")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # scikit-learn warns about scores undefined for one document
                return per_document(item, aggregation)

        return score

    def _values(self, sample: Sample, answer: Answer) -> dict[str, dict[str, Any]]:
        """Return lm-eval's values for one document, by filter; cached for the same answer's next metric."""
        if self._scored is None or self._scored[0] is not answer:
            name = sample.metadata["task"]
            _, instances = self._filtered.get(id(answer), (None, None))
            if instances is None:
                instances = self._instances(sample, answer)
                self._filter(name, instances)
            rows = self._results(name, [(sample.metadata["doc_id"], instances)])
            self._scored = (answer, {ensemble: values[0] for ensemble, values in rows.items()})
        return self._scored[1]

    def _processed(
        self, name: str, answered: Sequence[tuple[Sample, Answer]]
    ) -> dict[str, list[dict[str, Any]]]:
        """Apply lm-eval's filters and ``process_results`` to documents of one task; return rows by filter."""
        grouped = [(s.metadata["doc_id"], self._instances(s, a)) for s, a in answered]
        self._filter(name, [instance for _, instances in grouped for instance in instances])
        return self._results(name, grouped)

    def _results(
        self, name: str, grouped: Sequence[tuple[int, list[Any]]]
    ) -> dict[str, list[dict[str, Any]]]:
        leaf, docs = self.suite.leaves[name], self.suite.docs[name]
        return {
            ensemble.name: [
                leaf.process_results(docs[doc_id], [i.filtered_resps[ensemble.name] for i in instances])
                for doc_id, instances in grouped
            ]
            for ensemble in leaf._filters
        }

    def _instances(self, sample: Sample, answer: Answer) -> list[Any]:
        from lm_eval.api.instance import Instance

        name, doc_id = sample.metadata["task"], sample.metadata["doc_id"]
        doc = self.suite.docs[name][doc_id]
        pairs = zip(sample.metadata["requests"], answer.metadata["resps"], strict=True)
        return [
            Instance(
                request_type=request["type"],
                doc=doc,
                arguments=tuple(request["args"]),
                idx=i,
                metadata=(name, doc_id, request["repeats"]),
                resps=[tuple(r) if isinstance(r, list) else r for r in resps],
            )
            for i, (request, resps) in enumerate(pairs)
        ]

    def aggregate(
        self,
        answered: Sequence[tuple[Sample, Answer]],
        estimates: Mapping[str, Estimate],
        params: Mapping[str, Any],
    ) -> dict[str, Estimate]:
        """Return lm-eval's own scores and standard errors over all documents, also of the groups.

        Raises ``MetricError`` where lm-eval's code fails.
        """
        try:
            return self._aggregate(answered, estimates, int(params.get("bootstrap_iters", BOOTSTRAP_ITERS)))
        except BaseException as problem:  # a plug-in's metric may raise anything
            raise MetricError(f"lm-eval's aggregation failed: {reason(problem)}") from problem

    def _aggregate(
        self, answered: Sequence[tuple[Sample, Answer]], estimates: Mapping[str, Estimate], iters: int
    ) -> dict[str, Estimate]:
        from lm_eval.api.metrics import mean
        from lm_eval.evaluator_utils import _process_results

        raw = self._items(answered)
        accumulated: Any = {
            name: {"task": self.suite.leaves[name], "raw_metrics": items, "logged_samples": []}
            for name, items in raw.items()
        }
        with _in_one_process():
            results = _process_results(accumulated, self.suite.groups, iters).metrics
        metrics = {m.name: m for m in self.metrics() if isinstance(m, HarnessMetric)}
        aggregated: dict[str, Estimate] = {}
        for part in sorted(results, key=lambda part: part not in raw):  # groups need their members' estimates
            values = results[part]
            for key, value in values.items():
                base, comma, ensemble = key.partition(",")
                if not comma or base.endswith("_stderr"):
                    continue
                name = self._named(part, key)
                stderr = values.get(f"{base}_stderr,{ensemble}")
                stderr = float(stderr) if stderr not in (None, "N/A") else None
                metric = metrics.get(name) or make_metric(name, base, unloaded, None)
                if part not in raw:
                    aggregated[name] = self._of_group(part, key, float(value), stderr, aggregated, results)
                    continue
                aggregation = self._aggregation(part, base)
                documents_mean = estimates.get(name) if aggregation is mean else None
                aggregated[name] = estimate_of(
                    metric, float(value), stderr, raw[part][base, ensemble], aggregation, documents_mean
                )
        if lost := [name for name, estimate in aggregated.items() if math.isnan(estimate.value)]:
            raise MetricError(f"no number over all documents: {', '.join(lost)}")
        return aggregated

    def _of_group(
        self,
        group: str,
        key: str,
        value: float,
        stderr: float | None,
        members: Mapping[str, Estimate],
        results: Mapping[str, Mapping[str, Any]],
    ) -> Estimate:
        """Return the estimate of a group's score from those of its members, as lm-eval weights them."""
        base = key.partition(",")[0]
        entries = self.suite.groups[group].aggregate_metric_list or []
        by_size = any(entry.weight_by_size for entry in entries if entry.metric == base)
        tasks = [task.task_name for task in self.suite.groups[group].get_all_tasks()]
        parts = {name: members[self._named(name, key)] for name in tasks if self._named(name, key) in members}
        weights = [float(results[name]["sample_len"]) if by_size else 1.0 for name in parts]
        made = combined(list(parts.values()), weights)
        return replace(made, value=value, se=made.se if stderr is None else stderr)

    def _items(
        self, answered: Sequence[tuple[Sample, Answer]]
    ) -> dict[str, dict[tuple[str, str], list[Any]]]:
        """Return lm-eval's raw metrics: for each task, by metric and filter, one item for each document."""
        by_task = _by_task(answered)
        items_of: dict[str, dict[tuple[str, str], list[Any]]] = {}
        for name in (n for n in self.suite.leaves if n in by_task):
            items: dict[tuple[str, str], list[Any]] = defaultdict(list)
            for ensemble, rows in self._processed(name, by_task[name]).items():
                for row in rows:
                    for base, value in row.items():
                        items[base, ensemble].append(value)
            items_of[name] = items
        return items_of

    def _aggregation(self, leaf: str, base: str) -> Any:
        from lm_eval.api.metrics import mean

        return self.suite.leaves[leaf].aggregation().get(base, mean)


def _by_task(answered: Sequence[tuple[Sample, Answer]]) -> dict[str, list[tuple[Sample, Answer]]]:
    by_task: dict[str, list[tuple[Sample, Answer]]] = {}
    for sample, answer in answered:
        by_task.setdefault(sample.metadata["task"], []).append((sample, answer))
    return by_task


@contextlib.contextmanager
def _in_one_process() -> Iterator[None]:
    """Keep lm-eval's bootstrap from forking (threads run here) and printing (stdout may be JSON)."""
    before = os.environ.get("DISABLE_MULTIPROC")
    os.environ["DISABLE_MULTIPROC"] = "1"
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        if before is None:
            del os.environ["DISABLE_MULTIPROC"]


def unloaded(sample: Sample, answer: Answer) -> float | None:
    raise MetricError("this metric's task is not loaded yet")

"""One task of lm-eval, or one group, as an evalkit task. Its documents, few-shot examples, requests, filters,
metrics and aggregation are lm-eval's own functions, called here in the order in which its evaluator calls them.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import io
import json
import os
import random
import warnings
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evalkit.errors import MetricError, SetupError, UsageError
from evalkit.harness import PREFIX, catalog
from evalkit.harness.ask import ChatText, How, ask, chat, rendered
from evalkit.harness.metrics import HarnessMetric, estimate_of, make_metric, per_document
from evalkit.model import Model
from evalkit.task import Task
from evalkit.types import Answer, Estimate, Needs, Response, Sample

FEWSHOT_SEED = 1234
BOOTSTRAP_ITERS = 1000
_LOGPROBS = frozenset({"loglikelihood", "loglikelihood_rolling", "multiple_choice"})


def make_task(manager: Any, name: str, include_path: Path | None = None, *, load: bool = False) -> Task:
    """lm-eval's task or group ``name`` as an evalkit task. Its data set is read at the first pass over its
    samples, or at once with ``load``."""
    suite = Suite(manager, name)
    where = include_path

    async def samples(
        num_fewshot: int | None = None,
        apply_chat_template: bool = False,
        fewshot_as_multiturn: bool = True,
        system_instruction: str | None = None,
        gen_kwargs: str = "",
        fewshot_seed: int = FEWSHOT_SEED,
        tokenizer: str | None = None,
        unsafe_code: bool = False,
        bootstrap_iters: int = BOOTSTRAP_ITERS,
        include_path: Path | None = where,
    ) -> AsyncIterator[Sample]:
        await asyncio.to_thread(suite.load)
        suite.configure(num_fewshot, gen_kwargs, fewshot_seed, unsafe_code)
        shape = Shape(apply_chat_template, fewshot_as_multiturn, system_instruction, tokenizer)
        for sample in suite.samples(shape):
            yield sample

    async def answer(
        sample: Sample, model: Model, tokenizer: str | None = None, max_length: int | None = None
    ) -> Answer:
        return await suite.answer(sample, model, How(tokenizer, max_length))

    configs = list(catalog.leaves(manager, name))
    answer.__doc__ = _description(name, configs)
    suite.task = Task(
        name=PREFIX + name,
        fn=answer,
        samples=samples,
        metrics=suite.declared(configs),
        tags=tuple(dict.fromkeys(["lm_eval", *(t for c in configs[:1] for t in _tags(c))])),
        needs=Needs(logprobs=any(c.get("output_type") in _LOGPROBS for c in configs)),
        aggregate=suite.aggregate,
        where=_where(manager, name),
    )
    if load:
        suite.load()
    return suite.task


@dataclass(frozen=True)
class Shape:
    """How a document becomes a prompt, beyond what the task's own files say."""

    apply_chat_template: bool
    fewshot_as_multiturn: bool
    system_instruction: str | None
    tokenizer: str | None

    def template(self) -> Any:
        """What lm-eval calls as the model's chat template."""
        if not self.apply_chat_template:
            return None
        name = self.tokenizer
        if name is None:
            return chat
        return lambda history, add_generation_prompt=True: rendered(history, add_generation_prompt, name)


@dataclass
class Suite:
    """lm-eval's objects under one name: leaf tasks, and the groups they are in."""

    manager: Any
    name: str
    task: Task = field(init=False)
    leaves: dict[str, Any] = field(default_factory=dict)
    groups: dict[str, Any] = field(default_factory=dict)
    docs: dict[str, Any] = field(default_factory=dict)
    _fresh: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    _scored: tuple[Answer, dict[str, dict[str, Any]]] | None = None

    def load(self) -> None:
        """Build lm-eval's tasks, which reads their data sets. Raises ``SetupError``."""
        if self.leaves:
            return
        _seed()
        try:
            built = self.manager.load([self.name])
        except Exception as problem:  # a task's own code, and the data set's loader, may raise anything
            raise SetupError(
                f"lm-eval cannot load {self.name}: {type(problem).__name__}: {problem}"
            ) from problem
        for name, leaf in built["tasks"].items():
            if getattr(leaf, "MULTIMODAL", False):
                raise SetupError(f"lm-eval's task {name} shows pictures or sounds: evalkit runs its text tasks")
            config = leaf.config
            self._fresh[name] = (leaf.get_config("num_fewshot"), dict(config.generation_kwargs or {}))
            self.docs[name] = leaf.eval_docs
        self.leaves, self.groups = built["tasks"], built.get("groups", {})
        self.task.metrics = self._metrics()
        self.task.version = str(self._version())
        self.task.needs = Needs(logprobs=any(t.OUTPUT_TYPE in _LOGPROBS for t in self.leaves.values()))

    def configure(
        self, num_fewshot: int | None, gen_kwargs: str, fewshot_seed: int, unsafe_code: bool
    ) -> None:
        """Set what lm-eval's command line sets, from a fresh start. Raises ``UsageError``."""
        from lm_eval.utils import simple_parse_args_string

        for name, leaf in self.leaves.items():
            if getattr(leaf, "UNSAFE_CODE", False) and not unsafe_code:
                raise UsageError(f"lm-eval's task {name} runs code that the model writes: -p unsafe_code=true")
            shots, generation = self._fresh[name]
            if leaf.OUTPUT_TYPE == "generate_until":
                changed = simple_parse_args_string(gen_kwargs)
                leaf.set_config("generation_kwargs", {**generation, **changed})
            # lm-eval's rule: a task that says 0 keeps 0, whatever is asked for
            leaf.set_config("num_fewshot", shots if shots == 0 or num_fewshot is None else num_fewshot)
            if leaf.get_config("num_fewshot") is None:
                leaf.set_config("num_fewshot", 0)
            leaf.set_fewshot_seed(seed=fewshot_seed)
        self.task.facts = {"lm_eval": self._facts()}

    def samples(self, shape: Shape) -> Iterator[Sample]:
        """The documents of all leaf tasks in turn, so that ``--limit`` leaves some of each."""
        passes = [self._samples_of(name, shape) for name in self.leaves]
        while passes:
            for one in list(passes):
                sample = next(one, None)
                if sample is None:
                    passes.remove(one)
                else:
                    yield sample

    def _samples_of(self, name: str, shape: Shape) -> Iterator[Sample]:
        leaf, template = self.leaves[name], shape.template()
        for doc_id, doc in enumerate(self.docs[name]):
            context = leaf.fewshot_context(
                doc,
                num_fewshot=leaf.get_config("num_fewshot"),
                system_instruction=shape.system_instruction,
                apply_chat_template=shape.apply_chat_template,
                fewshot_as_multiturn=shape.fewshot_as_multiturn,
                chat_template=template,
                gen_prefix=leaf.doc_to_prefix(doc),
            )
            instances = leaf.construct_requests(
                doc=doc,
                ctx=context,
                metadata=(name, doc_id, leaf.get_config("repeats") or 1),
                apply_chat_template=shape.apply_chat_template,
                chat_template=template,
            )
            yield self._sample(name, doc_id, doc, instances if isinstance(instances, list) else [instances])

    def _sample(self, name: str, doc_id: int, doc: Any, instances: list[Any]) -> Sample:
        leaf = self.leaves[name]
        choices = _choices(leaf, doc)
        requests = [
            {"type": i.request_type, "args": [_plain_arg(a) for a in i.args], "repeats": i.repeats or 1}
            for i in instances
        ]
        return Sample(
            id=f"{name}/{doc_id}" if len(self.leaves) > 1 else str(doc_id),
            input=str(instances[0].args[0]),
            target=_target(leaf.doc_to_target(doc), choices),
            choices=choices,
            slices={"task": name} if len(self.leaves) > 1 else {},
            metadata={"task": name, "doc_id": doc_id, "doc": _plain(doc), "requests": requests},
        )

    async def answer(self, sample: Sample, model: Model, how: How) -> Answer:
        """Ask all of a document's requests, each as often as lm-eval does, at the same time."""
        requests = sample.metadata["requests"]
        asked = [
            ask(model.draw(n) if n else model, request["type"], request["args"], how)
            for request in requests
            for n in range(request["repeats"])
        ]
        told = iter(await asyncio.gather(*asked))
        replies = [[next(told) for _ in range(request["repeats"])] for request in requests]
        first: Response = replies[0][0][1]
        resps = [[resp for resp, _ in draws] for draws in replies]
        text = resps[0][0] if isinstance(resps[0][0], str) else _said(requests, resps)
        return Answer(first, text=text, metadata={"resps": resps})

    def declared(self, configs: Sequence[Mapping[str, Any]]) -> tuple[HarnessMetric, ...]:
        """The metrics as far as the YAML files name them: for lists, before anything is loaded."""
        from lm_eval.api.registry import DEFAULT_METRIC_REGISTRY

        names: dict[str, str] = {}
        for config in configs:
            listed = config.get("metric_list")
            if listed is None and "class" not in config:
                listed = [
                    {"metric": m} for m in DEFAULT_METRIC_REGISTRY[config.get("output_type", "generate_until")]
                ]
            filters = [f["name"] for f in config.get("filter_list") or [{"name": "none"}]]
            for entry in listed or []:
                base = str(getattr(entry["metric"], "__name__", entry["metric"])).rpartition(".")[2]
                names.update({f"{base},{name}": base for name in filters})
        return tuple(make_metric(name, base, _unloaded, None) for name, base in names.items())

    def _metrics(self) -> tuple[HarnessMetric, ...]:
        """The metrics of the loaded tasks; in a group, its own first, then those of each member."""
        found: dict[str, HarnessMetric] = {}
        for group in self.groups.values():
            for key, base, better in self._group_keys(group):
                name = key if group.name == self.name else f"{group.name}/{key}"
                found[name] = make_metric(name, base, self._scorer(group, key), better)
        for leaf_name, leaf in self.leaves.items():
            for base, better in self._directions(leaf).items():
                for ensemble in leaf._filters:
                    key = f"{base},{ensemble.name}"
                    name = self._named(leaf_name, key)
                    found[name] = make_metric(name, base, self._scorer(leaf, key), better)
        return tuple(found.values())

    def _named(self, leaf: str, key: str) -> str:
        return key if leaf == self.name or (len(self.leaves) == 1 and not self.groups) else f"{leaf}/{key}"

    def _group_keys(self, group: Any) -> Iterator[tuple[str, str, bool | None]]:
        for entry in group.aggregate_metric_list or []:
            members = group.get_all_tasks()
            filters = entry.filter_list or dict.fromkeys(e.name for m in members for e in m._filters)
            better = next((d[entry.metric] for m in members if entry.metric in (d := self._directions(m))), None)
            yield from ((f"{entry.metric},{name}", entry.metric, better) for name in filters)

    def _directions(self, leaf: Any) -> dict[str, bool | None]:
        better = leaf.higher_is_better()
        return {name: better.get(name) for name in leaf.aggregation()}

    def _scorer(self, part: Any, key: str) -> Any:
        """A metric's function: the value of ``key`` for documents that ``part`` (a task or a group) holds."""
        inside = {t.task_name for t in part.get_all_tasks()} if hasattr(part, "get_all_tasks") else {part.task_name}
        base, _, ensemble = key.partition(",")

        def score(sample: Sample, answer: Answer) -> float | None:
            name = sample.metadata["task"]
            if name not in inside:
                return None
            values = self._values(sample, answer).get(ensemble, {})
            if base not in values:
                return None
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # scikit-learn's, of scores that one document cannot have
                return per_document(values[base], self._aggregation(name, base))

        return score

    def _values(self, sample: Sample, answer: Answer) -> dict[str, dict[str, Any]]:
        """What lm-eval makes of one document, by filter; kept for the next metric of the same answer."""
        if self._scored is None or self._scored[0] is not answer:
            made = self._processed(sample.metadata["task"], [(sample, answer)])
            self._scored = (answer, {name: rows[0] for name, rows in made.items()})
        return self._scored[1]

    def _processed(
        self, name: str, answered: Sequence[tuple[Sample, Answer]]
    ) -> dict[str, list[dict[str, Any]]]:
        """lm-eval's filters and ``process_results`` over documents of one task, by filter."""
        leaf = self.leaves[name]
        grouped = [(s.metadata["doc_id"], self._instances(s, a)) for s, a in answered]
        everything = [instance for _, instances in grouped for instance in instances]
        found: dict[str, list[dict[str, Any]]] = {}
        for ensemble in leaf._filters:
            ensemble.apply(everything)
            found[ensemble.name] = [
                leaf.process_results(
                    self.docs[name][doc_id], [i.filtered_resps[ensemble.name] for i in instances]
                )
                for doc_id, instances in grouped
            ]
        return found

    def _instances(self, sample: Sample, answer: Answer) -> list[Any]:
        from lm_eval.api.instance import Instance

        name, doc_id = sample.metadata["task"], sample.metadata["doc_id"]
        doc = self.docs[name][doc_id]
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
        """lm-eval's own scores and standard errors over all documents, and those of its groups.

        Raises ``MetricError`` where lm-eval's code fails.
        """
        try:
            return self._aggregate(answered, estimates, int(params.get("bootstrap_iters", BOOTSTRAP_ITERS)))
        except Exception as problem:
            raise MetricError(f"lm-eval's aggregation failed: {type(problem).__name__}: {problem}") from problem

    def _aggregate(
        self, answered: Sequence[tuple[Sample, Answer]], estimates: Mapping[str, Estimate], iters: int
    ) -> dict[str, Estimate]:
        from lm_eval.api.metrics import mean
        from lm_eval.evaluator_utils import _process_results

        raw = self._items(answered)
        accumulated: Any = {
            name: {"task": self.leaves[name], "raw_metrics": items, "logged_samples": []}
            for name, items in raw.items()
        }
        with _in_one_process():
            results = _process_results(accumulated, self.groups, iters).metrics
        declared = {m.name: m for m in self.task.metrics if isinstance(m, HarnessMetric)}
        found: dict[str, Estimate] = {}
        for part, values in results.items():
            for key, value in values.items():
                base, comma, ensemble = key.partition(",")
                if not comma or base.endswith("_stderr"):
                    continue
                name = self._named(part, key)
                items = raw[part][base, ensemble] if part in raw else [0] * values["sample_len"]
                aggregation = self._aggregation(part, base) if part in raw else None
                metric = declared.get(name) or make_metric(name, base, _unloaded, None)
                stderr = values.get(f"{base}_stderr,{ensemble}")
                own = estimates.get(name) if aggregation is mean else None
                stderr = float(stderr) if stderr not in (None, "N/A") else None
                found[name] = estimate_of(metric, float(value), stderr, items, aggregation, own)
        return found

    def _items(
        self, answered: Sequence[tuple[Sample, Answer]]
    ) -> dict[str, dict[tuple[str, str], list[Any]]]:
        """lm-eval's raw metrics: for each task, by metric and filter, one item for each document."""
        by_task: dict[str, list[tuple[Sample, Answer]]] = {}
        for sample, answer in answered:
            by_task.setdefault(sample.metadata["task"], []).append((sample, answer))
        found: dict[str, dict[tuple[str, str], list[Any]]] = {}
        for name in (n for n in self.leaves if n in by_task):
            items: dict[tuple[str, str], list[Any]] = defaultdict(list)
            for ensemble, rows in self._processed(name, by_task[name]).items():
                for row in rows:
                    for base, value in row.items():
                        items[base, ensemble].append(value)
            found[name] = items
        return found

    def _aggregation(self, leaf: str, base: str) -> Any:
        from lm_eval.api.metrics import mean

        return self.leaves[leaf].aggregation().get(base, mean)

    def _version(self) -> Any:
        root = self.groups.get(self.name)
        return root.version if root is not None else next(iter(self.leaves.values())).VERSION

    def _facts(self) -> dict[str, Any]:
        """What is recorded with a run: lm-eval's version, and each task's configuration as it was used."""
        return {
            "version": importlib.metadata.version("lm_eval"),
            "configs": {name: _plain(leaf.dump_config()) for name, leaf in self.leaves.items()},
            "versions": {name: _plain(leaf.VERSION) for name, leaf in self.leaves.items()},
            "n-shot": {name: leaf.get_config("num_fewshot") for name, leaf in self.leaves.items()},
            "n-original": {name: len(docs) for name, docs in self.docs.items()},
            "groups": {name: group.child_names for name, group in self.groups.items()},
        }


def _seed() -> None:
    """lm-eval seeds the global generators before it reads data sets: some tasks shuffle as they read."""
    import numpy as np
    from lm_eval.defaults import DEFAULT_OTHER_SEED, DEFAULT_RANDOM_SEED

    random.seed(DEFAULT_RANDOM_SEED)
    np.random.seed(DEFAULT_OTHER_SEED)


@contextlib.contextmanager
def _in_one_process() -> Iterator[None]:
    """lm-eval's bootstrap forks and prints; here it must not: threads are running, and stdout is JSON's."""
    before = os.environ.get("DISABLE_MULTIPROC")
    os.environ["DISABLE_MULTIPROC"] = "1"
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        if before is None:
            del os.environ["DISABLE_MULTIPROC"]


def _unloaded(sample: Sample, answer: Answer) -> float | None:
    raise MetricError("this metric's task is not loaded yet")


def _plain(value: Any) -> Any:
    """A value as JSON can hold it, by lm-eval's own rule for what JSON cannot."""
    from lm_eval.utils import handle_non_serializable

    return json.loads(json.dumps(value, default=handle_non_serializable))


def _plain_arg(value: Any) -> Any:
    return value.content if isinstance(value, ChatText) else _plain(value)


def _choices(leaf: Any, doc: Any) -> tuple[str, ...]:
    if leaf.get_config("doc_to_choice") is None:
        return ()
    return tuple(str(choice) for choice in leaf.doc_to_choice(doc))


def _target(target: Any, choices: tuple[str, ...]) -> str | tuple[str, ...]:
    """The reference as text; a choice's number as the choice."""
    if isinstance(target, list | tuple):
        return tuple(str(_target(t, choices)) for t in target)
    if isinstance(target, int) and 0 <= target < len(choices):
        return choices[target]
    return str(target)


def _said(requests: list[dict[str, Any]], resps: list[list[Any]]) -> str:
    """For people: the most probable continuation, or the log-probability of the only one."""
    first = [draws[0] for draws in resps]
    if requests[0]["type"] != "loglikelihood" or len(first) == 1:
        return str(first[0])
    best = max(range(len(first)), key=lambda i: first[i][0])
    return str(requests[best]["args"][-1]).strip()


def _tags(config: Mapping[str, Any]) -> list[str]:
    tags = config.get("tag") or []
    return [tags] if isinstance(tags, str) else list(tags)


def _where(manager: Any, name: str) -> str:
    path = manager.task_index[name].yaml_path
    return str(path) if path else "lm_eval"


def _description(name: str, configs: Sequence[Mapping[str, Any]]) -> str:
    """One line for lists."""
    kinds = ", ".join(dict.fromkeys(str(c.get("output_type", "a Python class")) for c in configs))
    data = ", ".join(list(dict.fromkeys(str(c["dataset_path"]) for c in configs if c.get("dataset_path")))[:3])
    members = f"{len(configs)} tasks of lm-eval" if len(configs) > 1 else "A task of lm-eval"
    return f"{members}: {kinds}{f' over {data}' if data else ''}"

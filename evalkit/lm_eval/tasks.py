"""An lm-eval task or group as an evalkit ``Task``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from evalkit.collection.items import Item
from evalkit.collection.sources import TaskSource, rebuilt
from evalkit.lm_eval import PREFIX, catalog
from evalkit.lm_eval.ask import How
from evalkit.lm_eval.scores import BOOTSTRAP_ITERS, Scores, declared
from evalkit.lm_eval.suite import LOGPROBS, Shape, Suite
from evalkit.model import Model
from evalkit.store.records import RunSpec
from evalkit.task import Task
from evalkit.types import Answer, Requirements, Sample
from evalkit.util.printable import say

FEWSHOT_SEED = 1234


def find(pattern: str, include_path: Path | None = None) -> list[Task]:
    """Return the tasks of a name or pattern (``mmlu_*``), with or without the prefix ``lm_eval/``.

    A group that aggregates its members' scores is one task. Any other group, and every tag, stands for its
    members. The folder ``include_path`` is looked through before lm-eval's own tasks. Raises ``UsageError``.
    """
    manager, names = catalog.matching(pattern.removeprefix(PREFIX), include_path)
    return [make_task(manager, name, include_path) for name in names]


def one(name: str, include_path: Path | None = None) -> Task:
    """Return the task of this name, with its data set loaded. Raises ``UsageError``."""
    manager, names = catalog.matching(name.removeprefix(PREFIX), include_path)
    return make_task(manager, names[0], include_path, load=True)


class LmEvalSource(TaskSource):
    """The source of the targets ``lm_eval/NAME``."""

    def find(self, target: str, include_path: Path | None) -> list[Task]:
        """Return the tasks that a name or pattern stands for. Raises ``UsageError``."""
        return find(target, include_path)

    def rebuild(self, spec: RunSpec) -> Item:
        """Return the item that a run was made of, its data set loaded. Raises ``UsageError``."""
        folder = spec.reproduction.params.get("include_path")
        return rebuilt(one(spec.task_name, Path(folder) if folder else None), spec.reproduction)


def make_task(manager: Any, name: str, include_path: Path | None = None, *, load: bool = False) -> Task:
    """Return lm-eval's task or group ``name`` as an evalkit task.

    Its data set is read at the first pass over its samples, or at once with ``load``.
    """
    suite = Suite(manager, name)
    scores = Scores(suite)
    where = include_path

    async def samples(
        num_fewshot: int | None = None,
        apply_chat_template: bool = False,
        fewshot_as_multiturn: bool = True,
        system_instruction: str | None = None,
        gen_kwargs: str = "",
        fewshot_seed: int = FEWSHOT_SEED,
        tokenizer: str | None = None,
        max_images: int | None = None,
        unsafe_code: bool = False,
        bootstrap_iters: int = BOOTSTRAP_ITERS,
        include_path: Path | None = where,
    ) -> AsyncIterator[Sample]:
        await asyncio.to_thread(prepare)
        suite.configure(num_fewshot, gen_kwargs, fewshot_seed, unsafe_code)
        made.facts = {"lm_eval": suite.facts()}
        shape = Shape(apply_chat_template, fewshot_as_multiturn, system_instruction, tokenizer, max_images)
        for sample in suite.samples(shape):
            yield sample

    async def answer(
        sample: Sample, model: Model, tokenizer: str | None = None, max_length: int | None = None
    ) -> Answer:
        return await suite.answer(sample, model, How(tokenizer, max_length))

    configs = list(catalog.leaves(manager, name))
    answer.__doc__ = _description(name, configs)
    made = Task(
        name=PREFIX + name,
        fn=answer,
        samples=samples,
        metrics=declared(configs),
        tags=tuple(dict.fromkeys(["lm_eval", *(t for c in configs[:1] for t in _tags(c))])),
        needs=Requirements(
            logprobs=any(c.get("output_type") in LOGPROBS for c in configs),
            images=any(c.get("doc_to_image") is not None for c in configs),
        ),
        prepare=scores.prepare,
        aggregate=scores.aggregate,
        where=_where(manager, name),
    )

    def prepare() -> None:
        first = not suite.leaves
        suite.load()
        made.metrics = scores.metrics()
        for line in scores.missing() if first else ():
            say(f"evalkit: {line}")
        made.version = str(suite.version)
        made.needs = Requirements(logprobs=suite.scores_likelihoods, images=suite.shows_pictures)

    if load:
        prepare()
    return made


def filters_of(
    name: str, include_path: Path | None = None
) -> Callable[[Sample, Answer], dict[str, list[Any]]]:
    """Return a function that applies lm-eval's filters to the responses for a document.

    Raises ``UsageError``.
    """
    manager, names = catalog.matching(name.removeprefix(PREFIX), include_path)
    suite = Suite(manager, names[0])
    suite.load()
    return Scores(suite).filtered


def _tags(config: Mapping[str, Any]) -> list[str]:
    tags = config.get("tag") or []
    return [tags] if isinstance(tags, str) else list(tags)


def _where(manager: Any, name: str) -> str:
    path = manager.task_index[name].yaml_path
    return str(path) if path else "lm_eval"


def _description(name: str, configs: Sequence[Mapping[str, Any]]) -> str:
    """Return a description of one line."""
    kinds = ", ".join(dict.fromkeys(str(c.get("output_type", "a Python class")) for c in configs))
    sets = list(dict.fromkeys(str(c["dataset_path"]) for c in configs if c.get("dataset_path")))
    data = ", ".join(sets[:3])
    members = f"{len(configs)} tasks of lm-eval" if len(configs) > 1 else "A task of lm-eval"
    return f"{members}: {kinds}{f' over {data}' if data else ''}"

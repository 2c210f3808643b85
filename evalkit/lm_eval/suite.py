"""lm-eval's tasks under one name: their documents as samples, their requests as requests to a model.

lm-eval's own functions make the documents, few-shot examples and requests, called in the order of lm-eval's
evaluator.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import random
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evalkit.data.hub import hub_url, look_for_hub
from evalkit.errors import SetupError, UsageError
from evalkit.lm_eval import catalog
from evalkit.lm_eval.ask import How, ask, chat, rendered
from evalkit.lm_eval.pictures import pictures_of
from evalkit.lm_eval.plain import choices_of, plain, plain_argument, reply_text, target_of
from evalkit.model import Model
from evalkit.types import Answer, Image, Response, Sample
from evalkit.util.boundary import contained, reason

# Values of ``dataset_path`` that are kinds of local files, not names on the hub.
_FILES = frozenset({"arrow", "audiofolder", "csv", "imagefolder", "json", "parquet", "text", "xml"})
LOGPROBS = frozenset({"loglikelihood", "loglikelihood_rolling", "multiple_choice"})


@dataclass(frozen=True)
class Shape:
    """The settings that turn a document into a prompt, besides those in the task's own files."""

    apply_chat_template: bool
    fewshot_as_multiturn: bool
    system_instruction: str | None
    tokenizer: str | None
    max_images: int | None

    def template(self) -> Any:
        """Return the function that lm-eval calls as the model's chat template."""
        if not self.apply_chat_template:
            return None
        name = self.tokenizer
        if name is None:
            return chat
        return lambda history, add_generation_prompt=True: rendered(history, add_generation_prompt, name)


@dataclass
class Suite:
    """lm-eval's objects under one name: leaf tasks, and their groups."""

    manager: Any
    name: str
    leaves: dict[str, Any] = field(default_factory=dict)
    groups: dict[str, Any] = field(default_factory=dict)
    docs: dict[str, Any] = field(default_factory=dict)
    _fresh: dict[str, tuple[Any, Any]] = field(default_factory=dict)

    def load(self) -> None:
        """Build lm-eval's tasks, which reads their data sets. Raises ``SetupError``."""
        if self.leaves:
            return
        _seed()
        distant = [c for c in catalog.leaves(self.manager, self.name) if not _is_here(c.get("dataset_path"))]
        reached = not distant or look_for_hub()

        def failure(problem: BaseException) -> BaseException:
            if empty := _task_without_documents(problem):
                return SetupError(f"lm-eval's task {empty} has no documents")
            said = f"lm-eval cannot load {self.name}: {reason(problem)}"
            return SetupError(said if reached else said + _without_hub(distant))

        with contained(failure):  # a task's own code, and the data set's loader, may raise anything
            built = self.manager.load([self.name])
        for name, leaf in built["tasks"].items():
            config = leaf.config
            self._fresh[name] = (leaf.get_config("num_fewshot"), dict(config.generation_kwargs or {}))
            self.docs[name] = leaf.eval_docs
        if empty := [name for name, docs in self.docs.items() if not len(docs)]:
            raise SetupError(f"lm-eval's task {empty[0]} has no documents")
        self.leaves, self.groups = built["tasks"], built.get("groups", {})

    def configure(
        self, num_fewshot: int | None, gen_kwargs: str, fewshot_seed: int, unsafe_code: bool
    ) -> None:
        """Set lm-eval's command-line options, from the tasks' original values. Raises ``UsageError``."""
        from lm_eval.utils import simple_parse_args_string

        for name, leaf in self.leaves.items():
            if getattr(leaf, "UNSAFE_CODE", False) and not unsafe_code:
                raise UsageError(
                    f"lm-eval's task {name} runs code that the model writes; allow it by -p unsafe_code=true"
                )
            shots, generation = self._fresh[name]
            changed = simple_parse_args_string(gen_kwargs)
            if generation or (changed and leaf.OUTPUT_TYPE == "generate_until"):
                leaf.set_config("generation_kwargs", {**generation, **changed})
            # lm-eval's rule: a task whose own number is 0 keeps 0
            leaf.set_config("num_fewshot", shots if shots == 0 or num_fewshot is None else num_fewshot)
            if leaf.get_config("num_fewshot") is None:
                leaf.set_config("num_fewshot", 0)
            leaf.set_fewshot_seed(seed=fewshot_seed)

    def samples(self, shape: Shape) -> Iterator[Sample]:
        """Yield the documents of all leaf tasks in turn, so that ``--limit`` keeps some of each task."""
        passes = [self._samples_of(name, shape) for name in self.leaves]
        while passes:
            for samples in list(passes):
                sample = next(samples, None)
                if sample is None:
                    passes.remove(samples)
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
            instances = instances if isinstance(instances, list) else [instances]
            try:
                images = pictures_of(instances[0].request_type, instances[0].args, shape.max_images)
            except SetupError as problem:
                raise SetupError(f"lm-eval's task {name} cannot be run: {problem}") from None
            yield self._sample(name, doc_id, doc, instances, images)

    def _sample(
        self, name: str, doc_id: int, doc: Any, instances: list[Any], images: tuple[Image, ...]
    ) -> Sample:
        leaf = self.leaves[name]
        choices = choices_of(leaf, doc)
        requests = [
            {
                "type": i.request_type,
                "args": [plain_argument(a) for a in (i.args[:2] if images else i.args)],
                "repeats": i.repeats or 1,
            }
            for i in instances
        ]
        return Sample(
            id=f"{name}/{doc_id}" if len(self.leaves) > 1 else str(doc_id),
            input=str(instances[0].args[0]),
            target=target_of(leaf.doc_to_target(doc), choices),
            choices=choices,
            images=images,
            slices={"task": name} if len(self.leaves) > 1 else {},
            metadata={
                "task": name,
                "doc_id": doc_id,
                "doc": plain(doc),
                "target": plain(leaf.doc_to_target(doc)),
                "requests": requests,
            },
        )

    async def answer(self, sample: Sample, model: Model, how: How) -> Answer:
        """Send all requests of a document at the same time, each as often as lm-eval repeats it."""
        requests = sample.metadata["requests"]
        calls = [
            ask(model.draw(n) if n else model, request["type"], request["args"], how, sample.images)
            for request in requests
            for n in range(request["repeats"])
        ]
        results = iter(await asyncio.gather(*calls))
        replies = [[next(results) for _ in range(request["repeats"])] for request in requests]
        first: Response = replies[0][0][1]
        resps = [[resp for resp, _ in draws] for draws in replies]
        text = resps[0][0] if isinstance(resps[0][0], str) else reply_text(requests, resps)
        return Answer(first, text=text, metadata={"resps": resps})

    @property
    def scores_likelihoods(self) -> bool:
        """Whether one of the tasks needs log-probabilities of the prompt."""
        return any(leaf.OUTPUT_TYPE in LOGPROBS for leaf in self.leaves.values())

    @property
    def shows_pictures(self) -> bool:
        """Whether one of the tasks shows pictures."""
        return any(getattr(leaf, "MULTIMODAL", False) for leaf in self.leaves.values())

    @property
    def version(self) -> Any:
        """The version of the group, or of the only task."""
        root = self.groups.get(self.name)
        return root.version if root is not None else next(iter(self.leaves.values())).VERSION

    def facts(self) -> dict[str, Any]:
        """Return the facts that are recorded with a run: lm-eval's version, and the tasks' configurations."""
        return {
            "version": importlib.metadata.version("lm_eval"),
            "configs": {name: plain(leaf.dump_config()) for name, leaf in self.leaves.items()},
            "versions": {name: plain(leaf.VERSION) for name, leaf in self.leaves.items()},
            "n-shot": {name: leaf.get_config("num_fewshot") for name, leaf in self.leaves.items()},
            "n-original": {name: len(docs) for name, docs in self.docs.items()},
            "groups": {name: group.child_names for name, group in self.groups.items()},
        }


def _task_without_documents(problem: BaseException) -> str:
    """Return the name of the task whose set-up found no document; empty for other errors."""
    for frame, _ in traceback.walk_tb(problem.__traceback__):
        task = frame.f_locals.get("self")
        docs = getattr(task, "task_docs", None)
        if isinstance(problem, LookupError) and docs is not None and not len(docs):
            return str(getattr(task, "task_name", None) or "")
    return ""


def _is_here(path: str | None) -> bool:
    return path is not None and (path in _FILES or Path(path).exists())


def _without_hub(configs: Sequence[Mapping[str, Any]]) -> str:
    """Return the advice for a data set that is not in the cache while the hub cannot be reached."""
    name = next((str(c["dataset_path"]) for c in configs if c.get("dataset_path")), "NAME")
    return (
        f". The hub ({hub_url()}) cannot be reached, or HF_HUB_OFFLINE is set. On a machine that reaches it, "
        f"`hf download --repo-type dataset {name}` (or a run) fills the cache: copy its folder HF_HOME"
    )


def _seed() -> None:
    """Seed the global generators as lm-eval does before it reads data sets: some tasks shuffle their data."""
    import numpy as np
    from lm_eval.defaults import DEFAULT_OTHER_SEED, DEFAULT_RANDOM_SEED

    random.seed(DEFAULT_RANDOM_SEED)
    np.random.seed(DEFAULT_OTHER_SEED)

"""A judge that is a classifier of natural language inference: premise and hypothesis in, three labels out.

Questions of several samples at the same time are classified as one batch, in a thread. A premise over the
network's limit is split into windows of whole sentences: the sentence is entailed where a window entails it,
and contradicted where no window entails it and one contradicts it. A sentence too long to stand beside any
premise is neutral, because its support cannot be judged. The run records how often each case occurred.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from evalkit.data.sentences import split_sentences
from evalkit.metrics.pretrained import BATCH, Network, classified, network, relations_of
from evalkit.models.middleware.call_stats import current
from evalkit.protocols import Judge, Relation
from evalkit.types import Passage, Sample

Pair = tuple[str, str]


@dataclass
class _Batch:
    pairs: list[Pair]
    relations: asyncio.Task[list[Relation]] | None = None


class NliJudge(Judge):
    """A judge that asks a classifier; made by ``await NliJudge.load(name)``. Its claims are sentences."""

    def __init__(self, net: Network) -> None:
        self.name = f"nli:{net.name}"
        # A tokenizer serves one thread at a time: one for the classifying thread, one for the event loop.
        self._net = net._replace(tokenizer=copy.deepcopy(net.tokenizer))
        self._tokenize = copy.deepcopy(net.tokenizer)
        self._labels = relations_of(net)
        self._open: _Batch | None = None
        self._turn = asyncio.Lock()

    @classmethod
    async def load(cls, name: str) -> NliJudge:
        """Load a cross-encoder by hub name or folder. Raises ``SetupError`` for missing weights or labels."""
        return cls(await asyncio.to_thread(network, "AutoModelForSequenceClassification", name))

    async def relation(self, passages: Sequence[Passage], sentence: str, sample: Sample) -> Relation:
        """Return the classifier's verdict on all the passages together."""
        premise = "\n".join(f"{p.title}\n{p.text}".strip() for p in passages)
        counts = current.get().judged
        counts["asked"] += 1
        windows = [premise]
        if self._length(premise, sentence) > self._net.limit:
            counts["asked_in_windows"] += 1
            windows = self._windows(premise, sentence)
        if any(self._length(window, sentence) > self._net.limit for window in windows):
            counts["too_long"] += 1
            return "neutral"
        relations = await asyncio.gather(*(self._classified((window, sentence)) for window in windows))
        decisive: tuple[Relation, ...] = ("entails", "contradicts")
        return next((relation for relation in decisive if relation in relations), "neutral")

    async def claims(self, text: str, sample: Sample) -> list[str]:
        """Return the sentences of the text."""
        return split_sentences(text)

    def describe(self) -> dict[str, Any]:
        """Return the network's name, its labels in their order, and its limit in tokens."""
        return {"judge": self.name, "labels": self._labels, "reads_tokens": self._net.limit}

    def _windows(self, premise: str, hypothesis: str) -> list[str]:
        """Split the premise into runs of sentences that fit beside the hypothesis (at least one sentence)."""
        windows: list[str] = []
        current: list[str] = []
        for sentence in split_sentences(premise):
            if current and self._length(" ".join([*current, sentence]), hypothesis) > self._net.limit:
                windows.append(" ".join(current))
                current = current[-1:]  # a sentence often refers to the one before it
                if self._length(" ".join([*current, sentence]), hypothesis) > self._net.limit:
                    current = []
            current.append(sentence)
        return [*windows, " ".join(current)]

    def _length(self, premise: str, hypothesis: str) -> int:
        return len(self._tokenize(premise, hypothesis)["input_ids"])

    async def _classified(self, pair: Pair) -> Relation:
        if self._open is None or len(self._open.pairs) >= BATCH:
            self._open = _Batch([])
            self._open.relations = asyncio.create_task(self._classified_batch(self._open))
        batch = self._open
        index = len(batch.pairs)
        batch.pairs.append(pair)
        assert batch.relations is not None
        return (await asyncio.shield(batch.relations))[index]

    async def _classified_batch(self, batch: _Batch) -> list[Relation]:
        """Classify one batch at a time: questions that come meanwhile join the next batch."""
        await asyncio.sleep(0)
        async with self._turn:
            if self._open is batch:
                self._open = None
            return await asyncio.to_thread(self._classify, batch.pairs)

    def _classify(self, pairs: list[Pair]) -> list[Relation]:
        return [self._labels[int(label)] for label in classified(self._net, pairs).argmax(axis=-1)]

"""A judge that is a classifier of natural language inference: premise and hypothesis in, three labels out.

What several samples ask at the same time is classified as one batch, off the event loop. A premise longer
than the network reads is read in windows of whole sentences: the sentence is entailed where one window
entails it, contradicted where none does and one contradicts it. A sentence too long to stand beside any
premise is neutral: nobody could say that it is supported. How often each was so is counted for the run.
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
    found: asyncio.Task[list[Relation]] | None = None


class NliJudge(Judge):
    """Use ``await NliJudge.load(name)``. Its claims are sentences."""

    def __init__(self, net: Network) -> None:
        self.name = f"nli:{net.name}"
        # A tokenizer serves one thread at a time: this one the classifying, its copy the event loop.
        self._net = net._replace(tokenizer=copy.deepcopy(net.tokenizer))
        self._measure = copy.deepcopy(net.tokenizer)
        self._labels = relations_of(net)
        self._open: _Batch | None = None
        self._turn = asyncio.Lock()

    @classmethod
    async def load(cls, name: str) -> NliJudge:
        """A cross-encoder by its hub name or folder. Raises ``SetupError`` for missing weights or labels."""
        return cls(await asyncio.to_thread(network, "AutoModelForSequenceClassification", name))

    async def relation(self, passages: Sequence[Passage], sentence: str, sample: Sample) -> Relation:
        """Of all the passages together."""
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
        found = await asyncio.gather(*(self._classified((window, sentence)) for window in windows))
        return "entails" if "entails" in found else "contradicts" if "contradicts" in found else "neutral"

    async def claims(self, text: str, sample: Sample) -> list[str]:
        """The sentences."""
        return split_sentences(text)

    def describe(self) -> dict[str, Any]:
        """The network, its labels in their order, and how many tokens it reads."""
        return {"judge": self.name, "labels": self._labels, "reads_tokens": self._net.limit}

    def _windows(self, premise: str, hypothesis: str) -> list[str]:
        """Runs of the premise's sentences that fit beside the hypothesis; one that does not stands alone."""
        windows: list[str] = []
        current: list[str] = []
        for sentence in split_sentences(premise):
            if current and self._length(" ".join([*current, sentence]), hypothesis) > self._net.limit:
                windows.append(" ".join(current))
                current = current[-1:]  # what a sentence refers to often stands in the one before it
                if self._length(" ".join([*current, sentence]), hypothesis) > self._net.limit:
                    current = []
            current.append(sentence)
        return [*windows, " ".join(current)]

    def _length(self, premise: str, hypothesis: str) -> int:
        return len(self._measure(premise, hypothesis)["input_ids"])

    async def _classified(self, pair: Pair) -> Relation:
        if self._open is None or len(self._open.pairs) >= BATCH:
            self._open = _Batch([])
            self._open.found = asyncio.create_task(self._classified_batch(self._open))
        batch = self._open
        place = len(batch.pairs)
        batch.pairs.append(pair)
        assert batch.found is not None
        return (await asyncio.shield(batch.found))[place]

    async def _classified_batch(self, batch: _Batch) -> list[Relation]:
        """One batch at a time: whoever asks meanwhile joins the next."""
        await asyncio.sleep(0)
        async with self._turn:
            if self._open is batch:
                self._open = None
            return await asyncio.to_thread(self._classify, batch.pairs)

    def _classify(self, pairs: list[Pair]) -> list[Relation]:
        return [self._labels[int(place)] for place in classified(self._net, pairs).argmax(axis=-1)]

"""A judge that is a classifier of natural language inference: premise and hypothesis in, three labels out.

What several samples ask at the same time is classified as one batch, off the event loop. A premise longer
than the network reads is read in windows of whole sentences: the sentence is entailed where one window
entails it, contradicted where none does and one contradicts it. ``describe`` says for how many.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from evalkit.errors import SetupError
from evalkit.judge import Relation
from evalkit.metrics.pretrained import BATCH, Network, classified, network
from evalkit.sentences import split_sentences
from evalkit.types import Passage, Sample

Pair = tuple[str, str]


@dataclass
class _Batch:
    pairs: list[Pair]
    found: asyncio.Task[list[Relation]] | None = None


class NliJudge:
    """Use ``await NliJudge.load(name)``. Its claims are sentences."""

    def __init__(self, net: Network) -> None:
        self.name = f"nli:{net.name}"
        self._net = net
        self._labels = relations_of(net)
        self._open: _Batch | None = None
        self._turn = asyncio.Lock()
        self._windowed = self._asked = 0

    @classmethod
    async def load(cls, name: str) -> NliJudge:
        """A cross-encoder by its hub name or folder. Raises ``SetupError`` for missing weights or labels."""
        return cls(await asyncio.to_thread(network, "AutoModelForSequenceClassification", name))

    async def relation(self, passages: Sequence[Passage], sentence: str, sample: Sample) -> Relation:
        """Of all the passages together."""
        windows = self._windows("\n".join(f"{p.title}\n{p.text}".strip() for p in passages), sentence)
        self._asked += 1
        self._windowed += len(windows) > 1
        found = await asyncio.gather(*(self._classified((window, sentence)) for window in windows))
        return "entails" if "entails" in found else "contradicts" if "contradicts" in found else "neutral"

    async def claims(self, text: str, sample: Sample) -> list[str]:
        """The sentences."""
        return split_sentences(text)

    def describe(self) -> dict[str, Any]:
        """The network, its labels in their order, and how many premises were read in windows."""
        return {
            "judge": self.name, "labels": self._labels, "reads_tokens": self._net.limit,
            "asked": self._asked, "asked_in_windows": self._windowed,
        }  # fmt: skip

    def _windows(self, premise: str, hypothesis: str) -> list[str]:
        """The premise, or runs of its sentences that fit beside the hypothesis; a longer one stays alone."""
        if self._length(premise, hypothesis) <= self._net.limit:
            return [premise]
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
        return len(self._net.tokenizer(premise, hypothesis)["input_ids"])

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
        """Only a single sentence longer than the network is still cut here."""
        return [self._labels[int(place)] for place in classified(self._net, pairs).argmax(axis=-1)]


def relations_of(net: Network) -> list[Relation]:
    """What each of a network's labels means, by the names in its config.

    Labels that are neither entailment nor contradiction (``neutral``, ``not_entailment``) are neutral.
    Raises ``SetupError`` where none is called entailment.
    """
    names = [str(net.model.config.id2label[i]).lower() for i in range(net.model.config.num_labels)]
    labels: list[Relation] = [
        "entails" if name in ("entailment", "entails", "supported", "support") else
        "contradicts" if name.startswith(("contradict", "refute")) else "neutral"
        for name in names
    ]  # fmt: skip
    if labels.count("entails") != 1:
        raise SetupError(
            f"{net.name} is no judge: none of its labels ({', '.join(names)}) is called entailment. "
            "Take a model trained for natural language inference, or name the labels in its config.json"
        )
    return labels

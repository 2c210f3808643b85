"""The exact judge of fictional trials: what a sentence may claim is known, so nobody has to weigh it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from evalkit import Answer, Passage, Review, Sample
from evalkit.data.sentences import split_sentences
from evalkit.judge.review import What
from evalkit.protocols import Judge, Relation

from .metrics import bears_out, positioned


class ExactJudge(Judge):
    """A sentence is entailed if the passages that are about its drug and condition hold all its numbers.

    What is pooled over the trials that answer the question is entailed by all of them together. It never says
    that a passage contradicts a sentence: a number that is missing is not denied.
    """

    name = "exact"

    async def relation(self, passages: Sequence[Passage], sentence: str, sample: Sample) -> Relation:
        """Of all the passages together."""
        return "entails" if bears_out(sample, sentence, passages) else "neutral"

    async def claims(self, text: str, sample: Sample) -> list[str]:
        """The sentences."""
        return split_sentences(text)

    def describe(self) -> dict[str, Any]:
        """Its name: its settings are the task's version."""
        return {"judge": self.name}


class TrialReview(Review):
    """A review that reads citations by trial id as well as by number."""

    async def __call__(self, sample: Sample, answer: Answer, what: Sequence[What] = ("citations",)) -> Answer:
        """The verdicts, on the answer as it was given."""
        if answer.passages is None:
            return await super().__call__(sample, answer, what)
        text, passages = positioned(sample, answer)
        judged = await super().__call__(
            sample, msgspec.structs.replace(answer, text=text, passages=passages), what
        )
        return msgspec.structs.replace(answer, metadata=judged.metadata)

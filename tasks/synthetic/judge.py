"""The exact judge of fictional trials: it compares sentences with the known facts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from evalkit import Answer, Passage, Review, Sample
from evalkit.data.sentences import split_sentences
from evalkit.judge.review import What
from evalkit.protocols import Judge, Relation

from .metrics import is_supported, positioned


class ExactJudge(Judge):
    """A judge by rules: passages on a sentence's drug and condition entail it if they have all its numbers.

    All trials that answer the question together entail the numbers pooled over them. The judge never says
    "contradicts", since a missing number is not denied.
    """

    name = "exact"

    async def relation(self, passages: Sequence[Passage], sentence: str, sample: Sample) -> Relation:
        """Return the relation of all the passages together to the sentence."""
        return "entails" if is_supported(sample, sentence, passages) else "neutral"

    async def claims(self, text: str, sample: Sample) -> list[str]:
        """Return the sentences of the text."""
        return split_sentences(text)

    def describe(self) -> dict[str, Any]:
        """Return the judge's name; the task's version covers its settings."""
        return {"judge": self.name}


class TrialReview(Review):
    """A review that accepts citations by trial id and by number."""

    async def __call__(self, sample: Sample, answer: Answer, what: Sequence[What] = ("citations",)) -> Answer:
        """Return the answer, its text unchanged, with the verdicts."""
        if answer.passages is None:
            return await super().__call__(sample, answer, what)
        text, passages = positioned(sample, answer)
        judged = await super().__call__(
            sample, msgspec.structs.replace(answer, text=text, passages=passages), what
        )
        return msgspec.structs.replace(answer, metadata=judged.metadata)

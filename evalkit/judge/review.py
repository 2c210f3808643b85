"""The review of an answer by a judge: each question is asked once, and the verdicts are kept with the answer.

``answer.metadata["judged"]`` then holds ``evalkit.facts.Verdicts``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Literal, get_args

from msgspec import UNSET

from evalkit.data.sentences import split_sentences
from evalkit.errors import JudgeError
from evalkit.facts import CitedSentence, Claims, Reviewed, Support, Verdicts, noted
from evalkit.metric import check_option
from evalkit.metrics.citation import citations
from evalkit.protocols import Described, Judge, Relation
from evalkit.reading.marks import without_marks
from evalkit.types import Answer, Passage, Sample

What = Literal["citations", "claims"]
Extractor = Literal["sentences", "judge"]


class Review(Described):
    """A callable: ``await review(sample, answer)`` returns the answer with the judge's verdicts.

    Without a judge the answer stays unchanged, and metrics over verdicts do not apply. ``extractor`` says
    what a claim is: a sentence, or an entry of the judge's list of claims.
    """

    def __init__(self, judge: Judge | None, extractor: Extractor = "sentences") -> None:
        check_option("claims", extractor, get_args(Extractor))
        self.judge, self._extractor = judge, extractor

    async def __call__(self, sample: Sample, answer: Answer, what: Sequence[What] = ("citations",)) -> Answer:
        """Ask the judge about the kinds in ``what``. A failed reply has no sentences and no verdicts.

        Raises ``ModelError`` where the judge cannot be reached: the sample is then an error and can be
        resumed.
        """
        if self.judge is None:
            return answer
        asked = _Asked(self.judge, sample, answer)
        try:
            verdicts = Verdicts(
                self.judge.name,
                citations=await self._citations(asked) if "citations" in what else UNSET,
                claims=await self._claims(asked) if "claims" in what else UNSET,
            )
        except JudgeError as problem:
            verdicts = Verdicts(self.judge.name, error=str(problem))
        finally:
            await asked.close()
        return noted(answer, Reviewed(verdicts))

    def describe(self) -> dict[str, Any]:
        """Return the judge's description, for the run's provenance."""
        return {} if self.judge is None else {**self.judge.describe(), "claims": self._extractor}

    async def _citations(self, asked: _Asked) -> list[CitedSentence] | None:
        if asked.passages is None:
            return None
        sentences = citations(asked.reply, len(asked.passages))
        return await asyncio.gather(*(_cited(asked, text, marks) for text, marks in sentences))

    async def _claims(self, asked: _Asked) -> Claims:
        reference = next((target for target in asked.sample.targets if target.strip()), "")
        texts = {"reply": asked.reply, "reference": reference}
        said, wanted = await asyncio.gather(*(self._extract(asked, text) for text in texts.values()))
        passages = [(passage,) for passage in asked.passages or ()]
        reply_, reference_ = ((Passage(name, text),) for name, text in texts.items())

        async def entailed(claims: list[str], texts: Sequence[tuple[Passage, ...]]) -> list[list[bool]]:
            return [await asyncio.gather(*(asked.entails(text, claim) for text in texts)) for claim in claims]

        return Claims(
            said,
            wanted,
            [row[0] for row in await entailed(said, [reference_])],
            [row[0] for row in await entailed(wanted, [reply_])],
            None if asked.passages is None else await entailed(said, passages),
            None if asked.passages is None else await entailed(wanted, passages),
        )

    async def _extract(self, asked: _Asked, text: str) -> list[str]:
        text = without_marks(text)
        if not text.strip():
            return []
        if self._extractor == "judge":
            return await asked.judge.claims(text, asked.sample)
        return split_sentences(text)


class _Asked:
    """The questions of one sample: a repeated question waits for the first verdict."""

    def __init__(self, judge: Judge, sample: Sample, answer: Answer) -> None:
        from evalkit.status import classify_answer

        self.judge, self.sample, self.passages = judge, sample, answer.passages
        self.reply = "" if classify_answer(answer).failed else answer.reply
        self._verdicts: dict[tuple[tuple[str, ...], str], asyncio.Future[Relation]] = {}

    async def relation(self, passages: tuple[Passage, ...], sentence: str) -> Relation:
        if not any(passage.text.strip() for passage in passages):
            return "neutral"
        key = (tuple(f"{passage.title}\n{passage.text}" for passage in passages), sentence)
        if key not in self._verdicts:
            asking = self.judge.relation(passages, sentence, self.sample)
            self._verdicts[key] = asyncio.ensure_future(asking)
        return await self._verdicts[key]

    async def close(self) -> None:
        """Cancel the questions that are still open after a failure."""
        for asking in self._verdicts.values():
            asking.cancel()
        await asyncio.gather(*self._verdicts.values(), return_exceptions=True)

    async def entails(self, passages: tuple[Passage, ...], sentence: str) -> bool:
        return await self.relation(passages, sentence) == "entails"


async def _cited(asked: _Asked, sentence: str, marks: list[int | None]) -> CitedSentence:
    """The verdicts on one sentence. A mark that points nowhere is neutral and not needed."""
    passages = asked.passages or ()
    real = [place for place in marks if place is not None]
    single = await asyncio.gather(*(asked.relation((passages[i],), sentence) for i in real))
    alone = dict(zip(real, single, strict=True))

    async def support(places: list[int]) -> Support:
        together = bool(places) and await asked.entails(tuple(passages[i] for i in places), sentence)

        async def needed(place: int) -> bool:
            others = tuple(passages[i] for i in places if i != place)
            return alone[place] == "entails" or not others or not await asked.entails(others, sentence)

        flags = await asyncio.gather(*map(needed, places)) if together else [False] * len(places)
        return Support(together, list(flags))

    whole = await support(real)
    needs = dict(zip(real, whole.needed, strict=True))
    return CitedSentence(
        sentence,
        cited=marks,
        alone=["neutral" if place is None else alone[place] for place in marks],
        together=whole.together,
        needed=[place is not None and needs[place] for place in marks],
        first_three=await support(real[:3]) if len(real) > 3 else None,
    )

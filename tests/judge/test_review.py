"""What a judge is asked: each question once, nothing about a reply that is no answer."""

import asyncio
from collections import Counter

import pytest

from evalkit.errors import JudgeError, ServerFailed
from evalkit.judge.review import Review
from evalkit.metrics import alce, biogen, ragchecker
from evalkit.types import Answer, Passage, Response, Sample

SHOWN = (
    Passage("a", "Zinc shortens colds.", title="Trial A"),
    Passage("b", "Zinc is safe."),
    Passage("c", "Iron is inert."),
)
SAMPLE = Sample("s", "q", "Zinc shortens colds. Iron is inert.")


class WordJudge:
    """Entailed is a sentence whose words all stand in the passages; with "not", it contradicts them."""

    name = "words"

    def __init__(self, fault=None):
        self.asked, self.fault = Counter(), fault

    async def relation(self, passages, sentence, sample):
        self.asked[tuple(p.id for p in passages), sentence] += 1
        await asyncio.sleep(0)
        if self.fault:
            raise self.fault
        known = set(" ".join(f"{p.title} {p.text}" for p in passages).lower().replace(".", "").split())
        words = set(sentence.lower().replace(".", "").replace(",", "").split())
        if words <= known:
            return "entails"
        return "contradicts" if words - {"not"} <= known else "neutral"

    async def claims(self, text, sample):
        return [part.strip() for part in text.rstrip(".").split(",")]

    def describe(self):
        return {"judge": self.name}


async def verdicts(reply, judge=None, what=("citations",), **review):
    answer = Answer(text=reply, passages=SHOWN)
    return await Review(judge or WordJudge(), **review)(SAMPLE, answer, what)


async def test_verdicts_on_citations():
    answer = await verdicts(
        "Zinc shortens colds [1][3]. Zinc is not safe [2]. Zinc shortens colds, is safe [1, 2, 3]. "
        "Iron is [9]."
    )
    found = answer.metadata["judged"]["citations"]
    assert [s["cited"] for s in found] == [[0, 2], [1], [0, 1, 2], [None]]
    assert [s["alone"] for s in found] == [
        ["entails", "neutral"],
        ["contradicts"],
        ["neutral", "neutral", "neutral"],
        ["neutral"],
    ]
    assert [s["together"] for s in found] == [True, False, True, False]
    assert [s["needed"] for s in found] == [[True, False], [False], [True, True, False], [False]]
    # by hand: 2 of 4 sentences entailed, 1 + 2 citations needed of 6; of all 7, 1 supports, 1 contradicts
    scores = [
        metric(SAMPLE, answer)
        for metric in (alce("recall"), alce("precision"), biogen("support"), biogen("contradict"))
    ]
    assert scores == pytest.approx([2 / 4, 3 / 6, 1 / 7, 1 / 7])


async def test_verdicts_on_claims():
    answer = await verdicts("Zinc shortens colds. Zinc cures. Zinc is safe.", what=["claims"])
    found = answer.metadata["judged"]["claims"]
    assert found["reply"] == ["Zinc shortens colds.", "Zinc cures.", "Zinc is safe."]
    assert found["reply_by_reference"] == [True, False, False]
    assert found["reference_by_reply"] == [True, False]
    assert found["reply_by_passages"] == [[True, False, False], [False] * 3, [False, True, False]]
    assert found["reference_by_passages"] == [[True, False, False], [False, False, True]]
    assert ragchecker("hallucination")(SAMPLE, answer) == pytest.approx(1 / 3)
    listed = await verdicts("Zinc shortens colds, zinc is safe.", what=["claims"], extractor="judge")
    assert listed.metadata["judged"]["claims"]["reply"] == ["Zinc shortens colds", "zinc is safe"]


async def test_each_question_is_asked_once():
    judge = WordJudge()
    await verdicts(
        "Zinc shortens colds [1]. Zinc shortens colds [1]. Zinc is safe [1][2].",
        judge,
        ("citations", "claims"),
    )
    assert set(judge.asked.values()) == {1}
    assert judge.asked[("a",), "Zinc shortens colds."] == 1


@pytest.mark.parametrize(
    "answer",
    [
        Answer(text="", passages=SHOWN),
        Answer(Response(text="Zinc shortens colds [1]. And", finish_reason="length"), passages=SHOWN),
        Answer(text="I'm sorry, but I cannot help with that.", passages=SHOWN),
    ],
)
async def test_a_reply_that_is_no_answer_costs_no_judgement_and_scores_worst(answer):
    judge = WordJudge()
    judged = await Review(judge)(SAMPLE, answer)
    assert not judge.asked
    assert judged.metadata["judged"]["citations"] == []
    assert alce()(SAMPLE, judged) == 0.0


async def test_without_judge_or_passages_nothing_is_asked():
    answer = Answer(text="Zinc shortens colds [1].", passages=SHOWN)
    assert await Review(None)(SAMPLE, answer) is answer
    closed = await Review(WordJudge())(SAMPLE, Answer(text="Zinc shortens colds."))
    assert closed.metadata["judged"]["citations"] is None


async def test_a_word_that_cannot_be_read_is_recorded_and_a_failed_call_is_raised():
    answer = await verdicts("Zinc shortens colds [1]. Zinc is safe [2].", WordJudge(JudgeError("hm")))
    assert answer.metadata["judged"] == {"judge": "words", "error": "hm"}
    with pytest.raises(ServerFailed, match="gone"):
        await verdicts("Zinc shortens colds [1]. Zinc is safe [2].", WordJudge(ServerFailed("gone")))

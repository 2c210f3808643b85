"""Which replies abstain: written by hand, with findings of medicine that sound alike."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from evalkit.metrics.abstaining import ABSTENTION, abstains, abstention
from evalkit.types import Answer, Sample, Status


@pytest.mark.parametrize(
    "text",
    [
        ABSTENTION,
        "The provided passages do not contain information about zinc and colds [1][2].",
        "None of the abstracts addresses this question. They are about asthma.",
        "The question cannot be answered from these passages.",
        "I cannot answer this from the context.",
        "No passage mentions the drug.",
        "I know of no such trial.",
        "I don't know.",
        "The abstracts provided don't\nspecifically address the effect of statins on gout.",
        "There is no information in the passages about velorim.",
        "The passages provide no information on velorim.",
        "The information is not available in the passages.",
        "The provided passages lack information on velorim.",
        "Velorim is not mentioned in any of the passages.",
        "I couldn't find this in the provided abstracts.",
        "Based on the passages, it is not possible to determine this.",
        "This question cannot be answered based on the given context.",
        "None of the abstracts is about velorim.",
        "The passages don't answer the question.",
        "The question can't be answered from these passages.",
        "The abstracts didn't address it.",
        "It can't be determined from the passages.",
        "I cannot answer this from the passages.",
        "I’m sorry, but the passages don’t contain the answer.",
        "The answer is not in the passages.",
        "The answer cannot be found in the provided documents.",
        "No relevant information was found in the provided passages.",
        "There is no mention of velorim in the abstracts.",
        "The context does not provide enough information to answer this question.",
        "The given context doesn't mention velorim.",
        "There is insufficient information in the passages to answer the question.",
        "There is not enough information in the provided context to answer.",
        "I do not have enough information to answer this question.",
        "Unfortunately, the passages do not address this.",
        "The provided abstracts do not specifically discuss velorim.",
        "The passages make no mention of velorim.",
        "The passages are silent on velorim.",
        "The passages say nothing about velorim.",
        "The passages are not about velorim.",
        "None of the passages mention velorim.",
        "None of these passages addresses the question.",
        "Neither passage mentions velorim.",
        "No passage mentions velorim.",
        "The documents contain no information about velorim.",
        "Nothing in the passages addresses velorim.",
        "I found no information on velorim in the passages.",
        "I was unable to find any information about velorim in the provided texts.",
        "Velorim is not discussed in the passages.",
        "Velorim does not appear in the passages.",
        "The passages given do not include any data on velorim.",
        "The question cannot be answered with the information provided.",
        "It is not possible to answer this question.",
        "I'm unable to answer this question based on the passages.",
        "Cannot be determined from the passages.",
        "Not mentioned in the passages.",
        "The passages fail to mention velorim.",
        "From the passages, I cannot tell whether velorim works.",
        "Based on the provided abstracts, I cannot determine whether velorim works.",
        "Based on the passages provided, there is no information about velorim.",
        "The abstracts you provided do not contain information on velorim.",
        "While the passages discuss asthma, they do not mention velorim.",
        "The passages discuss asthma, but do not address velorim.",
        "The passages focus on asthma and do not mention velorim.",
        "The passages do not answer the question, but they discuss asthma [1].",
        "**The passages do not answer the question.**",
        "Unanswerable.",
        "I do not know the answer.",
        "The provided literature does not address this question.",
        "The information provided does not answer the question.",
        "The provided information is insufficient to answer the question.",
        "The passages are insufficient to answer the question.",
        "The passages are unrelated to the question.",
        "The passages do not contain sufficient information to determine this.",
        "I am not able to answer the question from the passages.",
        "The retrieved documents do not cover velorim.",
        "The search results do not contain an answer.",
        "There is nothing about velorim in the passages.",
        "This is not addressed in the provided passages.",
        "The answer isn't given in the passages.",
        "I'm sorry. The passages do not answer the question.",
        "Sorry, I can't answer that based on the passages.",
        "The available passages do not permit an answer.",
        "What is velorim? The passages do not say.",
        "We cannot answer this question from the abstracts.",
        "The passages did not mention velorim.",
        "The passages aren't relevant to the question.",
        "The passages don’t have any information about velorim.",
        "No information about velorim is provided in the passages.",
        "No data on velorim are available in these abstracts.",
        "The context lacks any details about velorim.",
        "There isn't any information about velorim in the passages.",
        "The provided text doesn't say.",
        "I can't find any information about velorim in these passages.",
        "The evidence provided does not address velorim.",
        "These abstracts contain no data on velorim.",
        "The passages offer no answer.",
        "None of the provided sources discuss velorim.",
        "Not enough information.",
        "I cannot find the answer in the passages.",
        "The passages never mention velorim.",
        "It's not clear from the passages.",
        "It is unclear from the passages whether velorim works.",
        "There is no evidence in the passages about velorim.",
        "The passages contain no evidence about velorim.",
        "The provided passages [1][2] do not mention velorim.",
        "Passages 1-5 do not mention velorim.",
        "The passages do not appear to address velorim.",
        "The question is not answered by the passages.",
        "No answer can be given from the passages.",
        "Nowhere in the passages is velorim mentioned.",
        "The passages have no information on that.",
        "That information isn't in the passages.",
        "The provided passages do not, however, mention velorim.",
    ],
)
def test_replies_that_abstain(text: str) -> None:
    assert abstains(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Zinc shortened colds by one day [1].",
        "There is insufficient evidence to recommend zinc for colds [1].",
        "The evidence does not support the use of zinc [2].",
        "No trial showed a difference in mortality [1].",
        "Zinc helps [1]. The other passages do not address colds.",
        "Our results do not answer whether zinc helps children [1].",
        "I'm sorry, but I can't help with that.",
        "There is insufficient evidence that velorim works [1].",
        "Velorim does not reduce pain, the passages report [1].",
        "The trials provide no evidence of benefit [1].",
        "The passages report that velorim does not provide relief [1].",
        "The abstracts show that aspirin does not provide benefit [1].",
        "There is no evidence that velorim works [1].",
        "No trial reported deaths [1].",
        "The included studies did not report mortality [1].",
        "The evidence is insufficient to determine whether zinc works [1].",
        "It is unclear whether zinc helps [1].",
        "The study did not include children [1].",
        "The trial was unable to determine a difference [1].",
        "No studies reported adverse events [2].",
        "Zinc does not help, and the passages agree [1].",
        "Patients who cannot answer questions were excluded [1].",
        "The drug was not available in tablets [1].",
        "The passages do not directly compare them, but zinc shortened colds by two days [1].",
        "While the passages do not address children, zinc shortened colds in adults by two days [1].",
        "The mechanism is not known [1].",
        "Information about side effects was not reported by patients [2].",
        "The data do not support a benefit of zinc [1].",
        "According to the passages, zinc is not effective [1].",
        "The passages provide evidence that zinc does not work [1].",
        "No evidence of benefit was found [1].",
        "The reports mention no adverse events [1].",
        "The texts of the questionnaires did not cover pain [1].",
        "Yes.",
        "No.",
        "Current evidence is insufficient to recommend zinc [1].",
        "Zinc could not be shown to be effective [1].",
        "The effect cannot be determined with certainty because of small samples [1].",
        "There were no relevant differences [1].",
        "The sources of infection were not identified [1].",
        "Data on mortality are not available [1].",
        "The trials do not answer whether zinc helps in children [1].",
        "In the context of sepsis, steroids do not provide a benefit [1].",
        "Liquid materials do not contain latex [1].",
        "Food sources do not provide enough zinc [1].",
        "No evidence from the available studies supports a benefit [1].",
        "If you know of no such trial, say so.",
        "If no passage answers the question, reply only: The passages do not answer the question.",
    ],
)
def test_replies_that_do_not(text: str) -> None:
    assert not abstains(text)


def test_it_applies_where_nothing_answers() -> None:
    asked = Sample("s", "?", metadata={"answerable": False})
    assert abstention()(asked, Answer(text=ABSTENTION)) == 1
    assert abstention()(asked, Answer(text="Zinc helps [1].")) == 0
    assert abstention()(asked, Answer(text=""), Status.EMPTY) == 0
    assert abstention()(Sample("s", "?"), Answer(text=ABSTENTION)) is None
    assert abstention()(asked, Answer(text=ABSTENTION, metadata={"answerable": True})) is None


def test_no_conclusion_of_pubmedqa_is_taken_for_an_abstention(data: Path) -> None:
    with gzip.open(data / "pubmedqa" / "questions.jsonl.gz", "rt") as file:
        conclusions = [json.loads(line)["long_answer"] for line in file]
    assert len(conclusions) == 700
    assert [text for text in conclusions if abstains(text)] == []

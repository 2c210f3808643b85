"""K-QA: does a judge agree with physicians on whether an answer supports a claim?

Three physicians labelled each claim of systems' answers to patients' questions; the majority is the target.
The model gets the same prompt as when it judges other tasks. With ``-p judge=nli:MODEL`` that judge replaces
the model. Data: Manes et al. 2024, github.com/Itaymanes/K-QA, as one row a claim
(answer, claim, labels, majority) in ``nli_judgements.jsonl[.gz]`` of ``-p data=FOLDER``, or in the file
``-p data=FILE``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from evalkit import Answer, Info, Model, Passage, Review, Sample, Status, UsageError, file_rows, task
from evalkit.judge.llm import question
from evalkit.judge.verdicts import WORDS, read_relation
from evalkit.metrics import exact_match, macro_f1

RELATIONS = {"Entailment": "entails", "Contradiction": "contradicts", "Neutral": "neutral"}
WORD_OF = {relation: word for word, relation in WORDS.items()}


def samples(data: Path | None = None) -> Iterator[Sample]:
    if data is None:
        raise UsageError("judge_kqa reads a folder with nli_judgements.jsonl: -p data=FOLDER")
    for number, row in enumerate(file_rows(data, "nli_judgements", "answer", "claim", "labels", "majority")):
        agree = "all" if len(set(row["labels"])) == 1 else "most"
        yield Sample(
            str(number),
            row["claim"],
            RELATIONS[row["majority"]],
            cluster=row["question"],
            slices={"physicians": f"{agree} agree", "system": row["system"], "claim": row["claim_kind"]},
            metadata={"answer": row["answer"]},
        )


@task(
    samples,
    metrics=[exact_match(), macro_f1(["entails", "contradicts", "neutral"])],
    tags=["biomedical", "judge"],
    info=Info(
        "K-QA, Manes et al. 2024; github.com/Itaymanes/K-QA",
        licence="MIT",
        size="201 claims",
        ids="the row's number, from 0: '17'",
    ),
)
async def judge_kqa(sample: Sample, model: Model, review: Review) -> Answer:
    """Say whether an answer supports a claim, contradicts it, or neither."""
    shown = (Passage("answer", sample.metadata.get("answer", "")),)
    if review.judge is not None:
        return Answer(text=await review.judge.relation(shown, sample.input, sample))
    right = WORD_OF.get(sample.targets[0])
    response = await model.generate(question(shown, sample.input), reference=right)
    relation = read_relation(response.text)
    return Answer(response, text=relation or response.text, status=None if relation else Status.UNPARSED)

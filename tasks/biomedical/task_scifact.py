"""SciFact: is a scientific claim supported or contradicted by abstracts, and by which of their sentences?

Arms: ``retrieved`` shows the k best of 5,183 abstracts, ``oracle`` those that the claim cites (which may have
no evidence), ``agent`` those that the model finds by searches of its own. The reply names each abstract that
is evidence, with a label and the sentences of evidence. Scores: the claim's label, and SciFact's F1 over
abstracts and sentences. Data: Wadden et al. 2020 (claims CC BY 4.0, abstracts ODC-By 1.0), hub id
allenai/scifact, or local files by ``-p data=FOLDER``, also ``-p data=claims_train.jsonl`` beside its
``corpus.jsonl``. ``-p split=train`` is the training set; the test set is secret. The constant reply NOT
ENOUGH INFO is right for 112 of the 300 claims of the development set.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from evalkit import Answer, Info, Model, Retriever, Sample, Status, evidence, fixture, parametrize, task
from evalkit.metrics import accuracy, macro_f1, recall
from evalkit.rag.agent import SEARCHES, gather, needs_tools, searched

from . import scifact as reading
from .measures import SEARCH
from .pool import write_pool
from .scifact import LABELS, LEVELS, Abstract, scifact_f1

PROMPT = (Path(__file__).parent / "prompts" / "scifact.txt").read_text(encoding="utf-8")


@fixture
def abstracts(data: Path | None = None) -> dict[str, Abstract]:
    return reading.abstracts(data)


@fixture
def corpus(cache_dir: Path, abstracts: dict[str, Abstract]) -> Path:
    documents = (
        {"id": name, "title": it.title, "text": " ".join(sentence.strip() for sentence in it.sentences)}
        for name, it in abstracts.items()
    )
    return write_pool(documents, cache_dir / "corpora", "scifact")


@task(
    reading.claims,
    metrics=[accuracy(), macro_f1(LABELS), *map(scifact_f1, LEVELS), recall(1), *SEARCH],
    tags=["biomedical", "rag", "claims"],
    needs=needs_tools,
    info=Info(
        "SciFact, Wadden et al. 2020; hub id allenai/scifact",
        licence="CC BY 4.0, ODC-By 1.0",
        size="300 claims (development set), 809 (training set), 5,183 abstracts",
        ids="the claim's id: '263'",
    ),
)
@parametrize(arm=["retrieved", "oracle"])
async def scifact(
    sample: Sample,
    model: Model,
    retriever: Retriever,
    abstracts: dict[str, Abstract],
    arm: Literal["retrieved", "oracle", "agent"] = "retrieved",
    k: int = 3,
    searches: int = SEARCHES,
) -> Answer:
    """Verify a scientific claim with evidence from abstracts."""
    if arm == "agent":
        shown = await gather(sample, model, retriever, k=k, searches=searches)
    else:
        shown = await evidence(sample, retriever, arm, k=k)
    names = list(dict.fromkeys(passage.document for passage in shown.passages or ()))
    listed = "\n".join(abstracts[name].shown(number) for number, name in enumerate(names, 1))
    perfect = reading.written(sample.metadata["evidence"], names)
    response = await model.generate(
        PROMPT.format(abstracts=listed, claim=sample.input), max_tokens=200, reference=perfect
    )
    label, verdicts = reading.read(response.text, names)
    return Answer(
        response,
        passages=shown.passages,
        ranking=shown.ranking,
        choice=None if label is None else LABELS.index(label),
        status=None if label else Status.UNPARSED,
        metadata={**searched(shown), "verdicts": verdicts, "exact_answer": [label] if label else []},
    )

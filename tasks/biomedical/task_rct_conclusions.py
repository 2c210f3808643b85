"""Trial conclusions: write the conclusion of an abstract that is given, or has to be found by its title.

Arms: ``oracle`` gives the abstract without its conclusion, ``retrieved`` searches for it by the title,
``closed_book`` shows the title alone. Data: abstracts of Evidence Inference (DeYoung et al. 2020) as JSON
Lines by ``-p data=FOLDER``, or PubMed-RCT (Dernoncourt and Lee 2017), hub id armanc/pubmed-rct20k, where
the objective stands for the title.

Know the floor: to repeat the title (``--model baseline:echo``) scores ROUGE-1 28.9, ROUGE-2 10.7, ROUGE-L
21.6 on the 1,907 conclusions of Evidence Inference.
"""

from __future__ import annotations

from pathlib import Path

from evalkit import Answer, Info, Model, Retriever, Sample, cited, evidence, fixture, numbered, rag_arms, task
from evalkit.metrics import (
    abstained,
    abstention,
    citation_precision,
    copy_rate,
    length,
    mrr,
    ndcg,
    recall,
    rouge,
    where_answerable,
)
from evalkit.metrics.abstaining import ABSTENTION
from evalkit.rag.arms import Arm

from . import rct
from .pool import write_pool

PROMPTS = Path(__file__).parent / "prompts"
FROM_PASSAGES = (PROMPTS / "rct_passages.txt").read_text(encoding="utf-8")
FROM_MEMORY = (PROMPTS / "rct_memory.txt").read_text(encoding="utf-8")


@fixture
def corpus(cache_dir: Path, data: Path | None = None) -> Path:
    return write_pool(rct.documents(data), cache_dir / "corpora", "rct-abstracts")


@task(
    rct.trials,
    metrics=[
        *where_answerable(rouge("rouge1"), rouge("rouge2"), rouge("rougeL")),
        recall(1),
        recall(10),
        mrr(),
        ndcg(10),
        citation_precision(),
        abstention(),
        abstained(),
        copy_rate(),
        length(),
    ],
    tags=["biomedical", "rag", "summarization"],
    info=Info(
        "Evidence Inference, DeYoung et al. 2020; hub id armanc/pubmed-rct20k (PubMed-RCT)",
        licence="MIT; each article under its own",
        size="1,907 conclusions",
    ),
)
@rag_arms
async def rct_conclusions(
    sample: Sample,
    model: Model,
    retriever: Retriever,
    arm: Arm = "retrieved",
    k: int = 5,
    position: int | None = None,
) -> Answer:
    """Write the conclusion of a trial."""
    shown = await evidence(sample, retriever, arm, k=k, position=position)
    if shown.passages is None:
        return shown.answer(await model.generate(FROM_MEMORY.format(title=sample.input), max_tokens=256))
    prompt = FROM_PASSAGES.format(passages=numbered(shown.passages), title=sample.input)
    perfect = ABSTENTION if arm == "missing" else cited(sample.targets[0], shown.gold)
    return shown.answer(await model.generate(prompt, max_tokens=256, reference=perfect))

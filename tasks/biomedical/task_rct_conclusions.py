"""Trial conclusions: write the conclusion of an abstract that the prompt shows or a search by title finds.

Arms: ``oracle`` shows the abstract without its conclusion, ``retrieved`` searches for it by the title,
``closed_book`` shows the title alone. Data: abstracts of Evidence Inference (DeYoung et al. 2020) as JSON
Lines by ``-p data=FOLDER``, or PubMed-RCT (Dernoncourt and Lee 2017), hub id armanc/pubmed-rct20k, where
the objective replaces the title; ``-p split=train`` takes another of its splits.

The floor: a repetition of the title (``--model baseline:echo``) scores ROUGE-1 28.9, ROUGE-2 10.7, ROUGE-L
21.6 on the 1,907 conclusions of Evidence Inference.
"""

from __future__ import annotations

from pathlib import Path

from evalkit import Answer, Info, Model, Rag, Sample, fixture, rag_arms, task
from evalkit.metrics import citation_precision, copy_rate, length, recall, where_answerable

from . import rct
from .measures import ABSTAINING, CITATIONS, CLAIMS, ROUGE, SEARCH
from .pool import write_pool

PROMPTS = Path(__file__).parent / "prompts"
FROM_PASSAGES = (PROMPTS / "rct_passages.txt").read_text(encoding="utf-8")
FROM_MEMORY = (PROMPTS / "rct_memory.txt").read_text(encoding="utf-8")


@fixture
def corpus(cache_dir: Path, data: Path | None = None, split: str = "test") -> Path:
    return write_pool(rct.documents(data, split), cache_dir / "corpora", "rct-abstracts")


@task(
    rct.trials,
    metrics=[
        *where_answerable(*ROUGE),
        recall(1),
        *SEARCH,
        citation_precision(),
        *ABSTAINING,
        copy_rate(),
        length(),
        *where_answerable(*CITATIONS, *CLAIMS),
    ],
    tags=["biomedical", "rag", "summarization"],
    info=Info(
        "Evidence Inference, DeYoung et al. 2020; hub id armanc/pubmed-rct20k (PubMed-RCT)",
        licence="MIT; each article under its own",
        size="1,907 conclusions; PubMed-RCT 20k: 2,500 abstracts (test, validation), 15,000 (train)",
        ids="the row's id or the PMID: 'PMC101395', '24845963'",
    ),
)
@rag_arms
async def rct_conclusions(sample: Sample, model: Model, rag: Rag) -> Answer:
    """Write the conclusion of a trial."""
    return await rag.answer(memory=FROM_MEMORY, passages=FROM_PASSAGES, max_tokens=256)

"""BioASQ: biomedical questions with passages that experts marked, and a paragraph as the ideal answer.

``bioasq`` writes that paragraph, with citations; ``bioasq_exact`` gives the exact answer to yes/no, factoid
and list questions. ``-p unit=documents`` searches abstracts, not snippets. Data: a golden file of
the challenge by ``-p data=8B1_golden.json``, or its content as JSON Lines by ``-p data=FOLDER``; the hub's
small edition, enelpol/rag-mini-bioasq, has no exact answers.

The floor: 511 of 1,497 questions (editions 7 to 9) have an ideal answer that is part of a gold passage. A
copy of the first gold passage (``--model baseline:copy -p arm=oracle``) scores ROUGE-1 51.0, ROUGE-2 39.4
and ROUGE-L 47.2. ROUGE rewards copying here: compare it with ``copy_rate`` and the citations.
"""

from __future__ import annotations

from pathlib import Path

from evalkit import Answer, Info, Model, Rag, Sample, fixture, rag_arms, task

from . import bioasq as reading
from .bioasq import Unit
from .pool import write_pool

PROMPTS = Path(__file__).parent / "prompts"
ASK = {path.stem: path.read_text(encoding="utf-8") for path in PROMPTS.glob("bioasq_*.txt")}
SOURCE = Info(
    "BioASQ, Tsatsaronis et al. 2015, Krithara et al. 2023; hub id enelpol/rag-mini-bioasq",
    licence="CC BY 2.5",
    size="1,497 questions (500, 500 and 497 in the editions 7 to 9)",
    ids="the question's id: '5a6d5fe2b750ff4455000043'",
)


@fixture
def corpus(cache_dir: Path, data: Path | None = None, unit: Unit = "snippets") -> Path:
    return write_pool(reading.pool(data, unit), cache_dir / "corpora", f"bioasq-{unit}")


@task(reading.questions, metrics=reading.IDEAL, tags=["biomedical", "rag", "summarization"], info=SOURCE)
@rag_arms
async def bioasq(sample: Sample, model: Model, rag: Rag, k: int = 10) -> Answer:
    """Write the ideal answer to a biomedical question, with citations."""
    return await rag.answer(memory=ASK["bioasq_memory"], passages=ASK["bioasq_ideal"], max_tokens=300)


@task(reading.exact_questions, metrics=reading.EXACT, tags=["biomedical", "rag"], info=SOURCE)
@rag_arms
async def bioasq_exact(
    sample: Sample, model: Model, rag: Rag, arm: reading.ExactArm = "retrieved", k: int = 10
) -> Answer:
    """Answer a biomedical question with yes, no or names."""
    ask = ASK[f"bioasq_{sample.slices['type']}"]
    passages = ASK["bioasq_passages"] + ask
    return reading.read_exact(
        sample, await rag.answer(memory=ask, passages=passages, cite=False, max_tokens=300)
    )

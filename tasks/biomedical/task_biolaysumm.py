"""BioLaySumm: summarize a biomedical article for lay readers, from its abstract and retrieved sections.

The abstract is the query and the article's own sections are the pool. Arms: ``abstract`` has no sections,
``retrieved`` adds the k nearest sections (or passages of them: ``-p chunk_words=200``), ``article`` all of
them. ROUGE and readability are scored; for the shared task's other measures run ``evalkit rescore RUN
--metric "bertscore(truncate=True)" --metric "summac()"``. Data: PLOS and eLife (Goldsack et al. 2022), hub
ids BioLaySumm/BioLaySumm2025-PLOS and BioLaySumm/BioLaySumm2025-eLife, or ``SPLIT.jsonl[.gz]`` of the same
columns by ``-p data=FOLDER`` or ``FILE``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from evalkit import Answer, Info, Model, Retriever, Sample, fixture, numbered, parametrize, task
from evalkit.metrics import copy_rate, length, readability, rouge

from . import laysumm
from .laysumm import Journal
from .pool import write_pool

PROMPTS = Path(__file__).parent / "prompts"
PROMPT = (PROMPTS / "biolaysumm.txt").read_text(encoding="utf-8")
PASSAGES = (PROMPTS / "biolaysumm_passages.txt").read_text(encoding="utf-8")


@fixture
def corpus(
    cache_dir: Path, data: Path | None = None, journal: Journal = "eLife", split: str = "validation"
) -> Path:
    return write_pool(laysumm.pool(data, journal, split), cache_dir / "corpora", f"biolaysumm-{journal}")


def samples(
    data: Path | None = None, journal: Journal = "eLife", split: str = "validation"
) -> Iterator[Sample]:
    return (sample for sample, _ in laysumm.articles(data, journal, split))


@task(
    samples,
    metrics=[
        rouge("rouge1"),
        rouge("rouge2"),
        rouge("rougeLsum", sentences="split"),
        *map(readability, ("fkgl", "dcrs", "cli")),
        copy_rate(),
        copy_rate("input"),
        length(),
    ],
    tags=["biomedical", "rag", "summarization", "lay"],
    info=Info(
        "BioLaySumm, Goldsack et al. 2022; hub ids BioLaySumm/BioLaySumm2025-PLOS and -eLife",
        licence="CC BY 4.0 (articles)",
        size="241 articles of eLife, 1,376 of PLOS (validation); 4,346 and 24,773 (train)",
        ids="journal, split and row from 0: 'eLife-validation-17'",
    ),
)
@parametrize(arm=["abstract", "retrieved", "article"])
async def biolaysumm(
    sample: Sample,
    model: Model,
    retriever: Retriever,
    arm: Literal["abstract", "retrieved", "article"] = "retrieved",
    k: int = 3,
) -> Answer:
    """Summarize a biomedical article for people without a background in it."""
    shown = None
    if arm == "retrieved":
        shown = await laysumm.own_passages(sample, retriever, k)
    elif arm == "article":
        shown = await retriever.get(laysumm.names(sample))
    told = "" if shown is None else PASSAGES.format(passages=numbered(shown))
    prompt = PROMPT.format(title=sample.metadata["title"], abstract=sample.input, passages=told)
    response = await model.generate(prompt, max_tokens=700)
    return Answer(response, passages=None if shown is None else tuple(shown), ranking=None)

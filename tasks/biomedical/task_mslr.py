"""MSLR: write the conclusion of a systematic review from the abstracts of all studies that it includes.

``-p subset=ms2`` (the default; a review's background is its question) or ``cochrane`` (without background).
Arms: ``oracle`` shows the review's own studies, ``retrieved`` searches the studies of all reviews by its
background; in ``agent`` the model searches, ``studies // searches`` studies each time. At most ``-p
studies=25`` are shown; each answer records how many were left out.
For ΔEI, the measure of MS², run ``evalkit rescore RUN --metric "evidence_direction('MODEL')"``. Data: DeYoung
et al. 2021 and Wallace et al. 2021 (Apache-2.0), hub id allenai/mslr2022, whose test targets are secret; or
``SPLIT.jsonl[.gz]`` of the same columns by ``-p data=FOLDER`` or ``FILE``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from evalkit import Answer, Info, Model, Retriever, Sample, SetupError, fixture, numbered, parametrize, task
from evalkit.metrics import copy_rate, length
from evalkit.rag.agent import SEARCHES, gather, needs_tools, searched, share

from . import mslr_data
from .measures import ROUGE, SEARCH
from .mslr_data import Subset
from .pool import write_pool

PROMPT = (Path(__file__).parent / "prompts" / "mslr.txt").read_text(encoding="utf-8")


@fixture
def corpus(
    cache_dir: Path, data: Path | None = None, subset: Subset = "ms2", split: str = "validation"
) -> Path:
    return write_pool(mslr_data.studies(data, subset, split), cache_dir / "corpora", f"mslr-{subset}")


@task(
    mslr_data.reviews,
    metrics=[*ROUGE, *SEARCH, copy_rate(), length()],
    tags=["biomedical", "rag", "summarization", "multi-document"],
    needs=needs_tools,
    info=Info(
        "MS², DeYoung et al. 2021; Cochrane, Wallace et al. 2021; hub id allenai/mslr2022",
        licence="Apache-2.0",
        size="2,021 reviews of MS², 470 of Cochrane (validation); 14,188 and 3,752 (train)",
        ids="the review's id: '30760312'",
    ),
)
@parametrize(arm=["oracle"])
async def mslr(
    sample: Sample,
    model: Model,
    retriever: Retriever,
    arm: Literal["oracle", "retrieved", "agent"] = "oracle",
    studies: int = 25,
    searches: int = SEARCHES,
) -> Answer:
    """Write the conclusion of a systematic review from the abstracts of its studies."""
    if arm != "oracle" and not sample.input:
        raise SetupError(f"mslr[arm={arm}] searches by a review's background: -p subset=ms2")
    included, facts = list(sample.relevance), {}
    if arm == "retrieved":
        shown = await retriever.search(sample.input, studies)
    elif arm == "agent":
        found = await gather(sample, model, retriever, k=share(studies, searches), searches=searches)
        shown, facts = found.passages or (), searched(found)
    else:
        shown = await retriever.get(included[:studies])
    prompt = PROMPT.format(studies=numbered(shown), background=sample.input or "none given")
    response = await model.generate(prompt, max_tokens=400)
    ranking = tuple(dict.fromkeys(p.document for p in shown)) if arm != "oracle" else None
    left_out = len(included) - len({p.document for p in shown} & set(included))
    metadata = {**facts, "studies_left_out": left_out}
    return Answer(response, passages=tuple(shown), ranking=ranking, metadata=metadata)

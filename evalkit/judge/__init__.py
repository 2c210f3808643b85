"""Judges: does a sentence follow from passages?

A judge is asked once per question and sample, while the sample is answered (``Review``); what it said is kept
in ``answer.metadata["judged"]``. The metrics of ``evalkit.metrics.judged`` count what is there, so that
scoring, and scoring again, need no judge.

    nli:cross-encoder/nli-deberta-v3-base      a classifier of the Hugging Face hub, or a local folder
    llm:openai:NAME@http://HOST:PORT           a model by its spec, asked with the prompts in this folder
    llm-json:openai:NAME@http://HOST:PORT      the same, its verdicts held to a JSON schema
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from evalkit.errors import UsageError, did_you_mean
from evalkit.protocols import Judge as Judge


@asynccontextmanager
async def open_judge(spec: str, home: Path) -> AsyncIterator[Judge]:
    """The judge of that spec, ready to be asked; what a model says is cached under ``home``.

    Raises ``UsageError`` for another kind of judge, ``SetupError`` where weights or server are not there.
    """
    kind, _, name = spec.partition(":")
    if kind == "nli" and name:
        from evalkit.judge.nli import NliJudge

        yield await NliJudge.load(name)
    elif kind in ("llm", "llm-json") and name:
        from evalkit.judge.llm import connected

        async with connected(name, home / "judgements.db", bound=kind == "llm-json") as judge:
            yield judge
    else:
        raise UsageError(
            f"judge {spec!r}: give nli:MODEL, llm:SPEC or llm-json:SPEC."
            f"{did_you_mean(kind, ('nli', 'llm', 'llm-json'))} "
            "For example nli:cross-encoder/nli-deberta-v3-base, llm:openai:NAME@http://HOST:PORT"
        )

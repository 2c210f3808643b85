"""Judges decide whether a sentence follows from passages.

A judge gets each question of a sample once, while the sample is answered (``Review``); its verdicts are kept
in ``answer.metadata["judged"]``. The metrics of ``evalkit.metrics.judged`` count these verdicts, so that
scoring, and scoring again, need no judge.

    nli:cross-encoder/nli-deberta-v3-base      a classifier of the Hugging Face hub, or a local folder
    llm:openai:NAME@http://HOST:PORT           a model by its spec, asked with the prompts in this folder
    llm-json:openai:NAME@http://HOST:PORT      the same; a JSON schema constrains the verdicts
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from evalkit.errors import UsageError, did_you_mean
from evalkit.protocols import Judge as Judge


@asynccontextmanager
async def open_judge(spec: str, home: Path) -> AsyncIterator[Judge]:
    """Open the judge of a spec; the replies of a model are cached under ``home``.

    Raises ``UsageError`` for an unknown kind of judge, ``SetupError`` where weights or the server are
    missing.
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

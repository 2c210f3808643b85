"""The arm ``agent`` against one search: the gain by itself, and at about equal tokens.

An agent reads and writes more than a model that is shown the result of one search, so that its gain at the
same ``k`` may be bought by tokens alone. The fair comparison is with a run of the arm ``retrieved`` whose
``k`` takes about as many tokens. Tokens are those of all prompts and completions as the server counted them,
also of the parts that it read from its cache: a measure of work, not of price.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from evalkit.compare.paired import RunScores
from evalkit.compare.rag.comparison import Comparison, command, label, sort_key
from evalkit.compare.rag.records import AgentGain, MissingRun
from evalkit.store.records import MetricInfo, Run

if TYPE_CHECKING:
    from evalkit.store.store import Store

EQUAL = 0.25
"""Two runs have about equal tokens if these differ by no more than this share of the agent's."""


def tokens_per_sample(run: Run) -> float:
    """Return the mean tokens of prompts and completions of a sample."""
    return (run.tokens.prompt + run.tokens.completion) / max(run.n, 1)


def gains(store: Store, compared: Comparison, info: MetricInfo) -> Iterator[AgentGain]:
    """Yield the gain of each run of the arm ``agent`` over each of the arm ``retrieved``."""
    runs = {name: sorted(compared.sweep(name), key=sort_key) for name in ("agent", "retrieved")}
    if not (runs["agent"] and runs["retrieved"]):
        return
    scores = {run.id: RunScores(store, run, {info.name}) for name in runs for run in runs[name]}
    for agent in runs["agent"]:
        for retrieved in runs["retrieved"]:
            if pairs := scores[agent.id].pairs(scores[retrieved.id], info.name):
                mine, theirs = tokens_per_sample(agent), tokens_per_sample(retrieved)
                yield AgentGain(
                    label(agent),
                    label(retrieved),
                    mine,
                    theirs,
                    *pairs.means,
                    pairs.difference(info),
                    equal_tokens=abs(theirs - mine) <= EQUAL * mine,
                )


def missing_run(compared: Comparison) -> Iterator[MissingRun]:
    """Yield the run of the arm ``retrieved`` that has about the agent's tokens, if there is none yet."""
    agent, retrieved = compared.arm("agent"), compared.sweep("retrieved")
    if agent is None or not retrieved:
        return
    mine = tokens_per_sample(agent)
    if any(abs(tokens_per_sample(run) - mine) <= EQUAL * mine for run in retrieved):
        return
    k = _k_for(mine, compared)
    if k is not None and k not in {run.spec.params.get("k") for run in retrieved}:
        what = f"the gain of the agent at equal tokens, about {mine:,.0f} a sample"
        yield MissingRun(what, command(retrieved[0], arm=["retrieved"], k=[k]))


def _k_for(tokens: float, compared: Comparison) -> int | None:
    """Return the ``k`` at which one search takes about that many tokens; None where no run tells it.

    A prompt grows by the same number of tokens with each passage.
    """
    runs = [run for run in compared.sweep("retrieved") if run.spec.params.get("k")]
    points = sorted((int(run.spec.params["k"]), tokens_per_sample(run)) for run in runs)
    if (closed_book := compared.arm("closed_book")) is not None:
        points.insert(0, (0, tokens_per_sample(closed_book)))
    if len(points) < 2:
        return None
    (low, least), (high, most) = points[0], points[-1]
    if high == low or most <= least:
        return None
    return max(1, round(low + (tokens - least) * (high - low) / (most - least)))

"""What a run's provenance records of its calls, over all its sessions: judge, cache, prices, secrets."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from evalkit.models.middleware.call_stats import OF_JUDGE, CacheUse, CallStats, JobProgress
from evalkit.store.records import Run, RunSpec


def call_facts(earlier: Run, traffic: CallStats) -> dict[str, Any]:
    """Return the facts of all sessions: of ``earlier``, the run before this session, and of ``traffic``."""
    before = earlier.spec.provenance
    facts = {
        "judged": _sum(before.get("judged", {}), traffic.judged),
        "notes": _sum(before.get("notes", {}), traffic.notes),
        "secrets_masked": _sum(before.get("secrets_masked", {}), traffic.secrets),
        "cached": _cached(before.get("cached", {}), traffic.cached),
        "batch_jobs": before.get("batch_jobs", {}) | {job: _job(p) for job, p in traffic.jobs.items()},
        "prices": before.get("prices", {}) | {name: p.facts for name, p in traffic.prices.items()},
        "spent": _sum(before.get("spent", {}), traffic.spent),
    }
    return {name: values for name, values in facts.items() if values}


def _sum(before: dict[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    return {name: before.get(name, 0) + now.get(name, 0) for name in {**before, **now}}


def _job(progress: JobProgress) -> dict[str, Any]:
    return {"lines": progress.lines, "state": progress.state, "ended": progress.ended}


def _cached(before: dict[str, Any], now: dict[str, CacheUse]) -> dict[str, Any]:
    """Return the use of the cache by model, as plain values."""
    uses = msgspec.convert(before, dict[str, CacheUse])
    for model, use in now.items():
        uses[model] = uses.get(model, CacheUse()).with_later(use)
    return {model: msgspec.to_builtins(use) for model, use in uses.items() if use.answers or use.check}


def left_out_note(spec: RunSpec) -> str:
    """Return in one line what was left out of the requests of a run, and why; empty if nothing was."""
    if not (refused := spec.left_out):
        return ""
    words = "; ".join(dict.fromkeys(why.rstrip(".") for why in refused.values()))
    return f"sent without {', '.join(refused)}, which the server does not take ({words})"


def reply_notes(run: Run) -> Iterator[str]:
    """Yield what a reader of the scores should know of a run's requests and replies, a line each."""
    if note := left_out_note(run.spec):
        yield note
    for note, n in run.spec.provenance.get("notes", {}).items():
        if note.startswith(OF_JUDGE):
            yield f"{n:,} {'reply' if n == 1 else 'replies'} {note}"
        else:
            yield f"{n:,} of {run.calls or run.n:,} replies: {note}"


def call_notes(run: Run) -> Iterator[str]:
    """Yield what a reader of a run's scores must know of its calls, a sentence or two each."""
    facts = run.spec.provenance
    started = facts.get("model", {}).get("server", {}).get("started") or 0
    for model, use in msgspec.convert(facts.get("cached", {}), dict[str, CacheUse]).items():
        if use.check == "changed":
            yield (
                f"the cached answers of {model} (from {moment(use.found)} on) were not used: {use.why}. "
                "It has other weights or settings than then, so everything was asked again"
            )
        elif use.check == "unsure" and use.oldest:
            before = f", before this server started ({moment(started)})" if use.oldest < started else ""
            share = f"all {use.answers:,}" if use.answers == run.calls else f"{use.answers:,}"
            yield (
                f"{share} answers of {model} are from the cache, the oldest from {moment(use.oldest)}"
                f"{before}; whether the server still has the same weights is not known: {use.why}. "
                "--cache refresh asks again"
            )
    waiting = [job for job, state in facts.get("batch_jobs", {}).items() if not state["ended"]]
    if waiting and not run.is_complete:
        number = "1 batch job goes" if len(waiting) == 1 else f"{len(waiting)} batch jobs go"
        yield (
            f"{number} on at the vendor: {', '.join(waiting)}. evalkit resume {run.id} takes the replies "
            "and pays nothing twice; evalkit batches cancel JOB cancels a job"
        )
    if restarted := facts.get("restarted"):
        yield (
            f"the server of run {run.id} was started again at {moment(restarted)}, after the run began: "
            "if it has other weights since then, the scores mix two models"
        )
    for name, n in facts.get("secrets_masked", {}).items():
        replies = "1 reply repeats" if n == 1 else f"{n:,} replies repeat"
        yield (
            f"{replies} the secret in {name}. It is masked in store, cache and exports. The model or its "
            "server shows the key to whoever asks: replace the key"
        )


def moment(seconds: float | None) -> str:
    """Return epoch seconds as date and time on this machine."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds)) if seconds else "an unknown time"

"""The duration of a run by the order of its requests: ``python -m benchmarks.schedule``, about three minutes.

Simulated servers in virtual time (``benchmarks/simserver``) are driven by the scheduler of real runs, and by
the orders of other harnesses. Prints Markdown tables of medians over seeds; ``--write`` puts them into
docs/scheduling.md between its markers.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

from benchmarks.pages import write_part
from benchmarks.simserver.clairvoyant import Servers, clairvoyant, floor
from benchmarks.simserver.drive import Result, in_order, known, scheduled
from benchmarks.simserver.server import Server, Speed
from benchmarks.simserver.work import Item, few_shot, judged, pictures, rag
from evalkit.models.schedule.scheduler import Scheduler

SLOTS, WINDOW = 64, 2_048
FAST, SLOW = Speed(), Speed(prefill=8_000, step_s=0.02, step_each_s=0.00028)


def _text(item: Item) -> str:
    """Return the prompt as text; a picture as its hash."""
    content = item.request.messages[0].content
    return content if isinstance(content, str) else " ".join(str(part) for part in content)


def methods(items: Sequence[Item], servers: Servers) -> dict[str, Callable[[], Result]]:
    """Return every order of the comparison."""

    def fixed(order: Sequence[Item]) -> Callable[[], Result]:
        return lambda: in_order(order, servers(), SLOTS)

    def ours(window: int, length: str | None) -> Callable[[], Result]:
        prior = known(items, length) if length else None
        return lambda: scheduled(items, servers(), SLOTS, window=window, prior=prior)

    return {
        "evalkit, first run": ours(WINDOW, None),
        "evalkit, lengths of an earlier run": ours(WINDOW, "earlier"),
        "the same with half the window, first run": ours(WINDOW // 2, None),
        "the same with half the window, earlier run": ours(WINDOW // 2, "earlier"),
        "shuffled, first come first served": fixed(items),
        "longest prompt first (lm-eval)": fixed(
            sorted(items, key=lambda i: -sum(tokens for _, tokens in i.pieces))
        ),
        "sorted by prompt text (lmms-eval)": fixed(sorted(items, key=_text)),
    }


def table(work: Callable[[int], list[Item]], servers: Servers, seeds: Sequence[int], search: int) -> str:
    """Return a Markdown table: medians over seeds of the makespan / the reference's, and of the hit rate."""
    ratios: dict[str, list[float]] = {}
    hits: dict[str, list[float]] = {}
    for seed in seeds:
        items = work(seed)
        bound = floor(items, servers, SLOTS)
        one = len(servers()) == 1 and items[0].then is None
        best = clairvoyant(items, servers, SLOTS, search=search) if one else None
        results = {name: run() for name, run in methods(items, servers).items()}
        if best is not None:
            results = {"clairvoyant": best, **results}
        reference = best.makespan if best is not None else bound
        for name, result in {**results, "no schedule is faster": Result(bound, float("nan"))}.items():
            ratios.setdefault(name, []).append(result.makespan / reference)
            hits.setdefault(name, []).append(result.hits)
    of = "clairvoyant" if one else "the bound"
    lines = [f"| order | makespan, × {of} | worst seed | prompt tokens from the cache |", "|---|---|---|---|"]
    for name, seen in ratios.items():
        rate = statistics.median(hits[name])
        shown = "" if rate != rate else f"{rate:.2f}"
        lines.append(f"| {name} | {statistics.median(seen):.3f} | {max(seen):.3f} | {shown} |")
    return "\n".join(lines)


def concurrency(seeds: Sequence[int]) -> str:
    """Return the table of the cost of finding the number of slots: 8,000 requests, one server."""
    lines = ["| slots of the server | begins with 8 | begins with 64 |", "|---|---|---|"]
    for slots in (16, 64, 200):
        row = []
        for start in (8, 64):
            ratios = []
            for seed in seeds:
                items = rag(seed, 8_000)
                known_slots = scheduled(items, [Server(slots=slots)], slots)
                found = scheduled(items, [Server(slots=slots)], start, max_per_endpoint=256)
                ratios.append(found.makespan / known_slots.makespan)
            row.append(f"{statistics.median(ratios):.3f}")
        lines.append(f"| {slots} | {row[0]} | {row[1]} |")
    return "\n".join(lines)


def overhead(n: int = 20_000) -> str:
    """Return the scheduler's own CPU time per request, as a sentence."""
    requests = [item.request for item in rag(1, n)]
    schedule, under_way = Scheduler(per_endpoint=SLOTS), []
    start = time.process_time()
    for at in range(n + WINDOW):
        if at < n:
            schedule.submit(requests[at])
        if at >= WINDOW:
            while (queued := schedule.next(at)) is not None:
                under_way.append(queued)
            schedule.finish(under_way.pop(0), at, tokens=100)
    micros = 1e6 * (time.process_time() - start) / n
    return (
        f"The scheduler's own work: {micros:.0f} µs of CPU a request ({n:,} requests of 1,560 tokens, "
        f"{WINDOW:,} waiting)."
    )


def report(seeds: Sequence[int], search: int) -> str:
    """Return all tables."""

    def one(cache: int) -> Servers:
        return lambda: [Server(slots=SLOTS, cache=cache)]

    def two() -> list[Server]:
        return [Server(slots=SLOTS, speed=FAST), Server(slots=SLOTS, speed=SLOW)]

    cases: list[tuple[str, Callable[[int], list[Item]], Servers]] = [
        ("RAG-like, tight cache (24,000 tokens)", rag, one(24_000)),
        ("RAG-like, ample cache (200,000 tokens)", rag, one(200_000)),
        ("Few-shot multiple choice, cache of 8,000 tokens", few_shot, one(8_000)),
        ("Questions on pictures, cache of 24,000 tokens", pictures, one(24_000)),
        ("RAG-like, each reply judged by the same server, 24,000 tokens", judged, one(24_000)),
        ("RAG-like, two endpoints, one 2.5 times as fast, 24,000 tokens each", rag, two),
    ]
    parts = [f"**{title}**\n\n{table(work, servers, seeds, search)}" for title, work, servers in cases]
    title = (
        "Concurrency that has to be found: makespan, × that with the slots known; RAG-like, 8,000 requests"
    )
    return "\n\n".join(
        [f"Medians of {len(seeds)} seeds.", *parts, f"**{title}**\n\n{concurrency(seeds[:3])}", overhead()]
    )


def main() -> None:
    """Print the tables; with ``--write`` put them into the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--search", type=int, default=60, help="steps of the clairvoyant's local search")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    text = report(range(1, options.seeds + 1), options.search)
    print(text)
    if options.write:
        write_part("schedule", text, "scheduling.md")


if __name__ == "__main__":
    main()

"""Building and searching indexes of 10⁴, 10⁵ and 10⁶ passages: ``python -m benchmarks.retrieval_scale``.

Fictional abstracts are generated, embedded and indexed at 10⁴; BM25 at 10⁴ and 10⁵. To embed 10⁶ texts takes
hours on two cores, so the FAISS part uses generated vectors at all sizes: unit vectors of 384 dimensions
around a thousand centres in 32 latent dimensions, about as hard for an index as sentence embeddings.
Each case is a separate process, whose peak of private memory (without mapped files) is sampled. Where other
work shares the cores, set ``OMP_WAIT_POLICY=passive``, so that waiting threads do not use the CPU.
``--write`` puts the tables into docs/benchmarks.md between its markers.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.pages import write_part
from evalkit.util import progress

DIMENSION, LATENT, BLOCK, K = 384, 32, 16_384, 10
BATCHES = (1, 16, 256)
CASES = {
    10_000: ("flat", "hnsw", "ivf"),
    100_000: ("flat", "sq8", "hnsw", "ivf", "ivfpq", "opq"),
    1_000_000: ("flat", "sq8", "ivf", "ivfpq", "opq"),
}
DRUGS = ("velorim", "taxadine", "oprelor", "mirazole", "cendipine", "lurafen", "dorastat", "pexolol")
ILLS = ("gout", "migraine", "asthma", "sepsis", "psoriasis", "anaemia", "angina", "eczema", "colitis")


class Vectors:
    """Unit vectors around a thousand centres in 32 latent dimensions, turned into 384, with a little noise.

    They are generated again for every use, block by block, so that memory holds one block only.
    """

    similarity = "cosine"

    def __init__(self, n: int) -> None:
        self.n = n
        dice = np.random.default_rng(0)
        self._centres = dice.standard_normal((1_000, LATENT), np.float32)
        self._turn = dice.standard_normal((LATENT, DIMENSION), np.float32)

    def block(self, number: int, size: int = BLOCK) -> np.ndarray:
        """Return the vectors of one block."""
        dice = np.random.default_rng(number + 1)
        latent = self._centres[dice.integers(1_000, size=size)]
        latent = latent + 0.7 * dice.standard_normal((size, LATENT), np.float32)
        made = latent @ self._turn + dice.standard_normal((size, DIMENSION), np.float32)
        return made / np.linalg.norm(made, axis=1, keepdims=True)

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield all vectors, in order."""
        for number in range(-(-self.n // BLOCK)):
            yield self.block(number)[: self.n - number * BLOCK]

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Return a part of the vectors."""
        parts = [self.block(int(n))[rows[rows // BLOCK == n] % BLOCK] for n in np.unique(rows // BLOCK)]
        return np.concatenate(parts)


def abstracts(n: int, path: Path) -> Path:
    """Write ``n`` fictional abstracts of about 120 words as a corpus."""
    dice = random.Random(0)
    with path.open("w", encoding="utf-8") as file:
        for number in range(n):
            drug, ill, other = dice.choice(DRUGS), dice.choice(ILLS), dice.choice(DRUGS)
            findings = " ".join(
                f"In group {g}, {dice.randint(5, 400)} of {dice.randint(400, 900)} patients with {ill} "
                f"improved on {dice.choice((drug, other))} within {dice.randint(2, 52)} weeks."
                for g in range(7)
            )
            row = {"id": str(number), "title": f"Trial {number} of {drug} in {ill}", "text": findings}
            file.write(json.dumps(row) + "\n")
    return path


@contextmanager
def peak() -> Iterator[dict[str, float]]:
    """Sample private memory while the block runs; ``GiB`` is the peak."""
    found, done = {"GiB": 0.0}, threading.Event()

    def watch() -> None:
        while not done.wait(0.05):
            status = Path("/proc/self/status").read_text(encoding="ascii")
            now = int(status.partition("RssAnon:")[2].split()[0]) / 2**20
            found["GiB"] = max(found["GiB"], now)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        done.set()
        thread.join()


def seconds(work: Callable[[], Any]) -> tuple[float, float]:
    """Return the wall seconds and the CPU seconds (all cores) of one call."""
    clock, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - clock, time.process_time() - cpu


def side_by_side(*ways: Callable[[], Any]) -> list[tuple[float, float]]:
    """Call the functions in turn and return the medians of wall seconds and CPU seconds of each.

    Other work on the machine disturbs CPU seconds less.
    """
    for way in ways:
        way()
    times: list[list[tuple[float, float]]] = [[] for _ in ways]
    start = time.perf_counter()
    while (spent := time.perf_counter() - start) < 5 or (len(times[0]) < 5 and spent < 30):
        for way, found in zip(ways, times, strict=True):
            found.append(seconds(way))
    return [tuple(map(statistics.median, zip(*found, strict=True))) for found in times]  # type: ignore[misc]


def whole(folder: Path, facts: dict[str, Any]) -> Any:
    """Return the index as one plain FAISS index in memory, without evalkit."""
    import faiss

    files = sorted(folder.glob("vectors-*.faiss"))
    index, *others = [faiss.read_index(str(file)) for file in files]
    for other in others:
        if faiss.try_extract_index_ivf(index) is None:
            index.merge_from(other, 0)
        else:
            faiss.merge_into(index, other, True)
    for effort in {"nprobe", "efSearch"} & set(facts):
        faiss.ParameterSpace().set_index_parameter(index, effort, facts[effort])
    return index


def vectors_case(n: int, name: str) -> dict[str, Any]:
    """Build and search one index of generated vectors."""
    import faiss
    from evalkit_retrievers.index import faiss_shards

    source = Vectors(n)
    queries = source.block(10**6, 1_024)
    with tempfile.TemporaryDirectory() as place, peak() as memory:
        folder = Path(place)
        facts = faiss_shards.build(name, source, folder, progress.Silent())
        building = memory["GiB"]
        index = faiss_shards.ShardedIndex(folder, facts, "cosine")
        mapped, direct = index.shards.index, whole(folder, facts)
        rates = {}
        for batch in BATCHES:
            part = queries[:batch]
            rates[batch] = side_by_side(
                partial(index.nearest, part, K),
                partial(mapped.search, part, K),
                partial(direct.search, part, K),
            )
    return {
        "n": n,
        "name": name,
        **facts,
        "GiB": building,
        "rates": rates,
        "threads": faiss.omp_get_max_threads(),
    }


def text_case(n: int, kind: str) -> dict[str, Any]:
    """Index fictional abstracts by a retriever and search it, texts of the passages included."""
    from evalkit.rag.retrievers import retriever_class

    questions = [f"{drug} for {ill} in group {g}" for drug in DRUGS for ill in ILLS for g in range(3)][:256]
    with tempfile.TemporaryDirectory() as place, peak() as memory:
        corpus = abstracts(n, Path(place) / "corpus.jsonl")
        made = retriever_class(kind)(corpus, Path(place) / "index", progress=progress.Silent())
        stages = asyncio.run(_search(made, questions))
    return {"n": n, "kind": kind, **stages, "GiB": memory["GiB"]}


async def _search(retriever: Any, questions: list[str]) -> dict[str, float]:
    start = time.perf_counter()
    await retriever.prepare()
    built = time.perf_counter() - start
    await asyncio.gather(*(retriever.search(question, K) for question in questions))  # embeds them
    start = time.perf_counter()
    await asyncio.gather(*(retriever.search(question, K) for question in questions))
    searched = time.perf_counter() - start
    await retriever.close()
    return {"built": built, "searched": searched}


def vectors_table(rows: list[dict[str, Any]]) -> str:
    """Return the table of FAISS on generated vectors."""
    heads = ["vectors", "index", "trained, written, measured, s", "on disk, GiB"]
    heads += ["peak private memory, GiB", "recall@10", *(f"queries/s, {batch} at once" for batch in BATCHES)]
    heads += ["FAISS in memory, CPU-µs a query", "× mapped", "× evalkit"]
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for row in rows:
        effort = next((f", {name} {row[name]}" for name in ("nprobe", "efSearch") if name in row), "")
        rates = " | ".join(f"{batch / ours[0]:,.0f}" for batch, (ours, *_) in row["rates"].items())
        direct = ", ".join(f"{1e6 * way[2][1] / batch:,.0f}" for batch, way in row["rates"].items())
        mapped, ours = (
            ", ".join(f"{way[n][1] / way[2][1]:.2f}" for way in row["rates"].values()) for n in (1, 0)
        )
        stages = ", ".join(f"{s:.0f}" for s in row["seconds"].values())
        lines.append(
            f"| {row['n']:,} | {row['name']} (`{row['factory']}`{effort}) | {stages} "
            f"| {row['bytes'] / 2**30:.2f} | {row['GiB']:.2f} | {row['recall@10']:.3f} | {rates} "
            f"| {direct} | {mapped} | {ours} |"
        )
    return "\n".join(lines)


def text_table(rows: list[dict[str, Any]]) -> str:
    """Return the table of retrievers on fictional abstracts."""
    heads = ["abstracts", "retriever", "read, embedded and indexed, s", "256 searches, s"]
    heads += ["peak private memory, GiB"]
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for row in rows:
        times = f"{row['built']:.1f} | {row['searched']:.2f}"
        lines.append(f"| {row['n']:,} | {row['kind']} | {times} | {row['GiB']:.2f} |")
    return "\n".join(lines)


def main() -> None:
    """Print the tables; with ``--write`` put them into the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(CASES))
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    vectors, texts = [], []
    for n in options.sizes:
        for name in CASES[n]:
            vectors.append(_alone(vectors_case, n, name))
            print(vectors[-1], flush=True)
        for kind in {10_000: ("bm25", "faiss"), 100_000: ("bm25",)}.get(n, ()):
            texts.append(_alone(text_case, n, kind))
            print(texts[-1], flush=True)
    text = f"{vectors_table(vectors)}\n\n{text_table(texts)}"
    print(text)
    if options.write:
        write_part("retrieval scale", text)


def _alone(case: Callable[[int, str], dict[str, Any]], n: int, name: str) -> dict[str, Any]:
    """Call a function in a separate process, so that its peak of memory is measured alone."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(case, n, name).result()


if __name__ == "__main__":
    main()

"""``evalkit retrieve``."""

from __future__ import annotations

import re
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from evalkit.cli.driver import RunBatch
from evalkit.cli.options import json_option, quiet_option, store_option
from evalkit.cli.output import echo
from evalkit.errors import UsageError
from evalkit.util.progress import Silent

if TYPE_CHECKING:
    from evalkit.collection.items import Item
    from evalkit.protocols import Retriever
    from evalkit.retrieval.trec import Benchmark, Rankings
    from evalkit.run.runner import Options
    from evalkit.run.session import Session
    from evalkit.store.records import Run
    from evalkit.types import Progress

_ENDINGS = re.compile(r"(\.run|\.txt|\.trec)?(\.gz)?$")
FILE = click.Path(dir_okay=False, path_type=Path)


class Plan(msgspec.Struct, kw_only=True):
    """The arguments of one call of the command."""

    bench: Any
    searches: tuple[str, ...]
    runs: tuple[Path, ...]
    measures: tuple[str, ...]
    k: int
    unknown: Any
    same_id: Any
    out_run: str | None


@click.command()
@click.argument("bench", type=click.Path(path_type=Path))
@click.option(
    "--search",
    "searches",
    multiple=True,
    metavar="NAME[?OPTION=VALUE&…]",
    help="A retriever: bm25, faiss?encoder=NAME, hybrid … Repeat for several. [default: bm25]",
)
@click.option(
    "--run", "runs", multiple=True, type=FILE, help="A TREC run file of another system. Repeat for several."
)
@click.option(
    "-k", type=click.IntRange(min=1), default=100, show_default=True, help="Documents to rank for each query."
)
@click.option(
    "--measure",
    "measures",
    multiple=True,
    metavar="NAME",
    help="nDCG@10, AP@100, R@1000 … Repeat for several. [default: nDCG, AP, RR, R and P at the usual depths]",
)
@click.option("--split", default="test", show_default=True, help="Judgements to use: qrels/SPLIT.tsv.")
@click.option("--corpus", type=click.Path(path_type=Path), help="Documents, if not in BENCH.")
@click.option("--queries", type=FILE, help="File of queries [default: in BENCH].")
@click.option("--qrels", type=FILE, help="File of judgements [default: in BENCH].")
@click.option(
    "--unknown",
    type=click.Choice(["error", "miss", "drop"]),
    default="error",
    show_default=True,
    help="If the corpus lacks relevant documents: stop, count them as never found, or leave them out.",
)
@click.option(
    "--same-id",
    type=click.Choice(["drop", "keep"]),
    help="A document with the query's own id: leave it out of the ranking, as BEIR does for queries that are "
    "documents, or rank it. [default: drop in BEIR's layout, else keep]",
)
@click.option(
    "--out-run", metavar="FILE", help="Write the rankings as a TREC run; {} becomes the retriever's name."
)
@click.option("--limit", type=click.IntRange(min=1), help="Only the first N queries.")
@store_option
@json_option
@quiet_option
def retrieve(
    bench: Path,
    searches: tuple[str, ...],
    runs: tuple[Path, ...],
    measures: tuple[str, ...],
    k: int,
    unknown: str,
    same_id: str | None,
    out_run: str | None,
    limit: int | None,
    store_url: str | None,
    as_json: bool,
    quiet: bool,
    corpus: Path | None,
    **files: Any,
) -> None:
    """Measure retrievers on a benchmark with relevance judgements, as trec_eval does.

    BENCH is a folder in BEIR's layout: corpus.jsonl, queries.jsonl, qrels/test.tsv. Each retriever becomes a
    run in the score store, with one sample for each query; the leaderboard ranks these runs.
    """
    from evalkit.retrieval.benchmark import default_measures
    from evalkit.retrieval.trec import read_benchmark

    benchmark = read_benchmark(bench, **files)
    if corpus is not None:
        benchmark = msgspec.structs.replace(benchmark, corpus=corpus)
    searches = searches or (() if runs else ("bm25",))
    if out_run is not None and len(searches) != 1 and "{}" not in out_run:
        raise UsageError(
            f"--out-run {out_run}: with {len(searches)} retrievers, put {{}} where its name belongs"
        )
    plan = Plan(
        bench=benchmark,
        searches=searches,
        runs=runs,
        measures=measures or tuple(default_measures(k)),
        k=k,
        unknown=unknown,
        same_id=same_id or ("drop" if benchmark.is_beir else "keep"),
        out_run=out_run,
    )
    for search in searches:
        _retriever(plan, search, Silent())  # an option out of range is refused before anything is read
    driver = RunBatch(store_url, as_json, quiet, {"limit": limit, "window": 1024})
    sys.exit(driver.main(partial(_work, plan)))


async def _work(plan: Plan, drive: RunBatch) -> None:
    for search in plan.searches:
        await drive(partial(_search, plan, search, drive), f"{search} on {plan.bench.name}")
    for path in plan.runs:
        await drive(partial(_replay, plan, path, drive), f"{path} on {plan.bench.name}")
    drive.compare()


async def _search(plan: Plan, search: str, drive: RunBatch, session: Session, options: Options) -> Run:
    from evalkit.retrieval.benchmark import searching, settled
    from evalkit.retrieval.trec import write_run

    kept: Rankings = {}
    retriever = _retriever(plan, search, session.progress)
    try:
        bench, lacking = await settled(plan.bench, retriever, plan.unknown)
        _say_unknown(plan, bench, lacking)
        await retriever.prepare()
        _say_same_id(plan, await _documents_among(list(bench.qrels), retriever))
        item = searching(bench, retriever, plan.measures, k=plan.k, kept=kept, same_id=plan.same_id)
        _note(item, {"unknown documents": lacking, "unknown": plan.unknown})
        done = await _start(item, search, drive, session, options)
    finally:
        await retriever.close()
    if silent := sum(not scores for scores in kept.values()):
        echo(f"evalkit: {search}: {silent:,} of {len(kept):,} queries find no document at all", err=True)
    if plan.out_run is not None:
        target = Path(plan.out_run.replace("{}", "".join(c if c.isalnum() else "-" for c in search)))
        write_run(target, search, {query: kept[query] for query in bench.qrels if query in kept})
        echo(f"Wrote {target}", err=True)
    return done


def _retriever(plan: Plan, search: str, progress: Progress) -> Retriever:
    from evalkit.rag.retrievers import open_retriever
    from evalkit.util.paths import cache_dir

    return open_retriever(search, plan.bench.corpus, cache_dir() / "indexes", progress=progress)


async def _documents_among(queries: list[str], retriever: Retriever) -> set[str]:
    """Return the queries whose id is that of a document; none where the retriever does not know."""
    unknown = await retriever.unknown(queries)
    return set() if unknown is None else set(queries) - set(unknown)


def _say_same_id(plan: Plan, found: set[str]) -> None:
    """Say how many of the queries ``found`` have their own document, and what becomes of it."""
    if n := sum(plan.bench.qrels.get(query, {}).get(query, 0) <= 0 for query in found):
        outcome = {"drop": "left out of their rankings, as BEIR does", "keep": "ranked like others"}
        other = {"drop": "keep", "keep": "drop"}[plan.same_id]
        echo(
            f"evalkit: {plan.bench.name}: {n:,} of {len(plan.bench.qrels):,} queries have the id of a "
            f"document: {outcome[plan.same_id]} (--same-id {other} changes that)",
            err=True,
        )


async def _replay(plan: Plan, path: Path, drive: RunBatch, session: Session, options: Options) -> Run:
    from evalkit.retrieval.benchmark import replaying
    from evalkit.retrieval.trec import read_run

    tag, rankings = read_run(path)
    _say_same_id(plan, {query for query, ranking in rankings.items() if query in ranking})
    told = {"run file": str(path), "run tag": tag}
    item = replaying(plan.bench, rankings, plan.measures, same_id=plan.same_id, **told)
    facts = item.task.facts["benchmark"]
    for what, outcome in (
        ("queries without a ranking", "score 0"),
        ("queries without judgements", "are left out"),
    ):
        if facts[what]:
            echo(f"evalkit: {path}: {facts[what]:,} {what} {outcome}", err=True)
    return await _start(item, _ENDINGS.sub("", path.name), drive, session, options)


async def _start(item: Item, name: str, drive: RunBatch, session: Session, options: Options) -> Run:
    from evalkit.retrieval.benchmark import NoModel
    from evalkit.run import runner

    options.backend = NoModel(name)
    return await runner.start(item, name, drive.store, session, options)


def _note(item: Item, facts: dict[str, Any]) -> None:
    benchmark: Any = item.task.facts["benchmark"]
    benchmark.update(facts)


def _say_unknown(plan: Plan, left: Benchmark, lacking: int | None) -> None:
    if lacking is None:
        echo("evalkit: this retriever does not say whether its corpus has the judged documents", err=True)
    if not lacking:
        return
    queries = len(plan.bench.qrels) - len(left.qrels)
    dropped = f"left out, and {queries:,} queries with them" if plan.unknown == "drop" else "never found"
    echo(
        f"evalkit: {plan.bench.qrels_file}: {lacking:,} relevant documents are not in the corpus: {dropped}",
        err=True,
    )

"""Access of the pages to the store: opened once, results cached for some seconds."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import streamlit as st

from evalkit.compare.budget import BudgetPoint, Budgets, cut_replies
from evalkit.compare.image_ablation import PARAMETER, Reliance
from evalkit.compare.image_ablation import reliance as compare
from evalkit.compare.rag import Report, reports
from evalkit.compare.rag.comparison import SWEPT, Comparison
from evalkit.compare.rag.comparison import comparisons as compare_rag
from evalkit.compare.repeats import Repeats, repeats_of
from evalkit.compare.siblings import with_siblings
from evalkit.errors import UsageError
from evalkit.store import open_store
from evalkit.store.board import Page, Row, TaskInfo
from evalkit.store.database import check_url
from evalkit.store.records import MetricInfo, Run, SampleRecord
from evalkit.store.store import Store

from . import text

TTL_S = 3.0


def store_url() -> str | None:
    """Return the URL of ``-- --store URL`` on Streamlit's command line, or of ``EVALKIT_STORE``."""
    if "--store" in sys.argv[1:-1]:
        return sys.argv[sys.argv.index("--store") + 1]
    return os.environ.get("EVALKIT_STORE")


def store() -> Store:
    """Return the open store. Raises ``StoreError``, also where its file was deleted meanwhile."""
    return _store(place())


class Place(NamedTuple):
    """Where the store is: its URL, and device and inode of its file (None for a database server).

    Results are cached by it. A store that was deleted or replaced while the board is open is another place.
    """

    url: str | None
    file: tuple[int, int] | None


def place() -> Place:
    """Return where the store is now. Raises ``StoreError`` where there is none."""
    url = store_url()
    file = check_url(url, create=False)
    if file.get_backend_name() != "sqlite":
        return Place(url, None)
    found = Path(file.database or "").stat()
    return Place(url, (found.st_dev, found.st_ino))


@st.cache_resource(show_spinner=False, max_entries=1)
def _store(place: Place) -> Store:
    return open_store(place.url, create=False)


def tasks() -> list[TaskInfo]:
    """Return all task variants (``Store.board.tasks``)."""
    return _tasks(place())


def ranking(task: str, metric: str, chosen: tuple[str, ...] = ()) -> list[Row]:
    """Return the ranking of a task (``Store.board.ranking``)."""
    return _ranking(place(), task, metric, chosen)


def runs(hidden: bool = False) -> list[Run]:
    """Return the newest 500 runs, without those that are hidden unless these are asked for."""
    return [run for run in _runs(place()) if hidden or not run.spec.hidden]


def address(chosen: Sequence[Run]) -> dict[str, str]:
    """Return the parameters of the page Leaderboard that rank these runs, which are of one task."""
    spec = chosen[0].spec
    variant = text.variant(spec.params, spec.task)
    return {"task": spec.task_name, "variant": variant, "runs": ",".join(run.id for run in chosen)}


def run(run_id: str) -> Run:
    """Return a run by its id, a prefix or ``latest``. Raises ``UsageError``."""
    return store().runs.get(run_id)


def reliance(run: Run) -> list[Reliance]:
    """Return the image ablation of a complete run of a vision task; empty for another run."""
    if PARAMETER not in run.spec.params or not run.is_complete:
        return []
    return compare(store(), with_siblings(store(), run, [PARAMETER]))


class Budget(NamedTuple):
    """The scores of a run at smaller limits of tokens, by metric, with a sentence each; perhaps no points.

    ``cut`` says what the replies that were cut leave open; empty where none was.
    """

    cut: str
    metrics: tuple[MetricInfo, ...] = ()
    points: tuple[BudgetPoint, ...] = ()
    sentences: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def budget(run: Run) -> Budget:
    """Return the scores of a run at smaller limits of tokens, cached until it ends again."""
    return _budget(place(), run.id, run.ended, run) if run.ended else Budget("")


def repeats(run: Run) -> Repeats | None:
    """Return what the repeats of a run say, cached until it ends again; None without repeats."""
    return _repeats(place(), run.id, run.ended, run) if run.ended and run.spec.repeats > 1 else None


def comparisons() -> list[Comparison]:
    """Return the comparisons of RAG runs among the newest 500 runs."""
    return compare_rag(runs())


def settings(compared: Comparison) -> str:
    """Return a comparison's task with the settings that the user named: ``pubmed_rag · search=bm25``."""
    spec = compared.runs[0].spec
    named = [n for n in spec.reproduction.named if n not in SWEPT and n in spec.params]
    parts = [f"{n}={spec.params[n]}" for n in named]
    if spec.limit:
        parts.append(f"limit={spec.limit}")
    if spec.sampling:
        parts.append(f"{spec.sampling.how}, seed {spec.sampling.seed}")
    return spec.task_name + (f" · {', '.join(parts)}" if parts else "")


def rag_report(compared: Comparison, metric: str, right: float | None) -> Report:
    """Return the RAG report of a comparison, cached until one of its runs ends again."""
    ended = tuple((run.id, run.ended) for run in compared.runs)
    return _rag_report(place(), ended, metric, right, compared)


def page(run_id: str, cursor: dict[str, int | None], filters: dict[str, object], limit: int = 50) -> Page:
    """Return a page of samples (``Store.board.page``)."""
    return store().board.page(run_id, limit=limit, **cursor, **filters)  # type: ignore[arg-type]


def sample(run_id: str, sequence: int) -> SampleRecord:
    """Return one sample (``Store.samples.get``)."""
    return store().samples.get(run_id, sequence)


@st.cache_data(ttl=TTL_S, show_spinner=False)
def _tasks(place: Place) -> list[TaskInfo]:
    return _store(place).board.tasks()


@st.cache_data(ttl=TTL_S, show_spinner=False)
def _ranking(place: Place, task: str, metric: str, chosen: tuple[str, ...]) -> list[Row]:
    return _store(place).board.ranking(task, metric, chosen)


@st.cache_data(ttl=TTL_S, show_spinner=False)
def _runs(place: Place) -> list[Run]:
    return _store(place).runs.find(limit=500)


@st.cache_data(ttl=600, show_spinner="Comparing arms …", max_entries=64)
def _rag_report(
    place: Place,
    ended: tuple[tuple[str, float | None], ...],
    metric: str,
    right: float | None,
    _compared: Comparison,
) -> Report:
    return reports(_store(place), _compared.runs, metric, right)[0]


@st.cache_data(ttl=600, show_spinner=False, max_entries=64)
def _budget(place: Place, run_id: str, ended: float, _run: Run) -> Budget:
    found = cut_replies(_store(place), _run)
    cut = f"{found.sentence}." if found else ""
    try:
        budgets = Budgets(_store(place), _run)
    except UsageError:  # nothing was counted, or no metric is a mean
        return Budget(cut)
    sentences = tuple(budgets.sentence(info.name) for info in budgets.metrics)
    return Budget(cut, tuple(budgets.metrics), tuple(budgets.points()), sentences, tuple(budgets.notes))


@st.cache_data(ttl=600, show_spinner="Counting the repeats …", max_entries=64)
def _repeats(place: Place, run_id: str, ended: float, _run: Run) -> Repeats | None:
    return repeats_of(_store(place), _run)

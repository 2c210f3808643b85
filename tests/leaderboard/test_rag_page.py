"""The RAG page, run by Streamlit's own test harness: the same figures as the command's."""

from __future__ import annotations

from pathlib import Path

from evalkit.compare.rag import reports, with_siblings
from evalkit.store import open_store
from tests.leaderboard.visits import texts, visit


def test_the_page_shows_the_report_of_the_chosen_model_and_metric(filled: Path) -> None:
    app = visit(
        filled, "rag", rag_task="pubmed_rag", rag_model="borealis-8b", rag_metric="rouge1", rag_right="0.5"
    )
    with open_store(filled) as store:
        run = store.runs.get("bor-ret-7f3a")
        (report,) = reports(store, with_siblings(store, run), "rouge1", 0.5)
    figures = {metric.label: metric.value for metric in app.metric}
    gains = {(g.first, g.second): g for g in report.gains if g.metric == "rouge1"}
    assert figures["Retrieval gains"] == f"{gains['retrieved', 'closed_book'].difference.value:+.3f}"
    still = gains["oracle", "retrieved"].difference.value
    assert figures["Perfect retrieval adds"] == f"{still:+.3f}"
    wrong = {c.name: c.n for c in report.causes}
    generator = wrong["retrieved but not used"] + wrong["used but wrong"]
    total = generator + wrong["not retrieved"] + wrong["partly retrieved"]
    assert figures["The generator's errors"] == f"{generator / total:.0%}"
    seen = texts(app)
    assert "Right: rouge1 of at least 0.500 (as asked for)" in seen
    assert all(missing.command in seen for missing in report.missing_runs)
    tables = [table.value for table in app.dataframe]
    assert any("run" in t and set(t["run"]) == set(report.runs.values()) for t in tables)


def test_a_graded_metric_has_no_causes_until_the_reader_says_what_is_right(filled: Path) -> None:
    app = visit(filled, "rag", rag_task="pubmed_rag", rag_model="borealis-8b", rag_metric="rouge1")
    assert {metric.label: metric.value for metric in app.metric}["The generator's errors"] == "–"
    assert "needs a score that is right" in texts(app)
    assert "Where errors come from" not in texts(app)


def test_every_model_with_arms_can_be_chosen_and_incomplete_runs_are_left_out(filled: Path) -> None:
    app = visit(filled, "rag")
    assert app.selectbox[1].options == ["aurora-70b-instruct", "baseline:extract", "borealis-8b", "cirrus-3b"]


def test_unknown_names_in_the_address_are_said_to_be_unknown(filled: Path) -> None:
    app = visit(filled, "rag", rag_task="pubmed_reg", rag_metric="rogue")
    assert "asked for: pubmed_reg" in texts(app)
    assert "asked for: rogue" in texts(app)
    assert app.metric


def test_an_empty_store_says_how_to_fill_it(tmp_path: Path) -> None:
    open_store(tmp_path / "evalkit.db").close()
    assert "evalkit run fictional_trials -p arm=all" in texts(visit(tmp_path / "evalkit.db", "rag"))


def test_hostile_names_are_text(hostile: Path) -> None:
    app = visit(hostile, "rag")
    assert app.selectbox[0].value.startswith("attack")
    assert not app.markdown


def test_a_model_that_searches_itself_stands_beside_one_search(evalkit) -> None:
    evalkit(
        "run",
        "fictional_trials",
        *("-p", "topics=6", "-p", "search=bm25", "-p", "arm=agent", "-p", "arm=retrieved"),
        *("--model", "baseline:gold", "--store", "agent.db"),
    )
    app = visit(evalkit.folder / "agent.db", "rag", rag_task="fictional_trials")
    seen = texts(app)
    assert "Searching itself, against one search" in seen
    assert "Searches made" in seen
    (table,) = [one.value for one in app.dataframe if "one search" in one.value]
    (row,) = table.to_dict("records")
    assert (row["agent"], row["one search"]) == ("k=5 searches=4", "k=5")
    assert row["tokens"] > 0
    assert row["difference"] == 0

"""The logic of the pages, run by Streamlit's own test harness."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from evalkit_leaderboard import charts, text
from evalkit_leaderboard.detail import marks

from evalkit.store import open_store
from evalkit.store.records import MetricInfo, RunSpec, SampleRecord
from evalkit.types import Answer, Estimate, Passage, Response, Sample, Score, Status
from tests.leaderboard.conftest import add_run
from tests.leaderboard.visits import texts, visit


def test_without_a_store_the_board_says_how_to_fill_one(tmp_path: Path) -> None:
    app = visit(tmp_path / "absent.db")
    assert "evalkit run fictional_trials --model baseline:extract" in texts(app)
    assert not (tmp_path / "absent.db").exists()


def test_a_store_that_was_replaced_while_the_board_is_open_is_shown(tmp_path: Path, filled: Path) -> None:
    path = tmp_path / "evalkit.db"
    with open_store(path) as store:
        add_run(store, "old-1", "former-model", 0.5, n=4)
    assert "former-model" in list(visit(path).dataframe[0].value["model"])
    for file in tmp_path.iterdir():
        file.unlink()
    assert "No scores to show" in texts(visit(path))
    with open_store(path) as store:
        add_run(store, "new-1", "renewed-model", 0.5, n=4)
    assert list(visit(path).dataframe[0].value["model"]) == ["renewed-model"]


@pytest.mark.parametrize("page", ["", "run", "runs", "samples"])
def test_an_empty_store_says_what_to_do_on_every_page(tmp_path: Path, page: str) -> None:
    open_store(tmp_path / "evalkit.db").close()
    assert "evalkit run fictional_trials" in texts(visit(tmp_path / "evalkit.db", page))


def test_models_are_ranked_and_an_incomplete_run_is_not(filled: Path) -> None:
    app = visit(filled, task="pubmed_rag", variant="arm=retrieved, k=5", metric="recall@5")
    table = app.dataframe[0].value
    assert list(table["rank"]) == ["1", "2", "3", "4", "–"]
    assert list(table["model"][:2]) == ["aurora-70b-instruct", "borealis-8b"]
    assert table["score"][:4].is_monotonic_decreasing
    last = table.iloc[4]
    assert (last["model"], last["error"], last["note"]) == ("drizzle-1b", 10, "incomplete: 10 of 60 failed")
    assert last["bounds"].startswith("[0.")
    assert app.metric[0].value == "4"


def test_a_metric_where_low_is_good_ranks_the_other_way(filled: Path) -> None:
    table = visit(filled, variant="arm=retrieved, k=5", metric="unsupported").dataframe[0].value
    assert table["score"][:4].is_monotonic_increasing
    described = visit(filled, variant="arm=retrieved, k=5", metric="words")
    assert set(described.dataframe[0].value["rank"]) == {"–"}
    assert "Models, by name" in texts(described)


def test_an_address_with_unknown_names_says_so(filled: Path) -> None:
    app = visit(filled, task="pubmed_reg")
    assert "asked for: pubmed_reg" in texts(app)
    assert app.dataframe[0].value is not None


def test_a_row_opens_its_run(filled: Path) -> None:
    app = visit(filled, variant="arm=retrieved, k=5", metric="rougeLsum")
    app.session_state["ranking-rougeLsum"] = {"selection": {"rows": [1], "columns": [], "cells": []}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVALKIT_STORE", str(filled))
        app.run()
    assert app.title[0].value == "Run"
    assert app.query_params["run"] == "bor-ret-7f3a"


@pytest.mark.parametrize("page", ["run", "samples"])
def test_an_unknown_run_is_said_to_be_unknown(filled: Path, page: str) -> None:
    app = visit(filled, page, run="aur-ret-7f3b")
    assert "no run 'aur-ret-7f3b'. Did you mean 'aur-ret-7f3a'?" in texts(app)
    assert not app.metric
    assert not app.dataframe


@pytest.mark.parametrize("sample", ["999", "-1", "x", "9" * 40])
def test_an_unknown_sample_is_said_to_be_unknown(filled: Path, sample: str) -> None:
    app = visit(filled, "samples", run="aur-ret-7f3a", sample=sample)
    assert f"asked for: {sample}" in texts(app)
    assert "Question" not in texts(app)


def test_a_deep_link_opens_its_sample_with_gold_and_citations(filled: Path) -> None:
    app = visit(filled, "samples", run="aur-ret-7f3a", sample="3")
    with open_store(filled) as store:
        record = store.samples.get("aur-ret-7f3a", 3)
    seen = texts(app)
    assert record.answer is not None
    for wanted in (record.sample.input, record.answer.reply, record.sample.target, "1 of 5 are gold"):
        assert str(wanted) in seen
    assert record.requests[0]["messages"][1]["content"] in seen


def test_filters_narrow_the_list_and_the_neighbours(filled: Path) -> None:
    app = visit(filled, "samples", run="dri-ret-51c0", status="error", sample="52")
    assert list(app.dataframe[0].value["#"]) == list(range(50, 60))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVALKIT_STORE", str(filled))
        next(b for b in app.button if b.label == "Next →").click().run()
        assert app.query_params["sample"] == "53"
        app.text_input[0].set_value("no such words").run()
    assert "No sample matches" in texts(app)


def test_pages_of_the_list(filled: Path) -> None:
    app = visit(filled, "samples", run="aur-ret-7f3a")
    assert list(app.dataframe[0].value["#"]) == list(range(50))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVALKIT_STORE", str(filled))
        next(b for b in app.button if b.label == "Next page").click().run()
        assert list(app.dataframe[0].value["#"]) == list(range(50, 60))
        next(b for b in app.button if b.label == "Previous page").click().run()
    assert list(app.dataframe[0].value["#"]) == list(range(50))


def test_the_list_shows_scores_and_replies_and_sorts_by_a_score(filled: Path) -> None:
    app = visit(filled, "samples", run="aur-ret-7f3a", score="rougeLsum", order="lowest first")
    table = app.dataframe[0].value
    assert list(table["score"]) == sorted(table["score"])
    assert table["reply"].str.startswith("The evidence supports it").any()
    first, second = list(table["#"][:2])
    beside = visit(
        filled, "samples", run="aur-ret-7f3a", score="rougeLsum", order="lowest first", sample=str(first)
    )
    beside.button(key="go-Next →").click().run()
    assert beside.query_params["sample"] == str(second)


def test_the_runs_are_found_by_any_word_and_hidden_ones_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "evalkit.db"
    with open_store(path) as store:
        for n, model in enumerate(("aurora-70b", "borealis-8b", "cirrus-3b")):
            add_run(store, f"run-{n}", model, 0.5, n=4)
        store.runs.annotate("run-1", label="before the new prompt")
        store.runs.annotate("run-2", hidden=True)
    shown = visit(path, "runs").dataframe[0].value
    assert list(shown["run"]) == ["run-1", "run-0"]
    assert list(visit(path, "runs", runs_text="new PROMPT").dataframe[0].value["run"]) == ["run-1"]
    assert len(visit(path, "runs", runs_hidden="true").dataframe[0].value) == 3
    assert "No run matches" in texts(visit(path, "runs", runs_text="zephyr"))
    assert list(visit(path).dataframe[0].value["label"]) == ["", "before the new prompt"]


def test_among_many_models_the_first_are_drawn_and_any_is_found(tmp_path: Path) -> None:
    path = tmp_path / "evalkit.db"
    with open_store(path) as store:
        for n in range(30):
            add_run(store, f"run-{n}", f"checkpoint-{n:02d}", 0.3 + n / 60, n=2)
    app = visit(path)
    assert len(app.dataframe[0].value) == 30
    drawn = json.loads(app.get("vega_lite_chart")[0].proto.spec)
    assert len(drawn["layer"][0]["encoding"]["y"]["sort"]) == 25
    found = visit(path, models="point-07").dataframe[0].value
    assert list(found["model"]) == ["checkpoint-07"]


def test_numbers_are_written_the_same_everywhere() -> None:
    assert [text.number(v) for v in (0.12345, 1234.5, None, float("nan"))] == ["0.123", "1,234.500", "–", "–"]
    assert [text.duration(v) for v in (4.25, 200, 7500)] == ["4.2 s", "3 min 20 s", "2 h 05 min"]
    assert text.moment(0) == "1970-01-01 00:00 UTC"


def test_citations_are_those_that_the_metrics_see() -> None:
    passages = tuple(Passage(name, name) for name in "abc")
    answer = Answer(Response(text="A [2]. B [1, 3][2]; not [x], [] or [7]."), passages=passages)
    record = SampleRecord(sequence=0, sample=Sample("s", "q"), status=Status.OK, answer=answer)
    assert marks(record) == [2, 1, 3, None]


def test_a_vision_run_shows_its_slices_and_what_its_pictures_are_worth(tmp_path: Path) -> None:
    """A model that is right with every picture alike: the page says that it does not look."""
    path = tmp_path / "evalkit.db"
    info = MetricInfo("right")
    with open_store(path) as store:
        for arm in ("real", "blank"):
            store.runs.begin(
                RunSpec(
                    id=arm,
                    task=f"scans[image={arm}]",
                    path="task_scans.py",
                    model="blind",
                    model_spec="blind",
                    params={"image": arm},
                    metrics=(info,),
                    n_expected=4,
                )
            )
            store.samples.write(arm, [_scored(n) for n in range(4)])
            part = Estimate(0.5, 0.1, (0.3, 0.7), 2)
            store.runs.finish(arm, "complete", {"right": part}, 1.0, {"organ=chest": {"right": part}})
    app = visit(path, "run", run="blank")
    assert "No evidence that blind uses the image" in texts(app)
    tables = [table.value for table in app.dataframe]
    assert any("slice" in t and list(t["slice"]) == ["organ=chest"] for t in tables)
    assert any(
        "uses image" in t and list(t["images"]) == ["blank"] and not t["uses image"].any() for t in tables
    )


def _scored(n: int) -> SampleRecord:
    answer, score = Answer(Response(text="yes")), Score("right", float(n % 2))
    return SampleRecord(
        sequence=n, sample=Sample(f"s{n}", "?"), status=Status.OK, answer=answer, scores=(score,)
    )


def test_a_retrieval_run_shows_ranks_in_place_of_a_reply(tmp_path: Path) -> None:
    answer = Answer(passages=(Passage("b", "The text."),), ranking=("b", "c", "a"), status=Status.OK)
    record = SampleRecord(
        sequence=0,
        status=Status.OK,
        answer=answer,
        scores=(Score("nDCG@10", 0.5),),
        sample=Sample("q1", "which?", relevance={"a": 1, "b": 0, "gone": 2}),
    )
    with open_store(tmp_path / "evalkit.db") as store:
        info = MetricInfo("nDCG@10", kind="retrieval")
        store.runs.begin(
            RunSpec(
                id="r1",
                task="retrieval/tiny",
                path="tiny",
                model="bm25",
                model_spec="bm25",
                metrics=(info,),
                n_expected=1,
                dataset="d",
            )
        )
        store.samples.write("r1", [record])
        store.runs.finish("r1", "complete", {"nDCG@10": Estimate(0.5, 0.0, (0.5, 0.5), 1)}, 1.0)
    app = visit(tmp_path / "evalkit.db", "samples", run="r1", sample="0")
    assert "##### Answer" not in texts(app)
    assert "1 of 2 relevant documents among 3" in texts(app)
    ranks = next(table.value for table in app.dataframe if "grade" in table.value)
    assert [tuple(row) for row in ranks.to_numpy()] == [("3", "a", 1), ("not found", "gone", 2)]
    board = visit(tmp_path / "evalkit.db", task="retrieval/tiny")
    assert list(board.dataframe[0].value["model"]) == ["bm25"]


def test_the_board_opens_with_what_ran_last(tmp_path: Path) -> None:
    with open_store(tmp_path / "evalkit.db") as store:
        for arm in ("oracle", "retrieved", "closed_book", "oracle", "retrieved"):
            add_run(store, f"r{len(store.runs.find())}", "aurora", 0.6, arm=arm, n=4)
    app = visit(tmp_path / "evalkit.db")
    assert app.selectbox[1].options == ["arm=closed_book, k=5", "arm=oracle, k=5", "arm=retrieved, k=5"]
    assert app.selectbox[1].value == "arm=retrieved, k=5"


def test_across_variants_no_two_models_share_a_colour(tmp_path: Path) -> None:
    colours = len(charts.MODEL_COLOURS)
    with open_store(tmp_path / "evalkit.db") as store:
        for arm in ("oracle", "retrieved"):
            for i in range(colours + 2):
                add_run(store, f"{arm}{i}", f"model-{i}", i / (colours + 2), arm=arm, n=8)
    app = visit(tmp_path / "evalkit.db")
    drawn = json.loads(app.get("vega_lite_chart")[-1].proto.spec)
    shown = drawn["layer"][0]["encoding"]["color"]["scale"]["domain"]
    ranked = list(app.dataframe[0].value["model"])
    assert sorted(ranked[:colours]) == shown
    assert f"The first {colours} of {colours + 2} models." in texts(app)


def test_metrics_that_do_not_apply_are_not_offered(tmp_path: Path) -> None:
    infos = tuple(map(MetricInfo, ("right", "recall@5", "f1")))
    with open_store(tmp_path / "evalkit.db") as store:
        store.runs.begin(
            RunSpec(id="r1", task="t", path="t.py", model="m", model_spec="m", metrics=infos, n_expected=2)
        )
        store.samples.write("r1", [_scored(0), _scored(1)])
        part = Estimate(0.5, 0.1, (0.3, 0.7), 2)
        store.runs.finish("r1", "complete", {"right": part, "f1": part}, 1.0)
    app = visit(tmp_path / "evalkit.db")
    assert app.get("button_group")[0].options == ["right", "f1"]
    asked = visit(tmp_path / "evalkit.db", metric="recall@5")
    assert "This metric does not apply to this variant of the task." in texts(asked)


def test_a_conversation_is_drawn_turn_by_turn(tmp_path: Path, talked: SampleRecord) -> None:
    with open_store(tmp_path / "evalkit.db") as store:
        add_run(store, "talk", "borealis-8b", 0.5, n=2)
        store.samples.write("talk", [talked])
    app = visit(tmp_path / "evalkit.db", "samples", run="talk", sample="0")
    shown = texts(app)
    assert "2 replies · 2 calls of tools · 1 of an unknown tool · the model answered" in shown
    codes = [str(element.value) for element in app.get("code")]
    turns = [
        "1+1?",
        'add {"a": 1, "b": 1}',
        "nothing {}",
        "2",
        "error: there is no tool 'nothing'. Tools: add",
        "It is 2.",
    ]
    places = [codes.index(turn, 3) for turn in turns]  # behind question, answer and target
    assert places == sorted(places)
    assert "I need a sum." in codes  # the reasoning of an earlier turn
    assert [badge.value for badge in app.get("markdown") if "no such tool" in str(badge.value)]


def test_a_request_that_continues_another_shows_what_is_new(tmp_path: Path, talked: SampleRecord) -> None:
    with open_store(tmp_path / "evalkit.db") as store:
        add_run(store, "talk", "borealis-8b", 0.5, n=2)
        store.samples.write("talk", [talked])
    app = visit(tmp_path / "evalkit.db", "samples", run="talk", sample="0")
    assert "The messages and tools of request 1, and then:" in texts(app)


def test_costs_are_shown_and_unknown_ones_are_no_zero(
    tmp_path: Path, invent_run: Callable[..., None]
) -> None:
    path = tmp_path / "evalkit.db"
    with open_store(path) as store:
        invent_run(store, "run-1", "dear", 0.7, cost=0.05, n=20)
        invent_run(store, "run-2", "cheap", 0.6, cost=0.0005, n=20)
        invent_run(store, "run-3", "own-server", 0.5, n=20)
    board = visit(path)
    table = board.dataframe[0].value.set_index("model")
    assert table["cost"]["dear"] == pytest.approx(1.0)
    assert table["cost"].isna()["own-server"]
    assert "Score against cost" in texts(board)
    listed = visit(path, "runs").dataframe[0].value.set_index("model")["cost"]
    assert listed["cheap"] == pytest.approx(0.01)
    assert listed.isna()["own-server"]
    figures = {
        run: {m.label: m.value for m in visit(path, "run", run=run).metric} for run in ("run-1", "run-3")
    }
    assert figures["run-1"]["Cost"] == "$1.00"
    assert figures["run-3"]["Cost"] == "unknown price"


def test_without_costs_there_is_no_chart_and_no_column_of_them(filled: Path) -> None:
    board = visit(filled)
    assert "Score against cost" not in texts(board)
    assert "cost" not in board.dataframe[0].value

"""The report on invented runs: every figure worked out by hand."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable

import pytest

from evalkit.compare.rag import reports, settings, with_siblings
from evalkit.errors import UsageError
from evalkit.stats import paired
from evalkit.store.records import MetricInfo, ParameterInfo
from evalkit.store.store import Store

CLOSED = {name: ({"f1": score}, None, None) for name, score in zip("abcdef", (0, 0, 1, 0, 1, 0), strict=True)}
ORACLE = {name: ({"f1": float(name != "f")}, [f"{name}-gold"], None) for name in "abcdef"}


def seen(f1: float, recall: float, shown: list[str], ranking: tuple[str, ...]):
    return {"f1": f1, "citation_recall": recall, "mrr": 0.5}, shown, ranking


RETRIEVED = {
    "a": seen(1, 1, ["x", "a-gold"], ("x", "a-gold", "y")),  # right with evidence
    "b": seen(0, 0, ["x", "y"], ("x", "y", "b-gold")),  # found third, k is 2: not shown
    "c": seen(1, 0, ["x", "y"], ("x", "y")),  # right without evidence
    "d": seen(0, 0, ["d-gold", "y"], ("d-gold", "y")),  # shown, not used
    "e": seen(0, 1, ["e-gold", "y"], ("e-gold", "y")),  # used but wrong
    "f": seen(0, 0, ["f-also", "y"], ("f-also", "y")),  # what is graded lower does not answer
}


@pytest.fixture
def three(store: Store, add_run: Callable[..., str]) -> Store:
    add_run("closed_book", CLOSED)
    add_run("oracle", ORACLE)
    add_run("retrieved", RETRIEVED)
    return store


def report(store: Store, *runs: str, **options):
    chosen = [store.runs.get(name) for name in runs or ["retrieved-2"]]
    (made,) = reports(
        store, {r.id: r for one in chosen for r in with_siblings(store, one)}.values(), **options
    )
    return made


def test_gains_are_paired_over_the_same_samples(three: Store) -> None:
    made = report(three)
    gains = {(g.first, g.second): g for g in made.gains if g.metric == "f1"}
    assert set(gains) == {("retrieved", "closed_book"), ("oracle", "retrieved"), ("oracle", "closed_book")}
    one = gains["retrieved", "closed_book"]
    assert (one.a, one.b, one.difference.n) == (2 / 6, 2 / 6, 6)
    assert one.difference == paired([1, 0, 1, 0, 0, 0], [0, 0, 1, 0, 1, 0], low=0, high=1)
    still = gains["oracle", "retrieved"]
    assert still.difference.value == pytest.approx(5 / 6 - 2 / 6)
    assert still.meaning == "what perfect retrieval would still gain"


def test_every_sample_has_one_cause(three: Store) -> None:
    made = report(three)
    assert (made.right, made.rule) == (1, "the best value")
    assert {cause.name: cause.n for cause in made.causes} == {
        "right with evidence": 1,
        "right without evidence": 1,
        "not retrieved": 2,
        "partly retrieved": 0,
        "retrieved but not used": 1,
        "used but wrong": 1,
    }
    assert sum(cause.share.value for cause in made.causes) == pytest.approx(1)
    assert made.causes[0].share.method == "wilson"


def test_score_by_rank_tells_found_too_late_from_not_found(three: Store) -> None:
    points = {point.at: (point.estimate.value, point.estimate.n) for point in report(three).by_rank}
    assert points == {"1": (0, 2), "2": (1, 1), "not shown": (0, 1), "not found": (0.5, 2)}


def test_curves_over_k_noise_and_position(three: Store, add_run: Callable[..., str]) -> None:
    right, wrong = {"f1": 1.0}, {"f1": 0.0}
    add_run("hidden", {"a": (right, ["a-gold", "x"], None), "b": (wrong, ["y", "b-gold"], None)})
    add_run("hidden", {"a": (wrong, ["x", "a-gold"], None), "b": (wrong, ["y", "b-gold"], None)}, position=2)
    add_run("hidden", {"a": (wrong, ["x", "y", "a-gold"], None)}, k=8)
    add_run("retrieved", {name: (right, [f"{name}-gold", f"{name}-also"], ()) for name in "ab"}, k=4)
    made = report(three)
    assert [(p.at, p.estimate.value, p.estimate.n) for p in made.by_position] == [("1", 1, 1), ("2", 0, 2)]
    noise = [(p.at, p.estimate.value, p.estimate.n) for p in made.by_noise]
    assert noise == [("0", pytest.approx(5 / 6), 6), ("2", 0.25, 2), ("8", 0, 1)]  # a: mean of 1 and 0
    assert [(p.at, p.estimate.value) for p in made.by_k] == [("2", pytest.approx(2 / 6)), ("4", 1)]
    assert [(p.at, p.estimate.value) for p in made.shown_by_k] == [("2", 0.5), ("4", 1)]
    assert not any("curve" in gap.what for gap in made.missing_runs)


def test_all_that_answers_must_be_shown(store: Store, add_run: Callable[..., str]) -> None:
    """Two documents answer alike: with one of two shown, a wrong answer is the retriever's fault in part."""
    run = add_run("retrieved", {"a": seen(0, 1, ["a-gold", "x"], ("a-gold", "x"))})
    (record,) = store.samples.records(run)
    from msgspec.structs import replace

    twice = replace(record.sample, relevance={"a-gold": 1, "a-too": 1})
    store.samples.write(run, [replace(record, sample=twice)])
    assert {c.name: c.n for c in report(store).causes}["partly retrieved"] == 1


def test_what_is_right_of_a_graded_metric_is_only_what_is_asked_for(
    store: Store, add_run: Callable[..., str]
) -> None:
    add_run("oracle", {n: ({"f1": s}, [f"{n}-gold"], None) for n, s in (("a", 0.2), ("b", 0.6))})
    add_run("retrieved", {n: seen(s, 1, [f"{n}-gold"], (f"{n}-gold",)) for n, s in (("a", 0.3), ("b", 0.5))})
    made = report(store)
    assert (made.right, made.causes) == (None, ())
    assert "--right SCORE" in made.rule
    asked = report(store, right=0.4)
    assert {c.name: c.n for c in asked.causes if c.n} == {"right with evidence": 1, "used but wrong": 1}
    assert {c.name: c.n for c in report(store, right=0.3).causes if c.n} == {"right with evidence": 2}


def test_a_task_without_citations_is_not_said_to_use_or_not(
    store: Store, add_run: Callable[..., str]
) -> None:
    samples = {n: ({"f1": s}, [f"{n}-gold"], (f"{n}-gold",)) for n, s in (("a", 1.0), ("b", 0.0))}
    add_run("retrieved", samples, metrics=(MetricInfo("f1"),))
    assert {c.name: c.n for c in report(store).causes if c.n} == {"right": 1, "retrieved but wrong": 1}


def test_other_samples_incomplete_runs_and_other_models_stay_out(
    three: Store, add_run: Callable[..., str]
) -> None:
    add_run("distractors", CLOSED, dataset="other")
    add_run("missing", CLOSED, status="incomplete")
    add_run("hidden", ORACLE, model="other")
    made = report(three)
    assert set(made.arms) == {"closed_book", "retrieved k=2", "oracle"}
    commands = [gap.command for gap in made.missing_runs]
    assert "evalkit run rag -p arm=missing --model m" in commands
    assert "evalkit run rag -p arm=retrieved -p k=1 -p k=3 -p k=5 -p k=10 --model m" in commands


def test_only_arms_that_the_task_has_are_missed(store: Store, add_run: Callable[..., str]) -> None:
    arm = ParameterInfo("retrieved", ("retrieved", "oracle"))
    add_run("retrieved", RETRIEVED, parameters={"arm": arm})
    assert [gap.command.split()[4] for gap in report(store).missing_runs] == ["arm=oracle", "arm=retrieved"]


def test_a_run_that_lacks_a_parameter_has_the_default_of_the_newest(
    store: Store, add_run: Callable[..., str]
) -> None:
    """The oracle's run is from before the task could choose how to search."""
    old = add_run("oracle", ORACLE)
    add_run("retrieved", RETRIEVED, search="bm25", parameters={"search": ParameterInfo("faiss")})
    for search in ("bm25", "faiss"):
        add_run("retrieved", RETRIEVED, search=search, k=3, parameters={"search": ParameterInfo("bm25")})
    for first in (old, "retrieved-3-bm25"):
        made = report(store, first)
        assert set(made.runs.values()) == {old, "retrieved-2-bm25", "retrieved-3-bm25"}
        assert made.params == {"search": "bm25"}
    assert set(report(store, "retrieved-3-faiss").runs.values()) == {"retrieved-3-faiss"}


def test_without_a_record_of_its_tasks_parameters_a_run_has_what_it_has(
    store: Store, add_run: Callable[..., str]
) -> None:
    old = add_run("oracle", ORACLE)
    add_run("retrieved", RETRIEVED, search="bm25")
    assert set(report(store, old).runs.values()) == {old}
    assert {"arm=closed_book", "arm=missing"} <= {
        gap.command.split()[4] for gap in report(store).missing_runs
    }


def test_two_retrievers_are_compared_over_the_same_samples(store: Store, add_run: Callable[..., str]) -> None:
    worse = {name: ({**scores, "mrr": 0.25}, *rest) for name, (scores, *rest) in RETRIEVED.items()}
    one, other = add_run("retrieved", RETRIEVED, search="faiss"), add_run("retrieved", worse, search="bm25")
    made = settings(store, reports(store, [store.runs.get(one), store.runs.get(other)]))
    told = {(s.settings, s.metric): s for s in made}
    assert set(told) == {(f"search={name}", m) for name in ("faiss", "bm25") for m in ("mrr", "f1")}
    assert told["search=faiss", "mrr"].difference is None
    assert told["search=bm25", "mrr"].difference == paired([0.25] * 6, [0.5] * 6, low=0, high=1)
    assert told["search=bm25", "f1"].estimate.value == pytest.approx(2 / 6)
    assert settings(store, reports(store, [store.runs.get(one)])) == []


def test_runs_that_differ_in_a_named_setting_join(store: Store, add_run: Callable[..., str]) -> None:
    worse = {name: ({**scores, "mrr": 0.25}, *rest) for name, (scores, *rest) in RETRIEVED.items()}
    add_run("retrieved", RETRIEVED, search="bm25")
    one = add_run("retrieved", RETRIEVED, search="faiss")
    add_run("retrieved", worse, search="hybrid", k=3)
    assert [run.id for run in with_siblings(store, store.runs.get(one))][1:] == [one]
    made = settings(store, reports(store, with_siblings(store, store.runs.get(one), by=["search"])))
    told = {(s.settings, s.metric): s for s in made}
    assert {name for name, _ in told} == {"search=faiss k=2", "search=bm25 k=2", "search=hybrid k=3"}
    assert told["search=faiss k=2", "mrr"].difference is None
    assert told["search=hybrid k=3", "mrr"].difference == paired([0.25] * 6, [0.5] * 6, low=0, high=1)
    with pytest.raises(UsageError, match=r"no setting 'serch' to compare\. Did you mean 'search'"):
        with_siblings(store, store.runs.get(one), by=["serch"])


def test_the_command_compares_retrievers_by_the_newest_run(evalkit) -> None:
    wanted = ["-p", "arm=retrieved", "-p", "search=bm25", "-p", "search=bm25?k1=2", "-p", "topics=6"]
    runs = evalkit.json("run", "fictional_trials", *wanted, "--model", "baseline:lead")["runs"]
    made = evalkit.json("rag-report", runs[0]["id"], "--by", "search")["settings"]
    assert {s["run"] for s in made} == {run["id"] for run in runs}
    shown = evalkit("rag-report", "latest", "--by", "search", "--markdown").stdout
    assert "difference to the first" in shown
    assert "search=bm25?k1=2" in shown
    assert "Where errors come from" not in shown
    nothing = evalkit("rag-report", "latest", "--by", "topics", code=2)
    assert "no complete runs of the arm retrieved differ in topics" in nothing.stderr


def test_an_unknown_metric_and_a_run_without_arms_are_said_to_be_so(three: Store) -> None:
    with pytest.raises(UsageError, match=r"no output metric 'f2'\. Did you mean 'f1'"):
        report(three, metric="f2")
    assert reports(three, []) == []


def test_the_command_reports_real_runs_and_names_what_is_missing(evalkit) -> None:
    runs = evalkit.json(
        "run", "fictional_trials", "-p", "search=bm25", "-p", "topics=6", "--model", "baseline:gold"
    )["runs"]
    (made,) = evalkit.json("rag-report", runs[1]["id"], "--metric", "evidence_direction")["reports"]
    assert set(made["arms"]) == {"closed_book", "retrieved k=5", "oracle"}
    assert {c["name"] for c in made["causes"] if c["n"]} <= {"right with evidence", "right without evidence"}
    assert all(g["difference"]["value"] == 0 for g in made["gains"] if g["metric"] == "fact_recall")
    assert not any("arm=contradicting" in gap["command"] for gap in made["gaps"])
    command = next(gap["command"] for gap in made["gaps"] if "arm=hidden" in gap["command"])
    assert "search=bm25" in command
    evalkit(*shlex.split(command)[1:])
    text = evalkit("rag-report", runs[1]["id"], "--markdown").stdout
    assert "| position | fact_recall ↑ | n |" in text
    assert "arm=hidden -p k=" in text  # the curve is still missing
    assert "Where errors come from" in evalkit("rag-report", "latest").stdout


def test_the_command_refuses_runs_of_other_tasks(evalkit, tmp_path) -> None:
    (tmp_path / "task_plain.py").write_text(
        "from evalkit import *\nfrom evalkit import task\nfrom evalkit.metrics import exact_match\n\n"
        "@task([Sample('a', '?', 'b')], metrics=[exact_match()])\n"
        "async def plain(sample, model):\n    return Answer(await model.generate('?'))\n"
    )
    evalkit("run", "task_plain.py", "--model", "baseline:gold")
    done = evalkit("rag-report", "latest", code=2)
    assert "no complete run of a RAG task" in done.stderr
    assert "is left out: its task has no arms" in done.stderr
    assert json.loads(evalkit("rag-report", "latest", "--json", code=2).stdout)["errors"]


def test_the_command_says_why_a_named_run_is_left_out(evalkit, add_run: Callable[..., str]) -> None:
    """``evalkit`` and ``add_run`` share a folder, not a store: the store is named."""
    add_run("retrieved", RETRIEVED)
    add_run("oracle", ORACLE, status="incomplete")
    done = evalkit("rag-report", "retrieved-2", "oracle-2", "--store", str(evalkit.folder / "evalkit.db"))
    assert "run oracle-2 is left out: it is incomplete; evalkit resume oracle-2 completes it" in done.stderr
    assert "Where errors come from" in done.stdout

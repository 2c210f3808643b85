"""MIRAGE: both layouts of its data, its arms and methods, and what gold, guessing and garbage score."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import pytest
from evalkit_tasks.biomedical import mirage

from evalkit.errors import CorpusError, UsageError

YES_NO = {"A": "yes", "B": "no"}
BENCHMARK = {
    "medqa": {
        "0000": {
            "question": "Which hormone lowers glucose?",
            "options": {"A": "glucagon", "B": "insulin", "C": "cortisol", "D": "adrenaline"},
            "answer": "B",
        },
        "0001": {
            "question": "Which vitamin is ascorbic acid {C}?",
            "options": {"A": "C", "B": "A", "C": "D", "D": "K"},
            "answer": "A",
        },
    },
    "pubmedqa": {
        "11": {
            "question": "Does zinc shorten colds?",
            "options": {**YES_NO, "C": "maybe"},
            "answer": "A",
            "PMID": [11],
        },
    },
    "bioasq": {
        "5a": {"question": "Is gout caused by statins?", "options": YES_NO, "answer": "B", "PMID": [33, 34]},
    },
}


@pytest.fixture
def benchmark(tmp_path: Path) -> Path:
    path = tmp_path / "benchmark.json"
    path.write_text(json.dumps(BENCHMARK))
    return path


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    path = tmp_path / "snippets.jsonl"
    rows = [
        {"id": "1", "title": "Zinc", "text": "Zinc lozenges shortened colds by a day."},
        {"id": "2", "title": "Gout", "text": "Statins did not cause gout."},
        {"id": "3", "title": "Glucose", "text": "The hormone insulin lowers glucose."},
        {"id": "4", "title": "Stress", "text": "Cortisol, glucagon, adrenaline and insulin were measured."},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_both_layouts_give_the_same_questions(benchmark: Path, tmp_path: Path) -> None:
    folder = tmp_path / "lines"
    folder.mkdir()
    for subset, questions in BENCHMARK.items():
        lines = "".join(json.dumps({"id": i, **row}) + "\n" for i, row in questions.items())
        (folder / f"{subset}.questions.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    samples = list(mirage.questions(benchmark, "all"))
    assert samples == list(mirage.questions(folder, "all")) == list(mirage.questions(benchmark.parent, "all"))
    assert [s.id for s in samples] == ["medqa:0000", "medqa:0001", "pubmedqa:11", "bioasq:5a"]
    assert samples[0].choices == ("glucagon", "insulin", "cortisol", "adrenaline")
    assert [s.targets for s in samples] == [("insulin",), ("C",), ("yes",), ("no",)]
    assert [s.answer for s in samples] == [1, 0, 0, 1]
    assert samples[2].slices == {"subset": "PubMedQA*"}
    assert [s.id for s in mirage.questions(benchmark, "bioasq")] == ["bioasq:5a"]
    one = folder / "bioasq.questions.jsonl.gz"
    assert list(mirage.questions(one, "all")) == list(mirage.questions(benchmark, "bioasq"))
    other = one.rename(folder / "mine.jsonl.gz")
    assert list(mirage.questions(other, "bioasq")) == list(mirage.questions(benchmark, "bioasq"))
    with pytest.raises(UsageError, match="say which subset it is by -p subset="):
        list(mirage.questions(other, "all"))


def test_what_is_missing_or_broken_is_named(benchmark: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"-p data=benchmark\.json"):
        list(mirage.questions(None, "all"))
    with pytest.raises(UsageError, match="no such file or folder"):
        list(mirage.questions(tmp_path / "nowhere", "all"))
    with pytest.raises(UsageError, match=r"subset=mmlu: .* holds only medqa, pubmedqa, bioasq"):
        list(mirage.questions(benchmark, "mmlu"))
    broken = json.loads(benchmark.read_text())
    broken["medqa"]["0001"]["answer"] = "E"
    benchmark.write_text(json.dumps(broken))
    with pytest.raises(CorpusError, match=r"benchmark\.json, medqa, 0001: .* one of their letters \('E'\)"):
        list(mirage.questions(benchmark, "medqa"))
    benchmark.write_text("[]")
    with pytest.raises(CorpusError, match=r"is no benchmark\.json of MIRAGE"):
        list(mirage.questions(benchmark, "medqa"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"neither benchmark\.json nor a SUBSET"):
        list(mirage.questions(tmp_path / "empty", "all"))


def test_of_twin_options_only_the_letter_of_the_answer_is_right(evalkit, tmp_path) -> None:
    """In MedMCQA two letters can have the same text; the official score counts the letter."""
    options = {"A": "insulin", "B": "zinc", "C": "insulin", "D": "iron"}
    question = {"question": "Which is a hormone?", "options": options, "answer": "C"}
    (tmp_path / "benchmark.json").write_text(json.dumps({"medmcqa": {"1": question}}))
    replies = {"right": "Answer: C", "twin": "Answer: A"}
    for name, reply in replies.items():
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"id": "medmcqa:1", "prediction": reply}) + "\n")
    scores = {
        name: evalkit.json(
            "score",
            "mirage[arm=closed_book]",
            tmp_path / f"{name}.jsonl",
            "-p",
            f"data={tmp_path / 'benchmark.json'}",
        )["runs"][0]["metrics"]["accuracy"]["value"]
        for name in replies
    }
    assert scores == {"right": 1.0, "twin": 0.0}


@pytest.mark.parametrize("method", ["generate", "constrained", "likelihood"])
def test_gold_scores_full_marks_and_empty_none_in_both_arms(evalkit, benchmark, documents, method) -> None:
    runs = evalkit.json(
        "run",
        "mirage",
        "-p",
        f"data={benchmark}",
        "-p",
        f"documents={documents}",
        "-p",
        "search=bm25",
        "-p",
        f"method={method}",
        "-p",
        "circular=true",
        "-p",
        "permute=1",
        "--model",
        "baseline:gold",
        *(("--model", "baseline:empty") if method != "likelihood" else ()),
    )["runs"]
    assert len(runs) == (4 if method != "likelihood" else 2)
    for run in runs:
        gold = run["model"] == "baseline:gold"
        assert run["metrics"]["accuracy"]["value"] == float(gold), run
        assert run["counts"] == {"ok" if gold else "empty": 4}
        assert set(run["metrics"]) == {
            "accuracy",
            *(("brier", "ece[bins=10]") if method == "likelihood" else ()),
        }


def test_the_search_sees_the_question_and_the_prompt_the_passages(evalkit, benchmark, documents) -> None:
    run = evalkit.json(
        "run",
        "mirage[arm=retrieved]",
        "-p",
        f"data={benchmark}",
        "-p",
        f"documents={documents}",
        "-p",
        "search=bm25",
        "-p",
        "k=2",
        "--model",
        "baseline:gold",
    )["runs"][0]
    prompt = evalkit.json("show", run["id"], "--sample", "medqa:0000")["requests"][0]["messages"][0][
        "content"
    ]
    assert prompt.startswith("Below are numbered passages from the medical literature")
    assert "[1] Glucose. The hormone insulin lowers glucose.\n\nQuestion" in prompt
    assert "[2]" not in prompt, "the fourth passage shares words with the options only"
    assert (
        "Question: Which hormone lowers glucose?\n\nA. glucagon\nB. insulin\nC. cortisol\nD. adrenaline"
        in prompt
    )
    assert prompt.endswith("in this form:\nAnswer: X")


def test_an_agent_searches_first_and_is_asked_with_what_it_found(evalkit, benchmark, documents) -> None:
    """All its searches together show as many passages as one search of the arm retrieved."""
    data = ("-p", f"data={benchmark}", "-p", f"documents={documents}", "-p", "search=bm25", "-p", "k=8")
    run = evalkit.json("run", "mirage[arm=agent]", *data, "--model", "baseline:gold")["runs"][0]
    assert run["metrics"]["accuracy"]["value"] == 1
    sample = evalkit.json("show", run["id"], "--sample", "medqa:0000")
    searching, *_, asking = (request["messages"][0]["content"] for request in sample["requests"])
    assert searching.endswith("Question: Which hormone lowers glucose?")
    assert "[1] Glucose. The hormone insulin lowers glucose.\n\nQuestion" in asking
    assert [search["k"] for search in sample["answer"]["metadata"]["searches"]] == [2]


def test_retrieval_without_passages_says_what_to_give(evalkit, benchmark) -> None:
    said = evalkit(
        "run", "mirage[arm=retrieved]", "-p", f"data={benchmark}", "--model", "baseline:gold", code=None
    )
    assert "-p documents=FILE" in said.stderr + said.stdout
    evalkit("run", "mirage[arm=closed_book]", "-p", f"data={benchmark}", "--model", "baseline:gold")


def test_what_a_real_server_cannot_do_is_refused_and_the_rest_runs(evalkit, benchmark, llama_server) -> None:
    arguments = (
        "run",
        "mirage[arm=closed_book]",
        "-p",
        f"data={benchmark}",
        "--model",
        f"openai:tiny@{llama_server}",
    )
    said = evalkit(*arguments, "-p", "method=likelihood", code=None)
    assert said.returncode != 0
    assert "no log-probabilities of the prompt" in re.sub(r"\s+", " ", said.stderr + said.stdout)
    said = evalkit(*arguments, "-p", "method=constrained", code=None)
    assert "ignores regex" in re.sub(r"\s+", " ", said.stderr + said.stdout)
    (run,) = evalkit.json(*arguments, "-p", "method=constrained", "-p", "constraint=json_schema")["runs"]
    assert run["counts"] == {"ok": 4}, "llama.cpp keeps to a schema: every reply is an option"
    run = evalkit.json(*arguments, "-p", "max_tokens=32")["runs"][0]
    assert (run["status"], run["n"]) == ("complete", 4), (
        "in words the same server is asked, without that probe"
    )


def test_the_real_questions(evalkit, data: Path) -> None:
    """Gold full marks, empty none, guessing one in four within its own interval; by subset."""
    runs = evalkit.json(
        "run",
        "mirage[arm=closed_book]",
        "-p",
        f"data={data / 'mirage'}",
        "--model",
        "baseline:gold",
        "--model",
        "baseline:random",
        "--model",
        "baseline:empty",
    )["runs"]
    found = {run["model"].partition(":")[2]: run["metrics"]["accuracy"] for run in runs}
    assert [run["n"] for run in runs] == [2362, 2362, 2362]
    assert (found["gold"]["value"], found["empty"]["value"]) == (1.0, 0.0)
    assert found["random"]["ci"][0] < 0.25 < found["random"]["ci"][1]

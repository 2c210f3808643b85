"""Queries, judgements and runs as files: both layouts, and what is wrong where."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from evalkit.errors import UsageError
from evalkit.retrieval.trec import read_benchmark, read_qrels, read_queries, read_run, write_run


@pytest.mark.parametrize(
    "text",
    [
        "query-id\tcorpus-id\tscore\n1\tx y\t1\n1\tb\t0\n2\tc\t2\n",
        "1\tx y\t1\n1\tb\t0\n\n2\tc\t2\n",
        "1\t0\tx y\t1\r\n1\t0\tb\t0\r\n2\t0\tc\t2",
    ],
)
def test_judgements_of_both_layouts(tmp_path: Path, text: str) -> None:
    (tmp_path / "qrels").write_text(text)
    assert read_qrels(tmp_path / "qrels") == {"1": {"x y": 1, "b": 0}, "2": {"c": 2}}
    (tmp_path / "trec").write_text("7 Q0 d1 -1\n7 Q0 d2 3\n")
    assert read_qrels(tmp_path / "trec") == {"7": {"d1": -1, "d2": 3}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1\ta\t1\n1\tb\n", r"qrels:2: 2 fields"),
        ("1\ta\t0.5\n", r"qrels:1: the grade '0\.5' is not a whole number"),
        ("1\ta\t1\n1\tb\tyes\n", r"qrels:2: the grade 'yes'"),
        ("1\ta\t1\n1\ta\t0\n", r"qrels:2: document 'a' has another grade"),
        ("query-id\tcorpus-id\tscore\n", "the file holds no judgements"),
    ],
)
def test_broken_judgements_are_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "qrels").write_text(text)
    with pytest.raises(UsageError, match=message):
        read_qrels(tmp_path / "qrels")


def test_queries(tmp_path: Path) -> None:
    path = tmp_path / "queries.jsonl"
    path.write_text('{"_id": "1", "text": "one"}\n\n{"query_id": 2, "question": "two", "more": 3}\n')
    assert read_queries(path) == {"1": "one", "2": "two"}
    for line, message in (
        ('{"_id": "1"}', "3: a query needs an id"),
        ("{", "3: not a JSON object"),
        ('{"_id": "1", "text": "another"}', "3: query '1' has another text above"),
    ):
        path.write_text('{"_id": "1", "text": "one"}\n\n' + line)
        with pytest.raises(UsageError, match=rf"queries\.jsonl:{message}"):
            read_queries(path)


def test_a_run_comes_back_as_it_was_written_in_trec_evals_order(tmp_path: Path) -> None:
    rankings = {"q": {"a": 0.1 + 0.2, "b": 7.0, "c": 7.0}, "p": {"z": -1.5}}
    write_run(tmp_path / "x.run", "my retriever", rankings)
    assert read_run(tmp_path / "x.run") == ("my-retriever", rankings)
    assert [line.split()[2:4] for line in (tmp_path / "x.run").read_text().splitlines()] == [
        ["c", "1"],
        ["b", "2"],
        ["a", "3"],
        ["z", "1"],
    ]
    (tmp_path / "x.run.gz").write_bytes(gzip.compress((tmp_path / "x.run").read_bytes()))
    assert read_run(tmp_path / "x.run.gz")[1] == rankings
    with pytest.raises(UsageError, match="cannot hold 'two words'"):
        write_run(tmp_path / "y.run", "x", {"q": {"two words": 1.0}})
    with pytest.raises(UsageError, match="cannot be written"):
        write_run(tmp_path / "no" / "y.run", "x", {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 Q0 a 1 2.0 t\n1 Q0 b 2\n", "run:2: a line of a run is"),
        ("1 Q0 a 1 high t\n", "run:1: the score 'high' is not a number"),
        ("1 Q0 a 1 nan t\n", "run:1: the score 'nan' is not a number"),
        ("1 Q0 a 1 2 t\n1 Q0 a 2 1 t\n", "run:2: document 'a' comes twice for query '1'"),
        ("\n", "the file holds no rankings"),
    ],
)
def test_broken_runs_are_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "run").write_text(text)
    with pytest.raises(UsageError, match=message):
        read_run(tmp_path / "run")


def test_a_benchmark_says_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        read_benchmark(tmp_path / "none")
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "dev.tsv").write_text("1\ta\t1\n")
    with pytest.raises(
        UsageError, match=r"no judgements for split 'test'.*there are qrels/dev\.tsv: choose by --split"
    ):
        read_benchmark(tmp_path)
    found = read_benchmark(tmp_path, split="dev")
    assert (found.qrels, found.queries, found.name) == ({"1": {"a": 1}}, None, tmp_path.name)

"""``evalkit retrieve``: retrievers and runs on a benchmark, stored and ranked; published figures."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from evalkit.protocols import Retriever
from evalkit.retrieval.benchmark import settled
from evalkit.retrieval.trec import Benchmark
from evalkit.stats import paired
from evalkit.store import open_store
from evalkit.types import Passage
from evalkit.util.progress import Silent

DOCUMENTS = {
    "zinc": "Zinc lozenges shorten the common cold.",
    "iron": "Iron tablets treat anaemia in pregnancy.",
    "cold": "Cold water immersion after exercise.",
    "sleep": "Melatonin for sleep in shift workers.",
}
QUERIES = {
    "q1": "Does zinc shorten colds?",
    "q2": "anaemia treatment",
    "q3": "What helps shift workers sleep?",
}
QRELS = {"q1": {"zinc": 2, "cold": 0}, "q2": {"iron": 1}, "q3": {"sleep": 1, "zinc": 1}}


def beir(
    home: Path, documents: dict[str, str], queries: dict[str, str], qrels: dict[str, dict[str, int]]
) -> Path:
    """A benchmark in BEIR's layout."""
    (home / "qrels").mkdir(parents=True)
    rows = [{"_id": id, "title": "", "text": text} for id, text in documents.items()]
    (home / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = [{"_id": id, "text": text} for id, text in queries.items()]
    (home / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))
    with (home / "qrels" / "test.tsv").open("w", newline="") as file:
        writer = csv.writer(file, delimiter="\t")
        writer.writerow(["query-id", "corpus-id", "score"])
        writer.writerows((q, d, grade) for q, grades in qrels.items() for d, grade in grades.items())
    return home


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    return beir(tmp_path / "tiny", DOCUMENTS, QUERIES, QRELS)


def test_several_retrievers_become_runs_of_one_task(evalkit: Any, bench: Path) -> None:
    made = evalkit.json("retrieve", str(bench), "--search", "bm25", "--search", "bm25?k1=2.0", "-k", "4")
    assert [(r["task"], r["model"], r["status"], r["n"]) for r in made["runs"]] == [
        ("retrieval/tiny", "bm25", "complete", 3),
        ("retrieval/tiny", "bm25?k1=2.0", "complete", 3),
    ]
    first = made["runs"][0]["metrics"]
    assert list(first) == ["nDCG@4", "AP@4", "RR@4", "R@4", "P@4"]
    # by hand: q1 and q2 find theirs first; q3 finds one of two, first: AP 1/2, recall 1/2
    assert first["RR@4"]["value"] == 1
    assert first["AP@4"]["value"] == pytest.approx((1 + 1 + 0.5) / 3)
    assert first["P@4"]["value"] == pytest.approx(0.25)
    with open_store(bench.parent / ".evalkit" / "evalkit.db") as store:
        rows = store.board.ranking("retrieval/tiny", "nDCG@4")
        assert sorted((row.rank, row.run.spec.model) for row in rows) == [(1, "bm25"), (1, "bm25?k1=2.0")]
        run = store.runs.get(made["runs"][0]["id"])
        record = next(r for r in store.samples.records(run.id) if r.sample.id == "q1")
        assert record.sample.input == QUERIES["q1"]
        assert record.answer is not None
        assert record.answer.ranked is not None
        assert record.answer.ranked[0] == "zinc"
        assert record.answer.passages is not None
        assert record.answer.passages[0].text == DOCUMENTS["zinc"]
        facts = run.spec.provenance
        assert facts["benchmark"]["depth"] == 4
        assert facts["benchmark"]["unknown documents"] == 0
        assert facts["fixture retriever"]["kind"] == "bm25"
    shown = evalkit("show", run.id, "--sample", "q3").stdout
    assert "sleep: 1" in shown
    assert "zinc: not among 1" in shown


def test_retrievers_are_compared_query_by_query(evalkit: Any, bench: Path) -> None:
    (bench.parent / "none.run").write_text("q1 Q0 zinc 1 2.0 x\n")
    options = ("retrieve", str(bench), "--search", "bm25", "--run", "none.run", "--measure", "RR@10")
    (one,) = evalkit.json(*options)["against_first"]
    assert (one["model"], one["less"], one["metric"]) == ("none", "bm25", "RR@10")
    expected = paired([1, 0, 0], [1, 1, 1], low=0, high=1)
    assert one["difference"]["value"] == pytest.approx(expected.value)
    assert tuple(one["difference"]["ci"]) == pytest.approx(expected.ci)
    shown = evalkit(*options).stdout
    assert "retrieval/tiny: difference to bm25, paired by sample" in shown
    assert "wall" in shown
    assert "calls" not in shown  # no model was asked


def test_dense_and_hybrid_retrievers_are_measured_alike(evalkit: Any, bench: Path) -> None:
    names = ("faiss", "hybrid", "bm25")
    made = evalkit.json("retrieve", str(bench), *(w for name in names for w in ("--search", name)), "-k", "2")
    assert [(r["model"], r["status"]) for r in made["runs"]] == [(name, "complete") for name in names]
    assert all(r["metrics"]["RR@2"]["value"] == 1 for r in made["runs"])
    with open_store(bench.parent / ".evalkit" / "evalkit.db") as store:
        facts = store.runs.get(made["runs"][0]["id"]).spec.provenance["fixture retriever"]
    assert facts["facts"]["index"]["family"] == "flat"


def test_a_run_file_that_was_written_gives_the_same_scores(evalkit: Any, bench: Path) -> None:
    searched = evalkit.json("retrieve", str(bench), "--out-run", "mine.run")
    read = evalkit.json("retrieve", str(bench), "--run", "mine.run")
    (before,), (after,) = searched["runs"], read["runs"]
    assert (before["model"], after["model"]) == ("bm25", "mine")
    assert before["metrics"] == after["metrics"]
    rescored = evalkit.json("rescore", after["id"])["runs"][0]
    assert rescored["metrics"] == after["metrics"]
    more = evalkit.json(
        "rescore", after["id"], "--metric", "recall(1)", "--metric", "ranking_measure('Bpref')"
    )
    assert more["runs"][0]["metrics"]["recall@1"]["value"] == pytest.approx((1 + 1 + 0.5) / 3)
    again = evalkit.json("rescore", after["id"])["runs"][0]
    assert list(again["metrics"]) == [*after["metrics"], "recall@1", "Bpref"]
    both = evalkit("retrieve", str(bench), "--search", "bm25", "--run", "mine.run", "--out-run", "{}.trec")
    assert "mine" in both.stdout
    assert (bench.parent / "bm25.trec").read_text() == (bench.parent / "mine.run").read_text()


def test_a_query_that_a_run_lacks_scores_nothing_and_is_counted(evalkit: Any, bench: Path) -> None:
    (bench.parent / "part.run").write_text("q1 Q0 zinc 1 2.0 x\nq9 Q0 iron 1 2.0 x\n")
    done = evalkit(
        "retrieve", str(bench), "--run", "part.run", "--measure", "R@10", "--measure", "Judged@1", "--json"
    )
    assert json.loads(done.stdout)["runs"][0]["metrics"]["R@10"]["value"] == pytest.approx(1 / 3)
    assert "part.run: 2 queries without a ranking score 0" in done.stderr
    assert "1 queries without judgements are left out" in done.stderr
    (bench.parent / "strange.run").write_text("q9 Q0 iron 1 2.0 x\n")
    refused = evalkit("retrieve", str(bench), "--run", "strange.run", code=2)
    assert "has none of the 3 judged queries; its queries are such as 'q9'" in refused.stderr


def test_relevant_documents_that_the_corpus_lacks(evalkit: Any, tmp_path: Path) -> None:
    qrels = {"q1": {"zinc": 1, "gone": 1, "also gone": 0}, "q2": {"gone": 1}, "q3": {"sleep": 1}}
    bench = beir(tmp_path / "tiny", DOCUMENTS, QUERIES, qrels)
    refused = evalkit("retrieve", str(bench), code=2)
    assert "1 of 3 relevant documents are not in the corpus, such as 'gone'" in refused.stderr
    missed = evalkit("retrieve", str(bench), "--unknown", "miss", "--measure", "R@10", "--json")
    assert json.loads(missed.stdout)["runs"][0]["metrics"]["R@10"]["value"] == pytest.approx(
        (0.5 + 0 + 1) / 3
    )
    assert "1 relevant documents are not in the corpus: never found" in missed.stderr
    dropped = evalkit("retrieve", str(bench), "--unknown", "drop", "--measure", "R@10", "--json")
    (run,) = json.loads(dropped.stdout)["runs"]
    assert (run["metrics"]["R@10"]["value"], run["n"]) == (1.0, 2)
    assert "left out, and 1 queries with them" in dropped.stderr


def test_what_is_wrong_is_said_before_anything_is_searched(evalkit: Any, bench: Path) -> None:
    (bench / "qrels" / "dev.tsv").write_text("q8\tzinc\t1\n")
    for options, message in (
        (["--measure", "ndcg@10"], "no measure 'ndcg@10'"),
        (["--split", "dev"], "1 of 1 judged queries have no text, such as 'q8'"),
        (["--search", "bm26"], "no retriever 'bm26'. Did you mean 'bm25'?"),
        (["--search", "bm25", "--search", "bm25?b=2"], "b is 2.0, but must be a number from 0 to 1"),
        (["--search", "bm25", "--search", "bm25?b=1", "--out-run", "x"], "put {} where its name belongs"),
        (["--corpus", "nowhere.jsonl"], "nowhere.jsonl: no such file or folder"),
        (["--run", "nowhere.run"], "nowhere.run: No such file"),
    ):
        assert message in evalkit("retrieve", str(bench), *options, code=2).stderr


def test_chunks_count_for_their_documents(evalkit: Any, tmp_path: Path) -> None:
    long = {"long": " ".join(f"Zinc was given on day {n}." for n in range(30)), "short": "Zinc."}
    bench = beir(tmp_path / "tiny", long, {"q": "zinc"}, {"q": {"short": 1}})
    made = evalkit.json("retrieve", str(bench), "--search", "bm25?chunk_sentences=1&k1=9", "-k", "2")
    assert made["runs"][0]["metrics"]["R@2"]["value"] == 1


def test_a_query_that_is_a_document_does_not_find_itself(evalkit: Any, tmp_path: Path) -> None:
    """BEIR's rule for ArguAna and Quora, ``ignore_identical_ids``."""
    arguments = {"for": "zinc helps colds", "against": "zinc never helps any colds", "other": "iron"}
    bench = beir(tmp_path / "arguments", arguments, {"for": arguments["for"]}, {"for": {"against": 1}})
    options = ("retrieve", str(bench), "--measure", "RR@10", "--measure", "P@1", "-k", "1", "--json")
    done = evalkit(*options, "--out-run", "mine.run")
    assert json.loads(done.stdout)["runs"][0]["metrics"]["RR@10"]["value"] == 1
    assert "1 of 1 queries have the id of a document: left out of their rankings, as BEIR does" in done.stderr
    assert "for Q0 for" not in (tmp_path / "mine.run").read_text()
    kept = evalkit(*options, "--same-id", "keep")
    assert json.loads(kept.stdout)["runs"][0]["metrics"]["RR@10"]["value"] == 0
    assert "ranked like others (--same-id drop changes that)" in kept.stderr
    (tmp_path / "theirs.run").write_text("for Q0 for 1 2.0 x\nfor Q0 against 2 1.0 x\n")
    read = evalkit(*options, "--run", "theirs.run")
    assert json.loads(read.stdout)["runs"][0]["metrics"]["RR@10"]["value"] == 1
    assert "left out of their rankings" in read.stderr


def test_a_document_with_the_querys_id_that_is_judged_relevant_stays(evalkit: Any, tmp_path: Path) -> None:
    bench = beir(tmp_path / "tiny", DOCUMENTS, {"zinc": "zinc"}, {"zinc": {"zinc": 1}})
    done = evalkit("retrieve", str(bench), "--measure", "RR@10", "--json")
    assert json.loads(done.stdout)["runs"][0]["metrics"]["RR@10"]["value"] == 1
    assert "queries have the id" not in done.stderr


def test_a_folder_that_is_not_beirs_ranks_a_document_with_the_querys_id(evalkit: Any, tmp_path: Path) -> None:
    bench = beir(
        tmp_path / "own", {"1": "zinc for colds", "2": "colds"}, {"1": "zinc colds"}, {"1": {"2": 1}}
    )
    (bench / "qrels" / "test.tsv").rename(bench / "qrels.test.tsv")
    done = evalkit("retrieve", str(bench), "--measure", "P@1", "--json")
    assert json.loads(done.stdout)["runs"][0]["metrics"]["P@1"]["value"] == 0
    assert "1 of 1 queries have the id of a document: ranked like others" in done.stderr


def test_empty_documents_do_not_stop_a_benchmark(evalkit: Any, tmp_path: Path) -> None:
    qrels = {"q1": {"zinc": 1}, "q2": {"iron": 1, "nothing": 1}}
    queries = {"q1": QUERIES["q1"], "q2": QUERIES["q2"]}
    bench = beir(tmp_path / "fiqa", DOCUMENTS | {"nothing": "", "blank": " "}, queries, qrels)
    done = evalkit("retrieve", str(bench), "--measure", "R@10", "--json")
    assert json.loads(done.stdout)["runs"][0]["metrics"]["R@10"]["value"] == pytest.approx((1 + 0.5) / 2)
    assert "2 documents have neither title nor text: left out" in done.stderr


def test_queries_that_find_nothing_are_counted(evalkit: Any, tmp_path: Path) -> None:
    bench = beir(
        tmp_path / "tiny", DOCUMENTS, {"q1": "zinc", "q2": "the"}, {"q1": {"zinc": 1}, "q2": {"iron": 1}}
    )
    said = evalkit("retrieve", str(bench), "--measure", "RR@10").stderr
    assert "bm25: 1 of 2 queries find no document at all" in said


async def test_a_plug_in_need_not_know_its_documents() -> None:
    class Plain(Retriever):
        async def search(self, query: str, k: int) -> list[Passage]:
            return []

        async def get(self, ids: Sequence[str]) -> list[Passage]:
            return []

    bench = Benchmark("b", Path(), {"q": {"gone": 1}}, Path("qrels"))
    plain = Plain(Path(), Path(), progress=Silent())
    assert await settled(bench, plain, "error") == (bench, None)


def lines(path: Path) -> Iterable[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        yield from map(json.loads, file)


def measured(evalkit: Any, bench: Path, *options: str, k: int = 1000) -> dict[str, float]:
    (run,) = evalkit.json("retrieve", str(bench), "-k", str(k), *options)["runs"]
    assert run["status"] == "complete"
    return {name: estimate["value"] for name, estimate in run["metrics"].items()} | {"n": run["n"]}


def test_bm25_on_scifact_is_as_published(evalkit: Any, data: Path) -> None:
    """Anserini, Lucene BM25 flat (k1 0.9, b 0.4)."""
    published = json.loads((data / "scifact" / "published.json").read_text())["rows"][0]
    found = measured(evalkit, data / "scifact")
    assert found["nDCG@10"] == pytest.approx(published["ndcg_at_10"], abs=0.01)
    assert found["R@100"] == pytest.approx(published["recall_at_100"], abs=0.01)
    assert found["R@1000"] == pytest.approx(published["recall_at_1000"], abs=0.01)


def test_a_published_run_on_scifact_gives_what_trec_eval_gives(evalkit: Any, data: Path) -> None:
    expected = json.loads((data / "scifact" / "trec_eval_expected.json").read_text())
    names = {
        "ndcg_cut_10": "nDCG@10",
        "map": "AP",
        "map_cut_10": "AP@10",
        "recall_100": "R@100",
        "P_10": "P@10",
        "recip_rank": "RR",
        "bpref": "Bpref",
        "Rprec": "Rprec",
        "success_5": "Success@5",
    }
    asked = [word for name in names.values() for word in ("--measure", name)]
    run = data / "scifact" / "bm25.test.run.gz"
    found = measured(evalkit, data / "scifact", "--run", str(run), *asked)
    for theirs, name in names.items():
        assert found[name] == pytest.approx(expected["mean"][theirs], abs=1e-6), name
    with open_store(evalkit.folder / ".evalkit" / "evalkit.db") as store:
        for record in store.samples.records(store.runs.find()[0].id):
            wanted = expected["per_query"].get(record.sample.id, {})
            scores = {score.metric: score.value for score in record.scores}
            assert {n: scores[names[n]] for n in wanted if n in names} == pytest.approx(
                {n: value for n, value in wanted.items() if n in names}, abs=1e-6
            )


@pytest.mark.parametrize(
    ("run", "expected"), [("results.test", "out.test"), ("results.trunc", "out.test.aqc")]
)
def test_trec_evals_own_fixtures(evalkit: Any, data: Path, run: str, expected: str) -> None:
    names = {
        "map": "AP",
        "recip_rank": "RR",
        "P_5": "P@5",
        "P_1000": "P@1000",
        "Rprec": "Rprec",
        "bpref": "Bpref",
    }
    asked = [word for name in names.values() for word in ("--measure", name)]
    found = measured(evalkit, data / "trec_eval", "--run", str(data / "trec_eval" / run), *asked)
    printed = [line.split() for line in (data / "trec_eval" / expected).read_text().splitlines()]
    wanted = {measure: value for measure, query, value in printed if query == "all" and measure in names}
    assert {measure: f"{found[name]:.4f}" for measure, name in names.items()} == wanted


def reference(data: Path, what: str) -> dict[str, Any]:
    rows = json.loads((data / "reference_scores.json").read_text())
    (row,) = (row for row in rows if row["what"].startswith(what))
    return row


def agrees(evalkit: Any, bench: Path, row: dict[str, Any], *options: str) -> None:
    names = {"ndcg@10": "nDCG@10", "r@10": "R@10", "r@100": "R@100", "mrr@10": "RR@10"}
    asked = [word for name in names.values() for word in ("--measure", name)]
    found = measured(evalkit, bench, *asked, *options, k=100)
    assert found["n"] == row["queries"]
    for theirs, name in names.items():
        assert found[name] == pytest.approx(row[theirs], abs=0.01), name


def test_bm25_on_the_pubmedqa_pool(evalkit: Any, data: Path, tmp_path: Path) -> None:
    documents = {r["doc_id"]: r["text"] for r in lines(data / "pubmedqa" / "docs.jsonl.gz")}
    for folder, name, prefix in (("rct_conclusions", "docs", ""), ("scifact", "corpus", "s2:")):
        for r in lines(data / folder / f"{name}.jsonl.gz"):
            documents[prefix + r["doc_id"]] = f"{r['title']} {r['text']}"
    assert len(documents) == 9659
    questions = list(lines(data / "pubmedqa" / "questions.jsonl.gz"))
    bench = beir(
        tmp_path / "pool",
        documents,
        {q["id"]: q["question"] for q in questions},
        {q["id"]: dict.fromkeys(q["gold_doc_ids"], 1) for q in questions},
    )
    agrees(evalkit, bench, reference(data, "BM25 question->gold abstract"))


def test_bm25_on_bioasqs_passages_and_documents(evalkit: Any, data: Path, tmp_path: Path) -> None:
    passages = list(lines(data / "bioasq" / "passages.jsonl.gz"))
    questions = list(lines(data / "bioasq" / "questions.jsonl.gz"))
    asked = {q["id"]: q["question"] for q in questions}
    by_passage = {p["passage_id"]: p["text"] for p in passages}
    documents: dict[str, str] = {}
    for p in passages:
        documents[p["doc_id"]] = f"{documents.get(p['doc_id'], '')} {p['text']}".strip()
    pairs = [("passages", by_passage, "gold_passage_ids"), ("documents", documents, "gold_doc_ids")]
    for what, texts, gold in pairs:
        qrels = {q["id"]: dict.fromkeys(q[gold], 1) for q in questions}
        bench = beir(tmp_path / what, texts, asked, qrels)
        agrees(evalkit, bench, reference(data, f"BM25 question->gold {what}"), "--unknown", "drop")

"""BioASQ: its data in each layout, what gold, garbage and copying score, and BioASQ's own averages."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest
from evalkit_tasks.biomedical import bioasq
from evalkit_tasks.biomedical.snippets import bioasq_snippets

from evalkit import Answer, Passage, Sample
from evalkit.errors import CorpusError, UsageError

ROWS = Path(__file__).parent / "rows" / "bioasq"


def scores(run: dict) -> dict[str, float]:
    return {name: m["value"] for name, m in run["metrics"].items()}


def test_snippets_and_documents() -> None:
    first = next(bioasq.questions(ROWS, "snippets"))
    assert list(first.relevance) == ["pmid:9000002#0", "pmid:9000001#0"], "in the order of the file"
    assert first.targets[1] == "Yes, zinc makes colds shorter."
    whole = next(bioasq.questions(ROWS, "documents"))
    assert list(whole.relevance) == ["pmid:9000002", "pmid:9000001"], (
        "an abstract without snippets is left out"
    )
    pool = {row["id"]: row["text"] for row in bioasq.pool(ROWS, "documents")}
    assert pool["pmid:9000001"].endswith("in 212 adults. Nausea was more frequent with zinc.")
    assert len(list(bioasq.pool(ROWS, "snippets"))) == 7


def test_the_hub_s_edition(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow
    from pyarrow import parquet

    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    rows = [{"id": 4, "question": "Why?", "answer": "So.", "relevant_passage_ids": "[11, 12]"}]
    file = tmp_path / "test.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    (sample,) = bioasq.questions(file, "snippets")
    assert (sample.id, sample.target, sample.relevance) == ("4", "So.", {"11": 1, "12": 1})
    with pytest.raises(UsageError, match=r"no exact answers: .* -p data=FOLDER"):
        list(bioasq.exact_questions(file, "snippets"))


def golden(file: Path) -> Path:
    """The same rows as a golden file, with the forms that exact answers have in its editions."""
    passages = {row["passage_id"]: row for row in rows_in("passages")}
    questions = [
        {
            "id": row["id"],
            "type": row["type"],
            "body": row["question"],
            "ideal_answer": row["ideal_answers"],
            "exact_answer": row["exact_answer"],
            "documents": [url(name) for name in row["gold_doc_ids"]],
            "snippets": [
                {
                    "document": url(passages[name]["doc_id"]),
                    "text": passages[name]["text"],
                    "beginSection": passages[name]["section"],
                    "offsetInBeginSection": passages[name]["offset"],
                }
                for name in row["gold_passage_ids"]
            ],
        }
        for row in rows_in("questions")
    ]
    questions[0]["exact_answer"] = "Yes."
    questions[1]["exact_answer"] = ["KDR9", "kinase receptor 9"]
    questions[1]["ideal_answer"] = questions[1]["ideal_answer"][0]
    file.write_text(json.dumps({"questions": questions}))
    return file


def rows_in(name: str) -> list[dict]:
    return [json.loads(line) for line in (ROWS / f"{name}.jsonl").read_text().splitlines()]


def url(document: str) -> str:
    return document.replace("pmid:", "http://www.ncbi.nlm.nih.gov/pubmed/")


@pytest.mark.parametrize("unit", ["snippets", "documents"])
def test_a_golden_file_gives_the_same_questions(tmp_path: Path, unit) -> None:
    file = golden(tmp_path / "8B1_golden.json")
    assert list(bioasq.questions(file, unit)) == list(bioasq.questions(ROWS, unit))
    assert list(bioasq.exact_questions(file, unit)) == list(bioasq.exact_questions(ROWS, unit))
    pool = {row["id"]: row["text"] for row in bioasq.pool(file, unit)}
    asked = {name for sample in bioasq.questions(file, unit) for name in sample.relevance}
    assert asked <= pool.keys()
    assert pool.keys() <= {row["id"] for row in bioasq.pool(ROWS, unit)}


def test_a_broken_golden_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "golden.json"
    file.write_text('{"questions": [{"id": "1", "type": "yesno", "ideal_answer": "x"}]}')
    with pytest.raises(CorpusError, match=r"golden\.json: question 1 lacks 'body'"):
        list(bioasq.questions(file, "snippets"))
    file.write_text("[]")
    with pytest.raises(CorpusError, match="no golden file of BioASQ"):
        list(bioasq.questions(file, "snippets"))


def test_a_broken_row_is_named(tmp_path: Path) -> None:
    for path in ROWS.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with (tmp_path / "passages.jsonl").open("a") as file:
        file.write('{"passage_id": "1", "doc_id": "2"}\n')
    with pytest.raises(CorpusError, match=r"passages\.jsonl:8: it needs text"):
        list(bioasq.pool(tmp_path, "snippets"))


@pytest.mark.parametrize(
    ("reply", "names"),
    [
        ("KDR9", ["KDR9"]),
        ("1. KDR9\n2) EGFR\n", ["KDR9", "EGFR"]),
        ("- 5-HT\n\n* -5 kDa\n", ["5-HT", "-5 kDa"]),
        ("**TP53**.", ["TP53"]),
        ("Answer: TP53 [1].", ["TP53"]),
        ("**Answer:** TP53", ["TP53"]),
        ("<answer>TP53</answer>", ["TP53"]),
        ("IL\u20116 【2】", ["IL-6"]),
        ("The answer is: TP53¹", ["TP53"]),
        ("a) TP53 (1)\n② BRCA1", ["TP53", "BRCA1"]),
        ("The genes are:\n1. **BRCA1** [1][2]\n2. `BRCA2`;\n(3) “PALB2”", ["BRCA1", "BRCA2", "PALB2"]),
        ("## Genes\n**1.** KDR9\n\n**2.** EGFR", ["KDR9", "EGFR"]),
        ("- **BRCA1**: a tumour suppressor [1]\n- **BRCA2** – another one", ["BRCA1", "BRCA2"]),
        (
            "[1,2,4]triazole\nG1P[8]\nHLA-B*57:01\n[18]F-FDG",
            ["[1,2,4]triazole", "G1P[8]", "HLA-B*57:01", "[18]F-FDG"],
        ),
    ],
)
def test_names_are_lines_without_bullets(reply: str, names: list[str]) -> None:
    assert bioasq.read_names(reply) == names


def test_averages_by_hand() -> None:
    """Twelve relevant ones, two found at ranks 1 and 4: (1 + 2/4) / 10. Nothing found is ε in the mean."""
    sample = Sample("1", "?", relevance={f"d{n}": 1 for n in range(12)})
    found = Answer(ranking=("d0", "x", "y", "d5", *(f"z{n}" for n in range(6)), "d7"))
    ap, gmap = bioasq.bioasq_ap(), bioasq.bioasq_gmap()
    assert ap(sample, found) == pytest.approx(0.15)
    assert ap(sample, Answer()) is None
    assert gmap.aggregate is not None
    assert gmap.aggregate([0.15, 0.0]) == pytest.approx(math.sqrt(0.15001 * 1e-5))


def test_each_type_is_scored_by_its_own_measure(evaluate) -> None:
    from evalkit.testing import load_task

    file = Path(bioasq.__file__).with_name("task_bioasq.py")
    replies = {
        "zinc": "No.",
        "receptor": "EGFR\nkinase receptor 9",
        "symptoms": "- Arthralgia\n- rash\n- gout",
    }

    def reply(request) -> str:
        return next(text for word, text in replies.items() if word in request.sample.input)

    run = evaluate(load_task(file, "bioasq_exact"), reply, data=ROWS, arm="closed_book")
    values = {name: m.value for name, m in run.metrics.items()}
    assert values == pytest.approx(
        {
            "yesno_accuracy": 0,
            "macro_f1": 0,
            "factoid_strict": 0,
            "factoid_lenient": 1,
            "factoid_mrr": 1 / 2,
            "list_precision": 2 / 3,
            "list_recall": 2 / 3,
            "list_f": 2 / 3,
        }
    )


def test_a_third_of_the_real_ideal_answers_are_copies(data: Path) -> None:
    def words(text: str) -> str:
        return f" {' '.join(re.findall('[a-z0-9]+', text.lower()))} "

    pool = {row["id"]: words(row["text"]) for row in bioasq.pool(data / "bioasq", "snippets")}
    copied = [
        any(words(target) in pool[name] for target in sample.targets for name in sample.relevance)
        for sample in bioasq.questions(data / "bioasq", "snippets")
    ]
    assert (sum(copied), len(copied)) == (511, 1497)


def test_copying_the_first_gold_passage_has_the_known_score_on_the_real_set(evalkit, data: Path) -> None:
    """ROUGE-1/2/L 51.02/39.36/47.18, of an independent script over the same files."""
    (run,) = evalkit.json(
        "run",
        "bioasq[arm=oracle]",
        "-p",
        f"data={data / 'bioasq'}",
        "-p",
        "search=bm25",
        "--model",
        "baseline:copy",
    )["runs"]
    values = scores(run)
    assert run["n"] == 1497
    assert values["rouge1"] == pytest.approx(0.5102, abs=1e-4)
    assert values["rouge2"] == pytest.approx(0.3936, abs=1e-4)
    assert values["rougeL"] == pytest.approx(0.4718, abs=1e-4)
    assert values["copy_rate"] > 0.999


@pytest.mark.parametrize(("unit", "recall"), [("snippets", 0.6651), ("documents", 0.7827)])
def test_bm25_finds_what_it_is_known_to_find(evalkit, data: Path, unit: str, recall: float) -> None:
    """Recall@10 of an independent script's BM25 over the same snippets and abstracts."""
    (run,) = evalkit.json(
        "run",
        "bioasq[arm=retrieved]",
        "-p",
        f"data={data / 'bioasq'}",
        "-p",
        f"unit={unit}",
        "-p",
        "search=bm25",
        "--model",
        "baseline:empty",
    )["runs"]
    assert run["n"] == 1497
    assert scores(run)["recall@10"] == pytest.approx(recall, abs=0.003)


def test_gold_has_full_marks_on_every_exact_answer_of_the_real_set(evalkit, data: Path) -> None:
    (run,) = evalkit.json(
        "run", "bioasq_exact[arm=closed_book]", "-p", f"data={data / 'bioasq'}", "--model", "baseline:gold"
    )["runs"]
    assert run["n"] == 476 + 409 + 260
    assert set(scores(run).values()) == {1.0}


def shown(*places: tuple[str, str, int, int]) -> Answer:
    passages = tuple(
        Passage(id, "x" * (end - begin), metadata={"section": section, "offset": begin})
        for id, section, begin, end in places
    )
    return Answer(passages=passages)


def snippet_scores(answer: Answer, marked: list[list]) -> list[float | None]:
    sample = Sample("q", "?", "a", metadata={"snippets": marked})
    return [bioasq_snippets(name)(sample, answer) for name in ("precision", "recall", "f1", "ap")]


def test_snippets_are_measured_by_characters() -> None:
    """By hand: of 42 marked characters, the first returned has 11 of its 21, the third all of its 11.

    As in BioASQ's program, a snippet of 20 characters counts as 21.
    """
    marked = [["d1", "abstract", 0, 20], ["d2", "title", 0, 20]]
    answer = shown(("d1#0", "abstract", 10, 30), ("d3#0", "abstract", 0, 10), ("d2#4", "title", 5, 15))
    precision, recall, f1, ap = snippet_scores(answer, marked)
    assert precision == pytest.approx(22 / 43)
    assert recall == pytest.approx(22 / 42)
    assert f1 == pytest.approx(44 / 85)
    assert ap == pytest.approx((11 / 21 + 22 / 43) / 2)


@pytest.mark.parametrize(
    ("measure", "marked", "returned", "value"),
    [
        ("precision", (0, 10), (5, 15), 0.545455),
        ("recall", (20, 80), (37, 47), 0.180328),
        ("f1", (20, 25), (0, 60), 0.179104),
        ("ap", (0, 20), (20, 25), 0.166667),
    ],
)
def test_snippets_end_where_the_program_of_bioasq_ends_them(measure, marked, returned, value) -> None:
    """Values of BioASQ's own program."""
    sample = Sample("q", "?", "a", metadata={"snippets": [["1", "abstract", *marked]]})
    answer = shown(("1#0", "abstract", *returned))
    assert bioasq_snippets(measure)(sample, answer) == pytest.approx(value, abs=1e-6)


def test_snippets_that_overlap_are_one_and_other_sections_are_others() -> None:
    marked = [["d", "abstract", 0, 10], ["d", "abstract", 5, 20], ["d", "abstract", 19, 30]]
    whole = shown(("d#0", "abstract", 20, 30), ("d#1", "abstract", 0, 12), ("d#2", "abstract", 10, 22))
    assert snippet_scores(whole, marked) == [1, 1, 1, 1]
    assert snippet_scores(shown(("d#0", "title", 0, 30)), marked) == [0, 0, 0, 0]
    assert snippet_scores(shown(), marked) == [0, 0, 0, 0]


def test_only_ten_snippets_count_and_average_precision_may_exceed_one() -> None:
    pieces = shown(*((f"d#{n}", "abstract", 10 * n, 10 * n + 5) for n in range(12)))
    assert snippet_scores(pieces, [["d", "abstract", 0, 200]]) == pytest.approx([1, 60 / 201, 120 / 261, 10])


def test_the_geometric_mean_of_snippets_is_that_of_their_average_precisions() -> None:
    """By hand: of 11/21 and 0, the root of (11/21 + 0.00001) × 0.00001."""
    gmap = bioasq_snippets("gmap")
    sample = Sample("q", "?", "a", metadata={"snippets": [["d", "abstract", 0, 20]]})
    values = [gmap(sample, shown((f"{name}#0", "abstract", 10, 30))) for name in ("d", "elsewhere")]
    assert values == pytest.approx([11 / 21, 0.0])
    assert gmap.aggregate is not None
    assert gmap.aggregate(values) == pytest.approx(math.sqrt((11 / 21 + 1e-5) * 1e-5))


def test_pools_without_places_and_arms_without_retrieval_have_no_snippet_scores() -> None:
    marked = [["d", "abstract", 0, 10]]
    assert snippet_scores(Answer(passages=(Passage("d#0", "text"),)), marked) == [None] * 4
    assert snippet_scores(Answer(passages=None), marked) == [None] * 4
    assert snippet_scores(shown(("d#0", "abstract", 0, 10)), []) == [None] * 4


def test_places_come_with_the_snippets(data: Path) -> None:
    first = next(bioasq.questions(data / "bioasq", "snippets"))
    assert len(first.metadata["snippets"]) == len(first.relevance)
    (row,) = (r for r in bioasq.pool(data / "bioasq", "snippets") if r["id"] == "pmid:16083#0")
    assert (row["section"], row["offset"]) == ("abstract", 1185)

"""PubMedQA as RAG: its data in each layout, its arms, and what gold and garbage score."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from evalkit_tasks.biomedical import pubmedqa

from evalkit.errors import CorpusError, UsageError

ROWS = [
    ("11", "Does zinc shorten colds?", "Zinc shortened colds by one day. It was well tolerated.", "yes"),
    ("22", "Is walking safe after hip repair?", "Early walking was safe after hip repair.", "maybe"),
    ("33", "Do statins prevent gout?", "Statins did not prevent gout in this cohort.", "no"),
]
ABSTRACTS = {
    "11": "We gave zinc lozenges to adults with colds. Colds lasted four days with zinc, five without.",
    "22": "Patients walked on the first day after hip repair. No fracture moved in two hundred patients.",
    "33": "A cohort of statin users was followed for gout. Gout was as frequent as in non-users.",
}


@pytest.fixture
def local(tmp_path: Path) -> Path:
    """Three authored rows in the JSON Lines layout, and a distractor in a folder beside them."""
    home = tmp_path / "data" / "pubmedqa"
    home.mkdir(parents=True)
    questions = [
        {"id": i, "question": q, "long_answer": a, "decision": d, "gold_doc_ids": [f"pmid:{i}"]}
        for i, q, a, d in ROWS
    ]
    documents = [{"doc_id": f"pmid:{i}", "title": "", "text": t} for i, t in ABSTRACTS.items()]
    other = home.parent / "scifact"
    other.mkdir()
    for path, rows in [
        (home / "questions.jsonl", questions),
        (home / "docs.jsonl", documents),
        (other / "corpus.jsonl", [{"doc_id": "7", "title": "Colds", "text": "Colds are viral."}]),
    ]:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return home


@pytest.fixture
def parquet(tmp_path: Path) -> Path:
    """The same rows in the layout of the hub, qiaojin/PubMedQA."""
    import pyarrow
    from pyarrow import parquet

    rows = [
        {
            "pubid": int(i),
            "question": q,
            "long_answer": a,
            "final_decision": d,
            "context": {"contexts": ABSTRACTS[i].split(". "), "labels": ["A", "B"], "meshes": ["M"]},
        }
        for i, q, a, d in ROWS
    ]
    path = tmp_path / "train.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


def test_both_layouts_give_the_same_questions(local: Path, parquet: Path, monkeypatch) -> None:
    monkeypatch.setenv("HF_HOME", str(parquet.parent / "hf"))
    from_lines = [(r.id, r.question, r.conclusion, r.decision, r.document) for r in pubmedqa.questions(local)]
    from_hub = [(r.id, r.question, r.conclusion, r.decision, r.document) for r in pubmedqa.questions(parquet)]
    assert from_lines == from_hub
    assert from_lines[0][-1] == "pmid:11"
    assert [d["id"] for d in pubmedqa.documents(parquet, "own")] == ["pmid:11", "pmid:22", "pmid:33"]


def test_the_pool_holds_the_collections_beside_unless_it_is_told_not_to(local: Path, tmp_path: Path) -> None:
    ids = [d["id"] for d in pubmedqa.documents(local, "all")]
    assert ids == ["pmid:11", "pmid:22", "pmid:33", "s2:7"]
    assert [d["id"] for d in pubmedqa.documents(local, "own")] == ids[:3]
    first = pubmedqa.write_pool(local, "all", tmp_path / "pools")
    assert pubmedqa.write_pool(local, "all", tmp_path / "pools") == first
    assert pubmedqa.write_pool(local, "own", tmp_path / "pools") != first


def test_the_pool_is_the_same_however_the_path_is_written_and_says_what_joins(
    local: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = local if local.is_dir() else local.parent
    whole = [d["id"] for d in pubmedqa.documents(folder, "all")]
    monkeypatch.chdir(folder)
    for path in (Path(), Path("..") / folder.name, folder / ".." / folder.name):
        assert [d["id"] for d in pubmedqa.documents(path, "all")] == whole
    assert "documents of scifact join the pool; -p pool=own leaves them out" in capsys.readouterr().err


def test_broken_data_is_named_with_its_line(local: Path) -> None:
    with (local / "questions.jsonl").open("a") as file:
        file.write('{"id": "44"}\n')
    with pytest.raises(CorpusError, match=r"questions\.jsonl:4: it needs question"):
        list(pubmedqa.questions(local))
    with pytest.raises(UsageError, match="no such file or folder"):
        list(pubmedqa.questions(local / "nowhere"))


def test_gold_scores_full_marks_and_empty_none_in_every_arm(evalkit, local: Path) -> None:
    runs = evalkit.json(
        "run",
        "pubmed_rag",
        "-p",
        "arm=all",
        "-p",
        f"data={local}",
        "-p",
        "search=bm25",
        "-p",
        "k=2",
        "--model",
        "baseline:gold",
        "--model",
        "baseline:empty",
    )["runs"]
    assert len(runs) == 14
    retrieval = {"recall@1", "recall@5", "recall@10", "mrr", "ndcg@10"}
    for run in runs:
        arm = run["task"].split("arm=")[1].split(",")[0].removesuffix("]")
        facts = {"length", "abstained"}
        scores = {name: m["value"] for name, m in run["metrics"].items() if name not in facts}
        shown = arm in ("retrieved", "oracle", "hidden", "agent")
        cites = {"citation_precision", "citation_recall", "citation_coverage"} if shown else set()
        rouges = {"rouge1", "rouge2", "rougeL", "rougeLsum"}
        decided = {"decision_accuracy", "macro_f1[yes|no|maybe]"}
        output = {"abstention"} if arm == "missing" else rouges | cites | decided
        found = retrieval if arm in ("retrieved", "agent") else set()
        assert set(scores) == output | found, arm
        wanted = 1.0 if run["model"] == "baseline:gold" else 0.0
        assert {scores[name] for name in output} == {wanted}, (arm, scores)
        by_model = arm == "agent" and run["model"] == "baseline:empty"  # it does not search
        assert {scores[name] for name in found} <= {0.0 if by_model else 1.0}, "its words find each abstract"


@pytest.mark.parametrize(
    ("reply", "conclusion", "decision"),
    [
        ("Zinc helps. [1]\nDecision: yes", "Zinc helps. [1]", "yes"),
        ("Zinc helps.\n\n**Decision:** Maybe.", "Zinc helps.", "maybe"),
        ("Zinc helps.\nDecision： no", "Zinc helps.", "no"),
        ("Zinc helps.\nNo", "Zinc helps.", "no"),
        ("Yes.\nZinc helps.", "Zinc helps.", "yes"),
        ("Final decision - yes", "Final decision - yes", "yes"),
        ("Zinc helps, yes.", "Zinc helps, yes.", None),
        ("Zinc helps.\nDecision: not yes", "Zinc helps.\nDecision: not yes", None),
        ("Decision: yes or no", "Decision: yes or no", None),
        ("No difference was found.", "No difference was found.", None),
        ("", "", None),
    ],
)
def test_the_decision_is_a_line_of_its_own(reply: str, conclusion: str, decision: str | None) -> None:
    assert pubmedqa.read_decision(reply) == (conclusion, decision)


def test_stored_replies_are_scored_by_summary_and_decision(evalkit, local: Path, tmp_path: Path) -> None:
    """A reply without the line is a summary as before; only its decision is missing."""
    replies = {"11": f"{ROWS[0][2]}\nDecision: {ROWS[0][3]}", "22": ROWS[1][2], "33": "x\nDecision: maybe"}
    lines = [json.dumps({"id": id_, "prediction": text}) for id_, text in replies.items()]
    (tmp_path / "mine.jsonl").write_text("\n".join(lines))
    (run,) = evalkit.json(
        "score", "pubmed_rag[arm=closed_book]", tmp_path / "mine.jsonl", "-p", f"data={local}"
    )["runs"]
    assert run["counts"] == {"ok": 3}
    assert run["metrics"]["decision_accuracy"]["value"] == pytest.approx(1 / 3)
    assert run["metrics"]["rougeL"]["value"] == pytest.approx(2 / 3, abs=0.01)


def test_the_published_file_gives_the_same_questions_and_abstracts(local: Path, tmp_path: Path) -> None:
    published = {
        i: {"QUESTION": q, "CONTEXTS": ABSTRACTS[i].split(". "), "LONG_ANSWER": a, "final_decision": d}
        for i, q, a, d in ROWS
    }
    file = tmp_path / "ori_pqal.json"
    file.write_text(json.dumps(published))
    for data in (file, tmp_path):
        assert [(r.id, r.question, r.conclusion, r.decision) for r in pubmedqa.questions(data)] == list(ROWS)
        assert [d["id"] for d in pubmedqa.documents(data, "own")] == ["pmid:11", "pmid:22", "pmid:33"]


def test_questions_without_a_decision_have_no_score_of_it(evalkit, tmp_path: Path) -> None:
    """PubMedQA's unlabelled part has conclusions and no decisions: nobody is wrong about them."""
    unlabelled = {i: {"QUESTION": q, "CONTEXTS": [ABSTRACTS[i]], "LONG_ANSWER": a} for i, q, a, _ in ROWS}
    file = tmp_path / "ori_pqau.json"
    file.write_text(json.dumps(unlabelled))
    options = ("-p", f"data={file}", "-p", "search=bm25", "--model", "baseline:gold")
    (run,) = evalkit.json("run", "pubmed_rag[arm=oracle]", *options)["runs"]
    assert run["metrics"]["rougeL"]["value"] == 1
    assert not {"decision_accuracy", "macro_f1[yes|no|maybe]"} & run["metrics"].keys()


def test_with_a_judge_citations_and_claims_are_weighed(evalkit, scripted, local: Path) -> None:
    """A judge that believes everything: what is then not full marks is not the judge's doing."""
    scripted.reply = lambda question: "SUPPORTED"
    judge = f"judge=llm:openai:tiny@{scripted.url}"
    options = (
        "-p",
        f"data={local}",
        "-p",
        "search=bm25",
        "-p",
        "k=2",
        "-p",
        "arm=oracle",
        "-p",
        "arm=missing",
    )
    for model, right in (("baseline:gold", 1.0), ("baseline:empty", 0.0)):
        oracle, missing = evalkit.json("run", "pubmed_rag", *options, "-p", judge, "--model", model)["runs"]
        weighed = {name: m["value"] for name, m in oracle["metrics"].items() if "_" in name}
        good = ("alce_recall", "alce_precision", "biogen_support", "ragchecker_f1", "ragchecker_faithfulness")
        assert {weighed[name] for name in good} == {right}
        assert weighed["ragchecker_hallucination"] == 1 - right
        assert weighed["ragchecker_claim_recall"] == 1.0, "the retriever's, whatever the model said"
        assert weighed["biogen_contradict"] == (0.0 if right else 1.0)
        assert not {"alce_recall", "ragchecker_f1"} & set(missing["metrics"]), "there the right reply is none"


def test_the_whole_real_set_gives_the_published_floor_and_the_known_bm25_figures(evalkit, data: Path) -> None:
    """Repeating the question scores ROUGE-1/2/L 27.45/11.43/21.86; BM25 over 9,659 abstracts nDCG@10 0.9496
    (figures of an independent script over the same files)."""
    runs = evalkit.json(
        "run",
        "pubmed_rag[arm=retrieved]",
        "-p",
        f"data={data / 'pubmedqa'}",
        "-p",
        "search=bm25",
        "--model",
        "baseline:echo",
    )["runs"]
    scores = {name: m["value"] for name, m in runs[0]["metrics"].items()}
    assert runs[0]["n"] == 700
    assert scores["rouge1"] == pytest.approx(0.2745, abs=5e-5)
    assert scores["rouge2"] == pytest.approx(0.1143, abs=5e-5)
    assert scores["rougeL"] == pytest.approx(0.2186, abs=5e-5)
    assert scores["ndcg@10"] == pytest.approx(0.9496, abs=0.003)
    assert scores["recall@10"] == pytest.approx(0.98, abs=0.003)


def test_a_real_server_answers_it_end_to_end(evalkit, llama_server: str, local: Path) -> None:
    """llama.cpp's own server with a tiny model: every sample accounted for, the request stored as sent."""
    (run,) = evalkit.json(
        "run",
        "pubmed_rag[arm=retrieved]",
        "-p",
        f"data={local}",
        "-p",
        "search=bm25",
        "--model",
        f"openai:tiny@{llama_server}",
    )["runs"]
    assert (run["status"], run["n"]) == ("complete", 3)
    assert sum(run["counts"].values()) == 3
    assert run["tokens"]["prompt"] > 300
    sample = evalkit.json("show", run["id"], "--sample", "#0")
    prompt = sample["requests"][0]["messages"][0]["content"]
    assert "[1] We gave zinc lozenges" in prompt
    assert "Question: Does zinc shorten colds?" in prompt

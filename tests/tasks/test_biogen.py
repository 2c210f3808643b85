"""TREC BioGen: the forms of its topics file, PMIDs as citations, and its measures through a judge."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from evalkit_tasks.biomedical import biogen

from evalkit import Passage
from evalkit.errors import CorpusError, UsageError

ROWS = Path(__file__).parent / "rows" / "biogen"
SHOWN = (Passage("111", "a"), Passage("222#0", "b", doc_id="pmid:222"), Passage("333", "c"))


def test_topics_come_in_one_object_or_on_lines(tmp_path: Path) -> None:
    whole = list(biogen.topics(ROWS))
    assert [s.id for s in whole] == ["1", "2", "3"]
    assert whole[2].relevance == {"90010003": 1, "90010004": 0}
    rows = json.loads((ROWS / "topics.json").read_text())["topics"]
    for row in rows:
        row["topic_id"] = str(row.pop("id"))
    (tmp_path / "BioGen2024topics-json.txt").write_text("\n".join(json.dumps(row) for row in rows))
    (tmp_path / "qrels").write_bytes((ROWS / "qrels.txt").read_bytes())
    assert list(biogen.topics(tmp_path)) == whole
    assert list(biogen.topics(tmp_path / "BioGen2024topics-json.txt")) == whole


def test_what_is_missing_or_broken_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"trec-biogen\.github\.io"):
        list(biogen.topics(None))
    with pytest.raises(UsageError, match=r"no file \*topics\* in the folder"):
        list(biogen.topics(tmp_path))
    (tmp_path / "topics.json").write_text('{"topics": [{"id": 1}]}')
    with pytest.raises(CorpusError, match=r"topics\.json: topic 1 needs id, question"):
        list(biogen.topics(tmp_path))
    (tmp_path / "topics.json").write_text("id\tquestion\n")
    with pytest.raises(CorpusError, match="no topics in JSON"):
        list(biogen.topics(tmp_path))
    with pytest.raises(CorpusError, match="'x1': BioGen needs PMIDs"):
        biogen.pmid(Passage("x1", ""))


@pytest.mark.parametrize(
    ("reply", "marks"),
    [
        ("It works [222].", "It works [2]."),
        ("It works [333, 111].", "It works [3][1]."),
        ("It works [PMID: 111; PMID 222].", "It works [1][2]."),
        ("It works [999].", "It works [4]."),
        ("It works [111, 222, 333, 999].", "It works [1][2][3]."),
        ("It works [see 111] [] [a].", "It works [see 111] [] [a]."),
    ],
)
def test_pmids_become_marks_of_passages(reply: str, marks: str) -> None:
    assert biogen.marked(reply, SHOWN) == marks


def test_lists_without_end_are_read_in_linear_time() -> None:
    hostile = "[" + "1," * 200_000
    assert biogen.marked(hostile, SHOWN) == hostile


def test_citations_are_scored_by_the_judgements(evaluate) -> None:
    from evalkit.testing import load_task

    task = load_task(Path(biogen.__file__).with_name("task_biogen.py"))
    right = {
        "1": "Zinc works [90010001].",
        "2": "Yes. It is safe [90010002, 90010004].",
        "3": "Maybe [90010001].",
    }
    run = evaluate(
        task, lambda request: right[request.sample.id], data=ROWS, search="bm25", k=4, arm="retrieved"
    )
    values = {name: m.value for name, m in run.metrics.items()}
    assert values["citation_precision"] == pytest.approx((1 + 1 / 2 + 0) / 3)
    assert values["citation_coverage"] == pytest.approx((1 + 1 / 2 + 0) / 3), (
        "the last cites what was not shown"
    )
    assert values["recall@10"] == 1
    assert not any(name.startswith("biogen_") for name in values), "nobody judged"

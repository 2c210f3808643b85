"""Questions and answers of health consumers: MeQSum in both layouts, the answers of MEDIQA-MAS, the real
files.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from evalkit_tasks.biomedical import task_mediqa_mas, task_meqsum

from evalkit.errors import UsageError

ROWS = Path(__file__).parent / "rows"


def test_the_hub_s_layout_of_meqsum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow
    from pyarrow import parquet

    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    local = list(task_meqsum.samples(ROWS / "meqsum"))
    rows = [{"File": s.id, "CHQ": s.input, "Summary": s.target} for s in local]
    file = tmp_path / "train.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    assert list(task_meqsum.samples(file)) == local
    with pytest.raises(UsageError, match="is not on the hub"):
        list(task_meqsum.samples(file, "mediqa_qs_validation"))


def test_mediqa_mas_has_two_references() -> None:
    first = next(task_mediqa_mas.samples(ROWS / "mediqa_mas", "extractive"))
    assert first.target == "Zinc lozenges may shorten a cold by a day. Colds go away by themselves."
    with pytest.raises(UsageError, match=r"github\.com/abachaa/MEDIQA2021"):
        next(task_mediqa_mas.samples())


@pytest.mark.parametrize(
    ("task", "folder", "more", "n"),
    [
        ("meqsum", "question_summarization", (), 998),
        ("meqsum", "question_summarization", ("-p", "part=mediqa_qs_validation"), 50),
        ("mediqa_mas", "mediqa_mas", (), 50),
    ],
)
def test_gold_has_full_marks_on_the_real_files(evalkit, data: Path, task, folder, more, n) -> None:
    (run,) = evalkit.json("run", task, "-p", f"data={data / folder}", *more, "--model", "baseline:gold")[
        "runs"
    ]
    assert run["n"] == n
    assert run["metrics"]["rouge1"]["value"] == pytest.approx(1)
    assert run["metrics"]["rougeL"]["value"] == pytest.approx(1)


def test_repeating_the_message_is_the_floor_that_is_told(evalkit, data: Path) -> None:
    (run,) = evalkit.json(
        "run", "meqsum", "-p", f"data={data / 'question_summarization'}", "--model", "baseline:echo"
    )["runs"]
    told = task_meqsum.__doc__ or ""
    for kind, name in (("rouge1", "ROUGE-1"), ("rouge2", "ROUGE-2"), ("rougeL", "ROUGE-L")):
        assert f"{name} {100 * run['metrics'][kind]['value']:.1f}" in " ".join(told.split())

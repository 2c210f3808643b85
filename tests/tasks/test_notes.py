"""Clinical notes from conversations: divisions, the published figures of 19 systems, human judgements."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from evalkit_tasks.biomedical import notes, task_aci_bench, task_mts_dialog

from evalkit import Answer, Sample
from evalkit.metrics import rouge

ROWS = Path(__file__).parent / "rows"


def lines(path: Path) -> list[dict]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def test_a_note_is_divided_by_its_headings() -> None:
    text = "Seen today.\nVITALS\nBP 120/80\n**PHYSICAL EXAM**\nClear.\nLABS\nTSH high.\nHPI\nTired."
    text += "\nPLAN\nGOUT\nRest."
    assert notes.divided(text) == {
        "subjective": "Seen today.\nHPI\nTired.",
        "objective_exam": "VITALS\nBP 120/80\n**PHYSICAL EXAM**\nClear.",
        "objective_results": "LABS\nTSH high.",
        "assessment_and_plan": "PLAN\nGOUT\nRest.",
    }
    assert notes.divided("\n \n") == {}


def test_a_division_is_scored_by_itself() -> None:
    """Two words of four in common: F = 1/2. A division that the reply lacks is worth 0."""
    sample = Sample("1", "", "EXAM\nlungs clear today\nPLAN\nrest")
    exam, results, plan = (
        notes.within(rouge("rouge1", stem=False), name)
        for name in ("objective_exam", "objective_results", "assessment_and_plan")
    )
    reply = Answer(text="EXAM\nheart clear sounds\nRESULTS\nrest")
    assert exam.name == "rouge1[stem=False,division=objective_exam]"
    assert exam(sample, reply) == pytest.approx(0.5)
    assert plan(sample, reply) == 0
    assert results(sample, reply) is None


def test_every_real_note_has_a_plan(data: Path) -> None:
    found = [notes.divided(sample.targets[0]) for sample in task_aci_bench.samples(data / "aci_bench")]
    assert len(found) == 40
    assert all({"subjective", "assessment_and_plan"} <= note.keys() for note in found)


def test_the_hub_s_layout_of_mts_dialog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow
    from pyarrow import parquet

    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    local = list(task_mts_dialog.samples(ROWS / "mts_dialog"))
    columns = ("ID", "section_header", "dialogue", "section_text")
    values = [(int(s.id), s.slices["section"], s.input, s.target) for s in local]
    rows = [dict(zip(columns, row, strict=True)) for row in values]
    file = tmp_path / "test.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    assert list(task_mts_dialog.samples(file)) == local


def test_the_published_figures_of_19_systems(evalkit, data: Path) -> None:
    """Table 6 of the ACI-BENCH paper (Scientific Data 10:586): ROUGE-1, ROUGE-2 and "ROUGE-L", times 100."""
    home = data / "aci_bench"
    outputs = lines(home / "test1.outputs.jsonl.gz")
    published = json.loads((home / "test1.published.json").read_text())
    assert len(published) == 19
    for number, row in enumerate(published):
        file = evalkit.folder / f"{number}.jsonl"
        file.write_text(
            "".join(
                json.dumps({"id": one["id"], "prediction": one["output"]}) + "\n"
                for one in outputs
                if one["system"] == row["system"]
            )
        )
        run = evalkit.json(
            "score", "aci_bench", str(file), "--name", f"system-{number}", "-p", f"data={home}"
        )
        (run,) = run["runs"]
        kinds = {"rouge1": "rouge1", "rouge2": "rouge2", "rougeLsum": "rougeL_as_printed"}
        for kind, printed in kinds.items():
            value = run["metrics"][f"{kind}[stem=False]"]["value"]
            assert 100 * value == pytest.approx(row["published"][printed], abs=0.01), (row["system"], kind)


def test_gold_on_the_real_set_misses_only_the_bigrams_of_single_words(evalkit, data: Path) -> None:
    (run,) = evalkit.json(
        "run", "mts_dialog", "-p", f"data={data / 'mts_dialog'}", "--model", "baseline:gold"
    )["runs"]
    one_word = sum(len(s.targets[0].split()) == 1 for s in task_mts_dialog.samples(data / "mts_dialog"))
    values = {name.split("[")[0]: m["value"] for name, m in run["metrics"].items()}
    assert (run["n"], one_word) == (200, 14)
    assert values["rouge1"] == values["rougeL"] == values["rougeLsum"] == 1
    assert values["rouge2"] == pytest.approx(186 / 200)

"""lm-eval's result files, written by itself and by us, read by both."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lm_eval import lm_server

TASK = """
task: capitals
dataset_path: json
dataset_kwargs: {data_files: {test: DATA}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_target: gold
doc_to_choice: choices
metric_list: [{metric: acc}, {metric: acc_norm}, {metric: brier_score}]
"""
TEXT = """
task: names
dataset_path: json
dataset_kwargs: {data_files: {test: DATA}}
test_split: test
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{choices[gold]}}"
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
filter_list:
- {name: first, filter: [{function: take_first}]}
- {name: upper, filter: [{function: uppercase}, {function: take_first}]}
"""
GROUP = "group: both\ntask: [capitals]\naggregate_metric_list: [{metric: acc}]\n"
ROWS = [
    {"question": f"Capital number {i}?", "choices": ["Rome", "Oslo", "Lima"], "gold": i % 3}
    for i in range(12)
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("capitals")
    data = folder / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    for name, text in {"capitals": TASK, "names": TEXT, "both": GROUP}.items():
        (folder / f"{name}.yaml").write_text(text.replace("DATA", str(data)))
    return folder


@pytest.fixture(scope="module")
def written_by_lm_eval(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What lm-eval itself writes of a run with evalkit's random baseline."""
    out = tmp_path_factory.mktemp("theirs")
    command = [
        sys.executable,
        "-m",
        "evalkit",
        "lm-eval",
        "--model",
        "evalkit",
        "--model_args",
        "spec=openai:tiny@URL",
        "--tasks",
        "both,names",
        "--include_path",
        str(folder),
        "--output_path",
        str(out),
        "--log_samples",
    ]
    with _server() as url:
        command[command.index("spec=openai:tiny@URL")] = f"spec=openai:tiny@{url}"
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=_offline(out))
    assert done.returncode == 0, done.stderr[-3000:]
    return out


def test_lm_evals_own_files_become_runs(evalkit: Any, written_by_lm_eval: Path) -> None:
    document = json.loads(next(written_by_lm_eval.rglob("results_*.json")).read_text())
    imported = evalkit.json("import", str(written_by_lm_eval))
    runs = {run["task"]: run for run in imported["runs"]}
    assert set(runs) == {"lm_eval/both", "lm_eval/capitals", "lm_eval/names"}
    for task, values in document["results"].items():
        for key, value in values.items():
            base, comma, ensemble = key.partition(",")
            if comma and not base.endswith("_stderr"):
                estimate = runs[f"lm_eval/{task}"]["metrics"][key]
                assert estimate["value"] == value
                error = values[f"{base}_stderr,{ensemble}"]
                assert error in ("N/A", estimate["se"])
    assert runs["lm_eval/capitals"]["n"] == len(ROWS)
    assert runs["lm_eval/names"]["metrics"]["exact_match,upper"]["method"] == "wilson"
    assert evalkit.json("import", str(written_by_lm_eval))["runs"] == []  # a second time brings nothing new


def test_imported_samples_are_shown_whole(evalkit: Any, written_by_lm_eval: Path) -> None:
    evalkit("import", str(written_by_lm_eval))
    from evalkit.store import open_store

    with open_store(evalkit.folder / ".evalkit" / "evalkit.db") as store:
        (run,) = store.runs.find(task="lm_eval/names")
        record = store.samples.get(run.id, 0)
    assert record.sample.input == ROWS[0]["question"]
    assert record.sample.target == "Rome"
    assert record.answer is not None
    assert record.answer.reply == record.answer.metadata["resps"][0][0]
    assert {score.metric for score in record.scores} == {"exact_match,first", "exact_match,upper"}


@pytest.mark.parametrize(("begin", "end"), [("<think>", "</think>"), ("{{plan ", "}}"), ("", "</think>")])
def test_an_imported_reply_that_ended_inside_its_reasoning_keeps_no_credit(
    evalkit: Any, written_by_lm_eval: Path, tmp_path: Path, begin: str, end: str
) -> None:
    """lm-eval scores such a reply as it is; here its document was right by what the reasoning considers."""
    theirs = next(written_by_lm_eval.rglob("results_*.json"))
    document = json.loads(theirs.read_text())
    samples = next(theirs.parent.glob("samples_names_*"))
    lines = [json.loads(line) for line in samples.read_text().splitlines()]
    thoughts = {1: f"{begin}Rome?{end}", 2: f"{begin}Rome, or "}
    if not begin:  # the chat template opened the reasoning of all
        thoughts = {doc: "Rome, or " if doc == 2 else f"Rome?{end}" for doc in range(12)}
    for line in lines:
        line["resps"] = [[thoughts.get(line["doc_id"], "") + line["resps"][0][0]]]
        line["exact_match"] = 1.0
    for name in ("first", "upper"):
        document["results"]["names"][f"exact_match,{name}"] = 1.0
    folder = tmp_path / "edited"
    folder.mkdir()
    (folder / theirs.name).write_text(json.dumps(document))
    (folder / samples.name).write_text("".join(json.dumps(line) + "\n" for line in lines))
    marks = ("--reasoning-marks", f"{begin},{end}") if begin else ()
    run = next(r for r in evalkit.json("import", str(folder), *marks)["runs"] if r["task"] == "lm_eval/names")
    assert run["metrics"]["exact_match,first"]["value"] == pytest.approx(11 / 12)
    assert run["counts"] == {"empty": 1, "ok": 11}
    assert list(run["notes"].values()) == [1]
    shown = evalkit.json("show", run["id"], "--sample", "1")["answer"]
    assert shown["response"]["reasoning"] == "Rome?"
    assert not begin or begin not in shown["text"]


def test_imported_and_exported_again_the_figures_and_hashes_stay(
    evalkit: Any, written_by_lm_eval: Path
) -> None:
    evalkit("import", str(written_by_lm_eval))
    original = json.loads(next(written_by_lm_eval.rglob("results_*.json")).read_text())
    shown = [run for run in evalkit.json("show")["runs"] if run["task"] == "lm_eval/names"]
    evalkit("export", shown[0]["id"], "--out", "again")
    exported = json.loads(next((evalkit.folder / "again").rglob("results_*.json")).read_text())
    assert exported["results"]["names"] == original["results"]["names"]
    assert exported["task_hashes"]["names"] == original["task_hashes"]["names"]
    assert exported["n-samples"]["names"] == original["n-samples"]["names"]


def test_a_run_of_ours_is_written_as_lm_eval_writes_its_own(
    evalkit: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    evalkit.environment["HF_HUB_OFFLINE"] = "1"
    options = ("--include-path", str(folder), "-p", "bootstrap_iters=20")
    evalkit("run", "lm_eval/both", "lm_eval/names", "--model", "baseline:random", *options)
    ids = [run["id"] for run in evalkit.json("show")["runs"]]
    evalkit("export", *ids, "--out", "out", "--include-path", str(folder))
    out = evalkit.folder / "out"
    _read_with_lm_eval(out)
    lines = [json.loads(line) for line in next(out.rglob("samples_names_*")).read_text().splitlines()]
    first, upper = lines[: len(ROWS)], lines[len(ROWS) :]
    assert [{line["filter"] for line in part} for part in (first, upper)] == [{"first"}, {"upper"}]
    assert upper[0]["filtered_resps"] == [first[0]["filtered_resps"][0].upper()]
    assert {"doc_id", "doc", "target", "arguments", "resps", "doc_hash", "exact_match"} <= lines[0].keys()

    back = evalkit.json("import", "out", "--store", "other.db")["runs"]
    ours = {name: e["value"] for run in evalkit.json("show")["runs"] for name, e in run["metrics"].items()}
    theirs = {name: e["value"] for run in back for name, e in run["metrics"].items()}
    assert {name.rpartition("/")[2] for name in ours} == set(theirs)
    assert theirs["brier_score,none"] == ours["capitals/brier_score,none"]


def _read_with_lm_eval(out: Path) -> None:
    """lm-eval's own readers: its tables, its file names, its way of loading samples as a data set."""
    code = f"""
import glob, json
from datasets import load_dataset
from lm_eval.utils import (get_file_datetime, get_file_task_name, get_latest_filename, get_results_filenames,
                           get_sample_results_filenames, make_table)
files = sorted(glob.glob({str(out)!r} + "/*/*"))
results, samples = get_results_filenames(files), get_sample_results_filenames(files)
assert len(results) == 2 and len(samples) == 2, files
for file in results:
    document = json.load(open(file))
    table = make_table(document)
    assert "acc" in table or "exact_match" in table
    if "groups" in document:
        assert "both" in make_table(document, "groups")
names = {{get_file_task_name(file.rpartition("/")[2]) for file in samples}}
assert names == {{"capitals", "names"}}, names
assert get_latest_filename(samples) in samples and get_file_datetime(samples[0])
for file in samples:
    assert load_dataset("json", data_files=file, split="train").num_rows in (12, 24)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=_offline(out)
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_another_task_of_evalkit_is_exported_too(evalkit: Any) -> None:
    (evalkit.folder / "task_own.py").write_text(
        "from evalkit import Answer, Sample, task\nfrom evalkit.metrics import exact_match, token_f1\n"
        "@task([Sample(str(i), f'q{i}', 'yes') for i in range(3)], metrics=[exact_match(), token_f1()])\n"
        "async def own(sample, model):\n    return Answer(await model.generate(sample.input))\n"
    )
    evalkit("run", "task_own.py", "--model", "baseline:gold")
    evalkit("export", "latest")
    document = json.loads(next((evalkit.folder / "export").rglob("results_*.json")).read_text())
    (entry,) = document["results"].values()
    assert entry["sample_len"] == 3
    assert all("," in key for key in entry if key not in ("name", "alias", "sample_len"))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("other.json", "{}", "no results_"),
        ("results_1.json", "{", "results_1.json"),
        ("results_1.json", '{"scores": 1}', "the key 'results' is missing"),
    ],
)
def test_a_folder_without_results_is_refused(evalkit: Any, name: str, content: str, said: str) -> None:
    (evalkit.folder / "in").mkdir()
    (evalkit.folder / "in" / name).write_text(content)
    assert said in evalkit("import", "in", code=2).stderr


def test_a_broken_sample_is_named_by_file_and_line(evalkit: Any) -> None:
    folder = evalkit.folder / "in"
    folder.mkdir()
    results = {"results": {"t": {"acc,none": 0.5, "sample_len": 2}}}
    (folder / "results_now.json").write_text(json.dumps(results))
    (folder / "samples_t_now.jsonl").write_text('{"doc_id": 0, "metrics": []}\n{"oh": 1}\n')
    assert "samples_t_now.jsonl:2" in evalkit("import", "in", code=2).stderr
    assert evalkit.json("show")["runs"] == []  # nothing half-read stays


@contextlib.contextmanager
def _server() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        answers = {row["question"]: row["choices"][row["gold"]] for row in ROWS}
        lm_server.make_tokenizer(Path(folder), [json.dumps(row) for row in ROWS])
        with lm_server.serve(Path(folder), answers, list(answers)) as server:
            yield server.url


def _offline(scratch: Path) -> dict[str, str]:
    import os

    return {**os.environ, "HF_HUB_OFFLINE": "1", "EVALKIT_CACHE": str(scratch), "DISABLE_MULTIPROC": "1"}

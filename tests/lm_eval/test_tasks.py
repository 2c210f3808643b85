"""lm-eval's tasks behave as evalkit's do: listed, resumed, rescored, refused with a reason."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from evalkit.lm_eval import task_index
from evalkit.store import open_store


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, lab: SimpleNamespace) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(lab.folder / "datasets"))


pytestmark = pytest.mark.usefixtures("offline")


def test_listed_with_metrics_by_filter_and_without_reading_data(evalkit: Any, tmp_path: Path) -> None:
    tasks = tmp_path / "mine"
    tasks.mkdir()
    (tasks / "a.yaml").write_text(
        "task: far_away\ndataset_path: nobody/nothing\noutput_type: multiple_choice\n"
        "metric_list:\n- metric: acc\n- metric: brier_score\n"
        "filter_list:\n- name: one\n  filter: [{function: take_first}]\n"
        "- name: two\n  filter: [{function: take_first}]\n"
    )
    (listed,) = evalkit.json("list", "lm_eval/far_*", "--include-path", str(tasks))["tasks"]
    assert listed["id"] == "lm_eval/far_away"
    assert set(listed["metrics"]) == {"acc,one", "acc,two", "brier_score,one", "brier_score,two"}


def test_lm_eval_is_not_imported_for_other_commands(evalkit: Any) -> None:
    code = (
        "import sys; import evalkit.cli.run; from evalkit.collection.targets import collect\n"
        "collect(['pubmed_rag'])\n"
        "sys.exit(any(m.partition('.')[0] in ('lm_eval', 'datasets', 'torch') for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.fixture(scope="module")
def remembered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder in which lm-eval's index is remembered from one test to the next."""
    return tmp_path_factory.mktemp("remembered")


def test_the_index_is_read_once_and_is_lm_evals_own(
    remembered: Path, lab: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lm_eval.tasks import TaskManager

    monkeypatch.setenv("EVALKIT_CACHE", str(remembered))
    read: list[Any] = []
    begin = TaskManager.__init__

    def counted(self: Any, **arguments: Any) -> None:
        begin(self, **arguments)
        read.extend([dict(self.task_index)] if arguments.get("include_defaults", True) else [])

    monkeypatch.setattr(TaskManager, "__init__", counted)
    first, second = task_index.whole_manager(None), task_index.whole_manager(None)
    (theirs,) = read
    assert len(theirs) > 10_000
    assert first.task_index == second.task_index == theirs
    with_own = task_index.whole_manager(lab.tasks).task_index
    assert with_own == {**theirs, **TaskManager(include_path=lab.tasks, include_defaults=False).task_index}
    assert len(read) == 1


def test_a_changed_file_is_seen(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    file = tmp_path / "more" / "a.yaml"
    file.write_text("task: a")
    before = task_index.state_of(tmp_path)
    assert task_index.state_of(tmp_path) == before
    file.write_text("task: abc")
    changed = task_index.state_of(tmp_path)
    (tmp_path / "b.yaml").touch()
    assert len({before, changed, task_index.state_of(tmp_path)}) == 3


def test_unknown_names_are_answered_with_near_ones(evalkit: Any, remembered: Path) -> None:
    evalkit.environment["EVALKIT_CACHE"] = str(remembered)
    said = evalkit("run", "lm_eval/gsm8kk", "--model", "baseline:gold", code=2).stderr
    assert "Did you mean" in said
    assert "--include-path" in said


def test_missing_data_stops_the_run_with_the_reason(evalkit: Any, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.yaml").write_text(
        "task: no_data\ndataset_path: json\ndataset_kwargs: {data_files: {test: gone.jsonl}}\n"
        "test_split: test\ndoc_to_text: x\ndoc_to_target: x\n"
    )
    said = evalkit(
        "run", "lm_eval/no_data", "--model", "baseline:gold", "--include-path", "mine", code=2
    ).stderr
    assert "lm-eval cannot load no_data" in said
    assert "gone.jsonl" in said


@pytest.mark.parametrize("kind", ["g_filters", "c_three", "all_chosen"])
def test_gold_is_right_and_a_rescore_changes_nothing(evalkit: Any, lab: SimpleNamespace, kind: str) -> None:
    options = ("--include-path", str(lab.tasks), "-p", "bootstrap_iters=20")
    (run,) = evalkit.json("run", f"lm_eval/{kind}", "--model", "baseline:gold", *options)["runs"]
    best = {"g_filters": "exact_match,low", "c_three": "acc,none", "all_chosen": "acc,none"}[kind]
    assert run["metrics"][best]["value"] == 1.0
    (again,) = evalkit.json("rescore", run["id"])["runs"]
    assert again["metrics"] == run["metrics"]


def test_a_stopped_run_goes_on_and_ends_with_the_same_scores(evalkit: Any, lab: SimpleNamespace) -> None:
    with lab.serve() as server:
        command = (
            "run",
            "lm_eval/c_three",
            "--model",
            f"openai:tiny@{server.url}",
            "--include-path",
            str(lab.tasks),
        )
        (whole,) = evalkit.json(*command)["runs"]
        server.failing = 12
        run = evalkit.json(*command, "--cache", "off", code=1)["runs"][0]
        assert run["status"] == "incomplete"
        assert run["metrics"]["brier_score,none"]["bounds"] is not None
        server.failing = 0
        (resumed,) = evalkit.json("resume", run["id"])["runs"]
    assert resumed["status"] == "complete"
    assert resumed["metrics"] == whole["metrics"]


def test_a_limit_leaves_some_of_each_member_of_a_group(evalkit: Any, lab: SimpleNamespace) -> None:
    options = ("--include-path", str(lab.tasks), "--limit", "9", "-p", "bootstrap_iters=20")
    (run,) = evalkit.json("run", "lm_eval/all_chosen", "--model", "baseline:gold", *options)["runs"]
    members = ("c_three/acc,none", "c_yes_no/acc,none", "c_default/acc,none")
    assert [run["metrics"][name]["n"] for name in members] == [3, 3, 3]


def test_a_group_without_a_score_of_its_own_stands_for_its_members(
    evalkit: Any, lab: SimpleNamespace
) -> None:
    listed = evalkit.json("list", "lm_eval/together", "--include-path", str(lab.tasks))["tasks"]
    assert [one["id"] for one in listed] == ["lm_eval/g_exact", "lm_eval/c_default"]


def test_whole_texts_need_a_tokenizer_and_the_message_says_so(evalkit: Any, lab: SimpleNamespace) -> None:
    with lab.serve() as server:
        said = evalkit(
            "run",
            "lm_eval/r_prose",
            "--model",
            f"openai:tiny@{server.url}",
            "--include-path",
            str(lab.tasks),
            code=1,
        ).stderr
    assert "-p tokenizer=" in said


@pytest.mark.parametrize(
    ("task", "options", "reason"),
    [
        ("v_colours", (), "apply_chat_template=true"),
        ("v_likely", (), "only generate with them"),
        ("a_sounds", ("-p", "apply_chat_template=true"), "tasks with sounds are not supported"),
    ],
)
def test_pictures_and_sounds_that_lm_eval_does_not_serve_are_refused(
    evalkit: Any, lab: SimpleNamespace, task: str, options: tuple[str, ...], reason: str
) -> None:
    command = ("run", f"lm_eval/{task}", "--model", "baseline:gold", "--include-path", str(lab.tasks))
    assert reason in evalkit(*command, *options, code=2).stderr


def test_pictures_are_kept_once_and_named_by_hash(evalkit: Any, lab: SimpleNamespace) -> None:
    options = ("--include-path", str(lab.tasks), "-p", "apply_chat_template=true")
    runs = [
        evalkit.json("run", "lm_eval/v_colours", "--model", model, *options)["runs"][0]
        for model in ("baseline:gold", "baseline:empty")
    ]
    assert runs[0]["metrics"]["exact_match,none"]["value"] == 1.0
    with open_store(evalkit.folder / ".evalkit" / "evalkit.db") as store:
        prints = {store.runs.get(run["id"]).spec.dataset for run in runs}
    assert len(prints) == 1  # a picture's place in memory is no part of the data


def test_what_was_run_is_recorded(evalkit: Any, lab: SimpleNamespace) -> None:
    options = ("--include-path", str(lab.tasks), "-p", "num_fewshot=1", "--limit", "2")
    evalkit("run", "lm_eval/g_exact", "--model", "baseline:gold", *options)
    with open_store(evalkit.folder / ".evalkit" / "evalkit.db") as store:
        told = store.runs.get("latest").spec.provenance["lm_eval"]
    assert told["n-shot"] == {"g_exact": 1}
    assert told["configs"]["g_exact"]["doc_to_text"].startswith("Question:")
    assert told["version"] == importlib.metadata.version("lm_eval")


SMALL = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{q}}}}"
doc_to_target: "{{{{a}}}}"
generation_kwargs: {{until: ["\\n"]}}
metric_list: [{{metric: exact_match, aggregation: mean, higher_is_better: true}}]
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A folder with a task without documents, one of two documents, and groups of them."""
    folder = tmp_path / "small"
    folder.mkdir()
    (folder / "docs.jsonl").write_text('{"q": "a", "a": "b"}\n{"q": "c", "a": "d"}\n')
    text = SMALL.format(name="two_docs", file=folder / "docs.jsonl")
    (folder / "two.yaml").write_text(text)
    (folder / "none.yaml").write_text(
        text.replace("two_docs", "no_docs") + "process_docs: !function none.of\n"
    )
    (folder / "none.py").write_text("def of(docs):\n    return docs.select([])\n")
    metrics = "aggregate_metric_list: [{metric: acc}, {metric: exact_match}]\n"
    (folder / "group.yaml").write_text(f"group: of_accuracy\ntask: [two_docs]\n{metrics}")
    (folder / "part.yaml").write_text(f"group: with_no_docs\ntask: [two_docs, no_docs]\n{metrics}")
    return folder


@pytest.mark.parametrize("name", ["no_docs", "with_no_docs"])
def test_a_task_without_documents_is_one_message(evalkit: Any, small: Path, name: str) -> None:
    run = ("run", f"lm_eval/{name}", "--include-path", str(small), "--model", "baseline:gold", "-q")
    done = evalkit(*run, code=2)
    assert "lm-eval's task no_docs has no documents" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_score_of_a_group_that_no_member_measures_is_said(evalkit: Any, small: Path) -> None:
    run = ("run", "lm_eval/of_accuracy", "--include-path", str(small), "--model", "baseline:gold", "-q")
    done = evalkit(*run)
    said = "lm-eval's group of_accuracy has no score acc,none: none of its members measures that"
    assert done.stderr.count(said) == 1
    assert "exact_match,none" not in done.stderr
    assert "exact_match,none" in done.stdout

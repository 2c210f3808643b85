"""Finding tasks: by path, by name, with parameters, next to files that are broken or named like ours."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from evalkit.collection.expressions import keyword_filter, tag_filter
from evalkit.collection.targets import collect
from evalkit.errors import UsageError

MINE = '''
"""My task."""
from evalkit import Answer, Sample, parametrize, task
from evalkit.metrics import exact_match

def samples(n: int = 2):
    for i in range(n):
        yield Sample(str(i), f"question {i}", "yes")

@task(samples, metrics=[exact_match()], tags=["mine"])
@parametrize(k=[1, 5])
async def mine(sample, model, k: int = 1) -> Answer:
    """Answer yes."""
    return Answer(await model.generate(sample.input))
'''


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "task_mine.py").write_text(MINE)
    return tmp_path


def ids(*targets: str, **options) -> list[str]:
    return [item.id for item in collect(targets, **options).items]


def test_a_file_gives_one_item_for_each_value_of_its_axes(project: Path) -> None:
    found = collect(["task_mine.py"])
    assert [i.node_id for i in found.items] == ["task_mine.py::mine[k=1]", "task_mine.py::mine[k=5]"]
    assert found.items[0].params == {"k": 1, "n": 2}


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (".", ["mine[k=1]", "mine[k=5]"]),
        ("task_mine.py::mine", ["mine[k=1]", "mine[k=5]"]),
        ("task_mine.py::mine[k=5]", ["mine[k=5]"]),
        ("task_mine.py::mine[k=7,n=3]", ["mine[k=7,n=3]"]),
    ],
)
def test_targets(project: Path, target: str, expected: list[str]) -> None:
    assert ids(target) == expected


def test_settings_replace_an_axis_and_sweep(project: Path) -> None:
    assert ids("task_mine.py", params={"k": ["3", "4"]}) == ["mine[k=3]", "mine[k=4]"]


def test_an_unknown_setting_is_refused_with_the_nearest_name(project: Path) -> None:
    with pytest.raises(UsageError, match="'kk'"):
        ids("task_mine.py", params={"kk": ["3"]})


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("task_mine.py::mien", "no task 'mien'.* Did you mean 'mine'"),
        ("task_none.py", "no such file or folder: task_none.py"),
        ("pubmed_rug", "no task 'pubmed_rug'. Did you mean 'pubmed_rag'"),
        ("mien", "no installed task 'mien'. 'mine' is in task_mine.py: evalkit run task_mine.py::mine$"),
        ("mine", "no installed task 'mine'. 'mine' is in task_mine.py: evalkit run task_mine.py::mine$"),
        ("drug_clas", "no task 'drug_clas'. Known tasks"),  # and not blood_cells
        ("task_mine.py::mine[k]", r"mine\[k\]: 'k': write it as name=value"),
    ],
)
def test_a_target_that_names_nothing_says_so(project: Path, target: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        collect([target])


def test_a_broken_file_is_named_with_its_line_and_the_others_still_work(project: Path) -> None:
    (project / "task_broken.py").write_text("x = 1\ndef f(:\n")
    (project / "task_raises.py").write_text("x = 1\n\nraise RuntimeError('no data')\n")
    (project / "task_missing.py").write_text(MINE.replace("model, k", "model, reteiver, k"))
    found = collect(["."])
    assert [i.id for i in found.items] == ["mine[k=1]", "mine[k=5]"]
    messages = sorted(f"{Path(b.path).name}:{b.line}: {b.message}" for b in found.broken)
    assert messages[0].startswith("task_broken.py:2: syntax error")
    assert messages[1].startswith("task_missing.py:10: task mine asks for a fixture 'reteiver'")
    assert "Did you mean 'retriever'?" in messages[1]
    assert messages[2] == "task_raises.py:3: RuntimeError: no data"


def test_helpers_beside_a_task_file_are_imported_relatively(project: Path) -> None:
    (project / "helper.py").write_text("METRICS = []\n")
    (project / "task_two.py").write_text(
        MINE.replace("metrics=[exact_match()]", "metrics=METRICS").replace(
            "def samples", "from .helper import METRICS\n\ndef samples"
        )
    )
    assert ids("task_two.py::mine[k=1]") == ["mine[k=1]"]


def test_names_like_ours_in_the_working_directory_neither_shadow_nor_are_shadowed(project: Path) -> None:
    """A project with tasks.py, tasks/ and retrievers/ of its own, run as a person would."""
    (project / "tasks.py").write_text("MINE = 'my own tasks.py'\n")
    for folder in ("retrievers", "leaderboard"):
        (project / folder).mkdir()
        (project / folder / "__init__.py").write_text(f"MINE = 'my own {folder}'\n")
    (project / "task_mine.py").write_text(
        "import retrievers, tasks\nassert retrievers.MINE and tasks.MINE\n" + MINE
    )
    program = (
        "import sys; sys.path.insert(0, '.')\n"
        "from evalkit.collection.targets import collect\n"
        "from evalkit.rag.retrievers import retriever_class\n"
        "found = collect(['task_mine.py', 'pubmed_rag'])\n"
        "assert not found.broken, found.broken\n"
        "print(len(found.items), retriever_class('bm25').__name__)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["5", "BM25Retriever"], done.stderr


def test_an_evalconf_nearer_to_the_task_wins(project: Path) -> None:
    (project / "pyproject.toml").write_text("")
    (project / "sub").mkdir()
    conf = "from evalkit import fixture\n\n@fixture\ndef place(): return {!r}\n"
    (project / "evalconf.py").write_text(conf.format("above"))
    (project / "sub" / "evalconf.py").write_text(conf.format("beside"))
    for folder in (project, project / "sub"):
        (folder / "task_where.py").write_text(MINE.replace("model, k", "model, place, k"))
    above, beside = collect(["task_where.py"]).items[0], collect(["sub/task_where.py"]).items[0]
    assert above.resolved.fixtures["place"].fn() == "above"
    assert beside.resolved.fixtures["place"].fn() == "beside"


def test_an_axis_fills_an_argument_without_a_default(project: Path) -> None:
    (project / "task_axis.py").write_text(MINE.replace("k: int = 1", "k: int"))
    assert ids("task_axis.py", params={"k": ["9"]}) == ["mine[k=9]"]
    assert collect(["task_axis.py::mine[k=5]"]).items[0].params["k"] == 5


def test_tags_and_keywords(project: Path) -> None:
    assert ids("task_mine.py", tags=["mine"]) == ["mine[k=1]", "mine[k=5]"]
    assert ids("task_mine.py", tags=["other"]) == []
    assert ids("task_mine.py", keyword="mine and not k=5") == ["mine[k=1]"]


@pytest.mark.parametrize(
    ("expression", "text", "holds"),
    [
        ("rag", "x::pubmed_rag[k=5]", True),
        ("RAG and k=5", "x::pubmed_rag[k=5]", True),
        ("not (rag or vqa)", "x::pubmed_rag[k=5]", False),
        ("vqa or k=5", "x::pubmed_rag[k=5]", True),
    ],
)
def test_keyword_expressions(expression: str, text: str, holds: bool) -> None:
    assert keyword_filter(expression)(text) is holds


@pytest.mark.parametrize("expression", ["and", "a b", "(a", "not"])
def test_a_malformed_keyword_expression_is_refused(expression: str) -> None:
    with pytest.raises(UsageError, match="words joined by and, or, not"):
        keyword_filter(expression)


def test_values_with_ids_are_named_and_chosen_by_them(project: Path) -> None:
    (project / "task_ids.py").write_text(
        MINE.replace("k=[1, 5]", 'k=[1, 5], how=["Say: {}", "Ask: {}"], ids={"how": ["say", "ask"]}').replace(
            "k: int = 1", "how, k: int = 1"
        )
    )
    assert ids("task_ids.py") == [f"mine[how={h},k={k}]" for k in (1, 5) for h in ("say", "ask")]
    (item,) = collect(["task_ids.py::mine[how=ask,k=5]"]).items
    assert (item.id, item.params["how"], item.shown["how"]) == ("mine[how=ask,k=5]", "Ask: {}", "ask")
    assert ids("task_ids.py", params={"how": ["say"], "k": ["1"]}) == ["mine[how=say,k=1]"]


@pytest.mark.parametrize(
    ("fixtures", "message"),
    [
        ("@fixture\ndef a(b): ...\n@fixture\ndef b(a): ...", "in a circle: a → b → a"),
        ("@fixture\ndef a(a): ...", "in a circle: a → a|fixture 'a' that nobody defines"),
        (
            "@fixture(scope='task')\ndef b(): ...\n@fixture\ndef a(b): ...",
            "fixture a lives for a session and",
        ),
        ("@fixture\ndef a(sample): ...", "asks for 'sample', which only"),
    ],
)
def test_fixtures_that_cannot_be_made_are_named(project: Path, fixtures: str, message: str) -> None:
    head = f"from evalkit import fixture\n{fixtures}\n"
    (project / "task_wrong.py").write_text(head + MINE.replace("model, k", "model, a, k"))
    found = collect(["task_wrong.py", "task_mine.py"])
    assert [i.id for i in found.items] == ["mine[k=1]", "mine[k=5]"]
    assert re.search(message, found.broken[0].message)


def test_an_axis_that_nothing_takes_is_named_with_its_file(project: Path) -> None:
    (project / "task_axis.py").write_text(MINE.replace("k=[1, 5]", "kk=[1, 5]"))
    found = collect(["."])
    assert len(found.items) == 2
    assert "has no parameter 'kk'. Did you mean 'k'?" in found.broken[0].message


@pytest.mark.parametrize(
    ("expression", "holds"),
    [
        ("rag", True),
        ("ra", False),
        ("rag and not synthetic", True),
        ("vqa or (rag and from-hub)", True),
        ("not rag", False),
    ],
)
def test_tag_expressions_hold_of_whole_tags(expression: str, holds: bool) -> None:
    assert tag_filter(expression)(["rag", "from-hub"]) is holds
    with pytest.raises(UsageError, match="-m 'rag rag'"):
        tag_filter("rag rag")


MARKED = """
from evalkit import Answer, Sample, skip, skipif, task, xfail
from evalkit.metrics import exact_match
S = [Sample("1", "q", "yes")]

@task(S, metrics=[exact_match()], tags=["x"])
@skip(reason="no licence")
async def left_out(sample, model): ...

@skipif(1 > 2, reason="no GPU")
@task(S, metrics=[exact_match()])
async def runs(sample, model): return Answer(await model.generate(sample.input))

@task(S, metrics=[exact_match()])
@xfail(reason="not yet")
async def fails(sample, model): raise ValueError("boom")
"""


def test_skipped_and_expected_failures_are_reported_and_are_no_failure(evalkit) -> None:
    (evalkit.folder / "task_marked.py").write_text(MARKED)
    document = evalkit.json("run", "task_marked.py", "--model", "baseline:gold")
    assert [(r["task"], r["status"]) for r in document["runs"]] == [
        ("runs", "complete"),
        ("fails", "incomplete"),
    ]
    assert document["skipped"] == [{"task": "left_out", "reason": "no licence"}]
    assert document["xfailed"][0]["reason"] == "not yet"
    shown = evalkit("run", "task_marked.py", "--collect-only").stdout.splitlines()
    assert shown == [
        "task_marked.py::left_out  (skipped: no licence)",
        "task_marked.py::runs",
        "task_marked.py::fails  (expected to fail: not yet)",
    ]
    listed = evalkit.json("list", "task_marked.py", "-m", "x")["tasks"]
    assert [(t["id"], t["skip"]) for t in listed] == [("left_out", "no licence")]
    evalkit("run", "task_marked.py::left_out", "--model", "baseline:gold")


SINGLE = """
from evalkit import Answer, Sample, Value, parametrize, task
from evalkit.metrics import exact_match
S = [Sample("1", "q", "yes")]
DEEP = Value("Think it over, then answer.", id="deep", xfail="too hard")

@task(S, metrics=[exact_match()])
@parametrize(k=[5, Value(100, skip="takes a day")], how=["plain", DEEP])
async def marked(sample, model, k, how):
    if how != "plain":
        raise ValueError("boom")
    return Answer(await model.generate(sample.input))
"""


def test_single_values_of_an_axis_are_named_skipped_and_expected_to_fail(evalkit) -> None:
    (evalkit.folder / "task_single.py").write_text(SINGLE)
    document = evalkit.json("run", "task_single.py", "--model", "baseline:gold")
    assert [(r["task"], r["status"]) for r in document["runs"]] == [
        ("marked[k=5,how=plain]", "complete"),
        ("marked[k=5,how=deep]", "incomplete"),
    ]
    assert [(s["task"], s["reason"]) for s in document["skipped"]] == [
        ("marked[k=100,how=plain]", "takes a day"),
        ("marked[k=100,how=deep]", "takes a day"),
    ]
    assert document["xfailed"][0]["reason"] == "too hard"
    listed = evalkit.json("list", "task_single.py")["tasks"]
    assert [(t.get("skip"), t.get("xfail")) for t in listed] == [
        (None, None),
        (None, "too hard"),
        ("takes a day", None),
        ("takes a day", "too hard"),
    ]
    # What was said of a value holds however it is chosen; other values are as good as any.
    options = ("-p", "k=100", "-p", "k=7", "-p", "how=plain", "--model", "baseline:gold")
    chosen = evalkit.json("run", "task_single.py", *options)
    assert [s["task"] for s in chosen["skipped"]] == ["marked[k=100,how=plain]"]
    assert [r["task"] for r in chosen["runs"]] == ["marked[k=7,how=plain]"]


def test_pytest_skips_single_values_too(evalkit) -> None:
    (evalkit.folder / "task_single.py").write_text(SINGLE)
    command = [sys.executable, "-m", "pytest", "-q", "-rsx", "-p", "no:asyncio", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "--evalkit-model", "baseline:gold", "task_single.py"],
        cwd=evalkit.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 passed, 2 skipped, 1 xfailed" in done.stdout, done.stdout
    assert "takes a day" in done.stdout
    assert "too hard" in done.stdout

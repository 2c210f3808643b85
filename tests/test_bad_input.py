"""Bad input and bad servers, as a user meets them: a clear message, the right exit code, nothing lost."""

from __future__ import annotations

import json
import random
import re
import resource
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks.servers import free_port

TASK = """
from evalkit import Answer, Sample, task
from evalkit.metrics import exact_match

def samples(n: int = 4):
    for i in range(n):
        yield Sample(str(i), f"question {i}", "yes")

@task(samples, metrics=[exact_match()])
async def small(sample, model, k: int = 5) -> Answer:
    return Answer(await model.generate(sample.input))
"""


@pytest.fixture
def task_file(tmp_path: Path) -> str:
    (tmp_path / "task_small.py").write_text(TASK)
    return "task_small.py"


# What is wrong before anything is asked: exit code 2.


def test_no_such_task_names_the_nearest(evalkit) -> None:
    done = evalkit("run", "pubmed_rga", "--model", "baseline:lead", code=2)
    assert "no task 'pubmed_rga'. Did you mean 'pubmed_rag'?" in done.stderr
    assert "Traceback" not in done.stderr


def test_errors_under_json_are_json_too(evalkit) -> None:
    document = evalkit.json("run", "pubmed_rga", "--model", "baseline:lead", code=2)
    assert document["runs"] == []
    assert "Did you mean 'pubmed_rag'" in document["errors"][0]


def test_what_a_task_file_prints_does_not_break_the_json(evalkit, task_file, tmp_path) -> None:
    loud = TASK.replace("def samples", "print('loading')\n\ndef samples").replace(
        "    return Answer", "    print('asking')\n    return Answer"
    )
    (tmp_path / task_file).write_text(loud)
    process = evalkit("run", task_file, "--model", "baseline:gold", "--json")
    assert json.loads(process.stdout)["runs"][0]["counts"] == {"ok": 4}
    assert process.stderr.count("asking") == 4


def test_a_syntax_error_is_shown_with_its_line_and_the_other_task_runs(evalkit, task_file, tmp_path) -> None:
    (tmp_path / "task_bad.py").write_text("def broken(:\n    pass\n")
    process = evalkit("run", ".", "--model", "baseline:gold", "--json", code=2)
    assert "task_bad.py:1: syntax error" in process.stderr
    (run,) = json.loads(process.stdout)["runs"]
    assert (run["task"], run["status"]) == ("small", "complete")


ROWS_TASK = """
from pathlib import Path
from evalkit import Answer, Sample, task
from evalkit.data.files import file_rows
from evalkit.metrics import exact_match

def read(data):
    for row in {rows}:
        yield Sample(row["id"], row["q"], row["a"])

def samples(data: Path = Path(".")):
    yield from read(data)

@task(samples, metrics=[exact_match()])
async def rows(sample, model) -> Answer:
    return Answer(await model.generate(sample.input))
"""


@pytest.mark.parametrize("rows", ['file_rows(data, "test")', 'list(file_rows(data, "test"))'])
@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (
            {"id": "b", "q": "?", "a": None},
            "test.jsonl:2: task_rows.py::rows: the target of sample 'b' is None",
        ),
        ({"id": "b", "q": "?"}, "task_rows.py:9: reading the samples: KeyError: 'a' (row of test.jsonl:2)"),
    ],
)
def test_a_bad_row_is_named_with_its_file_and_line(evalkit, tmp_path, rows, bad, words) -> None:
    (tmp_path / "task_rows.py").write_text(ROWS_TASK.format(rows=rows))
    good = {"id": "a", "q": "?", "a": "yes"}
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in (good, bad, good)))
    assert words in evalkit("run", "task_rows.py", "--model", "baseline:gold", code=2).stderr


def test_a_parameter_that_does_not_exist_names_the_nearest(evalkit, task_file) -> None:
    done = evalkit("run", task_file, "-p", "kk=3", "--model", "baseline:gold", code=2)
    assert "task small has no parameter 'kk'. Did you mean 'k'? Its parameters: k, n" in done.stderr


def test_a_model_spec_that_cannot_be_read_says_what_one_is(evalkit, task_file) -> None:
    assert (
        "no such model provider: 'opnai'. Did you mean 'openai'?"
        in evalkit("run", task_file, "--model", "opnai:x@http://127.0.0.1:1", code=2).stderr
    )
    assert "give a model: --model baseline:extract" in evalkit("run", task_file, code=2).stderr


def test_a_server_that_is_down(evalkit, task_file) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    done = evalkit("run", task_file, "--model", f"sglang:tiny@{url}", code=2)
    assert f"nothing answers at {url}" in done.stderr
    assert evalkit.json("show")["runs"] == []


def test_a_problem_of_several_runs_is_told_once(evalkit, task_file) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    call = ("run", task_file, "-p", "k=1", "-p", "k=2", "--model", f"sglang:tiny@{url}")
    said = evalkit(*call, code=2).stderr
    assert said.count("nothing answers at") == 1
    assert f"small[k=2] with sglang:tiny@{url}: the same problem\n" in said
    errors = evalkit.json(*call, code=2)["errors"]
    assert len(errors) == 2
    assert all("nothing answers at" in error for error in errors)


def test_a_wrong_model_name_lists_what_is_served(evalkit, task_file, scripted) -> None:
    done = evalkit("run", task_file, "--model", f"openai:tinny@{scripted.url}", code=2)
    assert "tinny" in done.stderr
    assert "tiny" in done.stderr.replace("tinny", "")
    assert not scripted.asked


# What goes wrong at the server while the run goes on.


def test_a_401_stops_the_run_without_asking_everything_and_shows_no_key(
    evalkit, task_file, scripted, tmp_path
) -> None:
    evalkit.environment["OPENAI_API_KEY"] = "sk-very-secret-key"
    scripted.fault = lambda n: (401, {}, '{"error": {"message": "bad key sk-very-secret-key"}}')
    done = evalkit(
        "run",
        task_file,
        "-p",
        "n=500",
        "--max-inflight",
        "2",
        "--model",
        f"openai:tiny@{scripted.url}",
        code=1,
    )
    assert "401" in done.stderr
    assert sum(scripted.asked.values()) < 10
    assert scripted.keys == {"Bearer sk-very-secret-key"}
    everything = done.stdout + done.stderr
    for file in (tmp_path / ".evalkit").iterdir():
        everything += file.read_bytes().decode("latin-1")
    assert "very-secret" not in everything


def test_a_429_is_obeyed_and_the_run_completes(evalkit, task_file, scripted) -> None:
    scripted.fault = lambda n: (429, {"Retry-After": "1"}, "slow down") if n == 2 else None
    began = time.monotonic()
    (run,) = evalkit.json("run", task_file, "--max-inflight", "1", "--model", f"openai:tiny@{scripted.url}")[
        "runs"
    ]
    assert run["counts"] == {"ok": 4}
    assert sum(scripted.asked.values()) == 5
    assert time.monotonic() - began >= 1.0


def test_a_server_that_wants_an_hour_of_peace_gets_it_and_the_run_stops(evalkit, task_file, scripted) -> None:
    scripted.fault = lambda n: (429, {"Retry-After": "3600"}, "quota") if n > 10 else None
    document = evalkit.json(
        "run",
        task_file,
        "-p",
        "n=500",
        "--max-inflight",
        "1",
        "--model",
        f"openai:tiny@{scripted.url}",
        code=1,
    )
    assert "The server sent Retry-After: 3600 s. Stopped here: resume the run" in document["errors"][0]
    assert sum(scripted.asked.values()) == 10 + 1
    assert document["runs"][0]["counts"] == {"ok": 10}


def test_a_500_and_a_garbage_body_are_tried_again(evalkit, task_file, scripted) -> None:
    faults = {2: (500, {}, "oops"), 4: (200, {}, "<html>not json")}
    scripted.fault = lambda n: faults.get(n)
    (run,) = evalkit.json("run", task_file, "--model", f"openai:tiny@{scripted.url}")["runs"]
    assert run["counts"] == {"ok": 4}
    assert sum(scripted.asked.values()) == 6


def test_a_request_that_the_server_refuses_is_one_error_not_retried(evalkit, task_file, scripted) -> None:
    refusal = (400, {}, '{"object":"error","message":"too long","code":400}')
    scripted.fault = lambda n: refusal if n == 1 else None
    (run,) = evalkit.json("run", task_file, "--model", f"openai:tiny@{scripted.url}", code=1)["runs"]
    assert run["counts"] == {"error": 1, "ok": 3}
    assert sum(scripted.asked.values()) == 4
    errors = [
        sample["error"]
        for i in range(4)
        if (sample := evalkit.json("show", "latest", "--sample", f"#{i}"))["status"] == "error"
    ]
    assert len(errors) == 1
    assert "too long" in errors[0]


def test_a_reply_that_never_comes_is_an_error_after_the_timeout(evalkit, task_file, scripted) -> None:
    scripted.delay_s = 60
    spec = f"openai:tiny@{scripted.url}?timeout=0.3"
    (run,) = evalkit.json("run", task_file, "--limit", "1", "--model", spec, code=1)["runs"]
    assert run["counts"] == {"error": 1}
    assert run["metrics"] == {}


# Corpora and indexes.


@pytest.mark.parametrize(
    ("second_line", "message"),
    [
        ("not json", "corpus.jsonl:2"),
        ('{"id": "b", "title": "no text"}', "corpus.jsonl:2"),
        ('{"id": "a", "text": "again"}', "corpus.jsonl:2"),
    ],
)
def test_a_broken_corpus_is_named_with_its_line(evalkit, tmp_path, second_line: str, message: str) -> None:
    (tmp_path / "corpus.jsonl").write_text('{"id": "a", "text": "Aspirin."}\n' + second_line + "\n")
    done = evalkit("index", "build", "corpus.jsonl", "--out", "index", "--retriever", "bm25", code=2)
    assert message in done.stderr
    assert not (tmp_path / "index" / "manifest.json").exists()


def test_an_index_of_another_corpus_is_refused_with_the_command_that_rebuilds_it(evalkit, tmp_path) -> None:
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text('{"id": "a", "text": "Aspirin lowers fever."}\n{"id": "b", "text": "Statins."}\n')
    evalkit("index", "build", "corpus.jsonl", "--out", "index", "--retriever", "bm25")
    found = evalkit.json("index", "search", "index", "fever", "-k", "1")
    assert [p["id"] for p in found["passages"]] == ["a"]
    corpus.write_text('{"id": "a", "text": "Something else entirely."}\n')
    refused = evalkit("index", "search", "index", "fever", code=2)
    assert "corpus" in refused.stderr
    assert "evalkit index build" in refused.stderr


def test_a_folder_without_an_index_says_how_to_build_one(evalkit) -> None:
    refused = evalkit("index", "search", "nowhere", "x", code=2)
    assert "evalkit index build CORPUS --out nowhere" in refused.stderr


# The store.


def test_a_store_of_a_newer_version_is_not_touched(evalkit, task_file, tmp_path) -> None:
    evalkit("run", task_file, "--model", "baseline:gold")
    with closing(sqlite3.connect(tmp_path / ".evalkit" / "evalkit.db")) as store, store:
        store.execute("UPDATE alembic_version SET version_num = '9999'")
    refused = evalkit("show", code=2)
    assert "schema version 9999, this evalkit knows up to" in refused.stderr
    assert "pip install --upgrade evalkit" in refused.stderr


def test_a_file_that_is_no_store(evalkit, tmp_path) -> None:
    (tmp_path / "notes.db").write_text("these are notes, not a database " * 200)
    assert "not an evalkit store" in evalkit("show", "--store", "notes.db", code=2).stderr


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare (util-linux) for a small disk")
def test_a_full_disk_loses_nothing_and_the_run_resumes(evalkit, tmp_path, scripted) -> None:
    """A real disk of 3 MB, in a mount namespace of the test's own; made larger before the resume."""
    scripted.reply = lambda question: random.Random(question).randbytes(4500).hex()  # does not compress
    disk = tmp_path / "disk"
    disk.mkdir()
    command = f"'{sys.executable}' -m evalkit"
    script = f"""
        mount -t tmpfs -o size=3m tmpfs . && cd . || exit 77
        cd "{disk}"
        cat > task_small.py
        {command} run task_small.py -p n=600 --model openai:tiny@{scripted.url}; echo "run $?"
        mount -o remount,size=64m tmpfs "{disk}"
        {command} resume latest; echo "resume $?"
        {command} show --json
    """
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", script],
        input=TASK,
        text=True,
        capture_output=True,
        cwd=disk,
        env=evalkit.environment,
        check=False,
    )
    if done.returncode == 77 or "unshare failed" in done.stderr:
        pytest.skip(f"no private mounts on this machine: {done.stderr.strip()[:200]}")
    assert "run 1" in done.stdout, done.stdout + done.stderr
    assert "full" in done.stderr or "no space" in done.stderr
    assert "Traceback" not in done.stderr
    assert "resume 0" in done.stdout, done.stdout + done.stderr
    (run,) = json.loads(done.stdout[done.stdout.index('{\n  "runs"') :])["runs"]
    assert (run["status"], run["counts"]) == ("complete", {"ok": 600})


def test_a_disk_that_fails_in_the_middle_loses_nothing_and_the_run_resumes(
    evalkit, task_file, scripted
) -> None:
    """As a disk that the system makes read-only: what is written beyond the first bytes of a file fails."""
    scripted.delay_s = 0.02
    asking = ["run", task_file, "-p", "n=300", "--model", f"openai:tiny@{scripted.url}"]
    process = evalkit.start(*asking, "--max-inflight", "8")
    while sum(scripted.answered.values()) < 60:
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    scripted.delay_s = 0.1  # the disk fails before the end
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (8_000, resource.RLIM_INFINITY))
    out, err = process.communicate()
    assert process.returncode == 1, out + err
    assert "can no longer be read or written" in err
    assert re.search("Run .* is interrupted. Go on with: .*resume", err)
    assert "Traceback" not in err
    assert sum(scripted.asked.values()) < 300
    scripted.delay_s = 0
    (run,) = evalkit.json("resume", "latest")["runs"]
    assert (run["status"], run["counts"]) == ("complete", {"ok": 300})
    again = sum(times - 1 for times in scripted.asked.values())
    assert again <= 2 * 8  # those whose replies could not be filed, and those under way


@pytest.mark.parametrize("where", [".evalkit", "folder/of/mine"])
def test_a_folder_that_cannot_be_made_stops_a_run_before_it_asks(
    evalkit, task_file, tmp_path, scripted, where: str
) -> None:
    (tmp_path / where.partition("/")[0]).write_text("a file where the folder would be")
    asking = ("run", task_file, "--model", f"openai:tiny@{scripted.url}", "--store", f"{where}/evalkit.db")
    assert "its directory cannot be made" in evalkit(*asking, code=2).stderr
    assert not scripted.asked


@pytest.mark.skipif(
    shutil.which("unshare") is None, reason="needs unshare (util-linux) for a read-only folder"
)
def test_a_read_only_folder_stops_a_run_before_it_asks(evalkit, task_file, tmp_path, scripted) -> None:
    """Also for root, whom permissions do not bind: a mount that is read-only."""
    evalkit("run", task_file, "--model", "baseline:gold")
    command = f"'{sys.executable}' -m evalkit run task_small.py --model openai:tiny@{scripted.url}"
    script = f"mount --bind . . && mount -o remount,bind,ro . || exit 77; cd '{tmp_path}' && exec {command}"
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", script],
        text=True,
        capture_output=True,
        cwd=tmp_path,
        env=evalkit.environment,
        check=False,
    )
    if done.returncode == 77 or "unshare failed" in done.stderr:
        pytest.skip(f"no private mounts on this machine: {done.stderr.strip()[:200]}")
    assert done.returncode == 2, done.stderr
    assert "Check the permissions of the file and of its directory" in done.stderr
    assert "Traceback" not in done.stderr
    assert not scripted.asked
    assert len(evalkit.json("show")["runs"]) == 1

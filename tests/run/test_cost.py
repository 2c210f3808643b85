"""What a run costs, through the command: by sample and run, with its limits, and foretold."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import random
import subprocess
from tempfile import TemporaryFile
from unittest.mock import patch

import pytest
from click.testing import CliRunner

from evalkit.cli import cli, output
from evalkit.cli.run_report import print_runs
from evalkit.errors import EvalkitError
from evalkit.store.records import Run, RunSpec
from tests.conftest import Command
from tests.servers.lengths import serve as thinking_lengths
from tests.servers.scripted import Scripted

TASK = """
'''Say the last word.'''
from evalkit import Answer, Passage, Sample, task
from evalkit.metrics import alce, exact_match

def samples(n: int = 40):
    for i in range(n):
        yield Sample(str(i), f"Question {i}: " + "word " * (20 + i % 30), "yes [1].")

@task(samples, metrics=[exact_match(), alce()])
async def words(sample, model, review):
    reply = await model.generate("Answer: " + sample.input, max_tokens=200)
    return await review(sample, Answer(reply, passages=(Passage("a", "Yes."),)))
"""
PRICES = """
[prices."openai:tiny"]
input = 10
output = 100
[prices."Judge"]
input = 1000
output = 0
"""


def lengths(body: dict) -> dict[str, int]:
    """Prompts of a quarter of their characters, replies of 20 to 80 tokens."""
    text = body["messages"][-1]["content"]
    return {"prompt_tokens": len(text) // 4, "completion_tokens": random.Random(text).randint(20, 80)}


class InProcess(Command):
    """The command without a process of its own, which spares its imports: most of the time of these tests."""

    def __call__(self, *arguments: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        with (
            contextlib.chdir(self.folder),
            TemporaryFile() as document,
            patch.object(output, "_out", document.fileno()),
        ):
            done = CliRunner().invoke(cli, arguments, env=self.environment)
            document.seek(0)
            out = document.read().decode() or done.stdout
        exit_code, err = done.exit_code, done.stderr
        if isinstance(done.exception, EvalkitError):  # as ``main`` does
            exit_code, err = 2, f"{err}evalkit: {done.exception}"
        assert code is None or exit_code == code, f"exit {exit_code}\n{out}\n{err}"
        return subprocess.CompletedProcess(arguments, exit_code, out, err)


@pytest.fixture
def in_folder(evalkit, scripted: Scripted):
    """A folder with a task and prices, and a server whose replies have lengths."""
    (evalkit.folder / "task_words.py").write_text(TASK)
    (evalkit.folder / "evalkit.toml").write_text(PRICES)
    scripted.usage = lengths
    scripted.reply = lambda question: "SUPPORTED" if "SUPPORTED" in question else "yes [1]."
    return evalkit


@pytest.fixture
def paid(in_folder):
    return InProcess(in_folder.folder)


def test_a_run_costs_what_its_calls_cost_and_again_from_the_cache_nothing(paid, scripted: Scripted) -> None:
    command = ("run", "task_words.py", "--model", f"openai:tiny@{scripted.url}")
    (run,) = paid.json(*command)["runs"]
    tokens = run["tokens"]
    assert run["cost"] == pytest.approx((tokens["prompt"] * 10 + tokens["completion"] * 100) / 1e6)
    assert run["judge_cost"] == 0
    assert run["prices"]["openai:tiny"]["per_million"] == {"input": 10, "output": 100}
    rows = list(csv.DictReader(io.StringIO(paid("show", run["id"], "--samples", "--format", "csv").stdout)))
    assert sum(float(row["cost"]) for row in rows) == pytest.approx(run["cost"])
    (line, *_) = csv.DictReader(io.StringIO(paid("show", run["id"], "--format", "csv").stdout))
    assert float(line["cost"]) == pytest.approx(run["cost"])
    assert f"${float(rows[3]['cost']):.2g}" in paid("show", run["id"], "--sample", "3").stdout
    shown = paid("show", run["id"]).stdout
    assert f"${run['cost']:.2f}" in shown
    again = paid(*command)
    assert "40 of them are in the cache" in again.stderr
    (run,) = paid.json("show", "latest")["runs"]
    assert (run["cost"], run["calls_from_cache"]) == (0, 40)


def test_the_judge_is_paid_apart_and_a_rehearsal_pays_nobody(paid, scripted: Scripted) -> None:
    judge = f"judge=llm:openai:tiny@{scripted.url}?label=Judge"
    model = ("--model", f"openai:tiny@{scripted.url}")
    (run,) = paid.json("run", "task_words.py", "-p", "n=6", "-p", judge, *model)["runs"]
    asked = run["judged"]
    assert asked["asked"] > 0
    questions = [body for body in scripted.bodies if "SUPPORTED" in body["messages"][-1]["content"]]
    assert len(questions) == asked["asked"] - asked["from_cache"]
    prompts = sum(lengths(body)["prompt_tokens"] for body in questions)
    assert run["judge_cost"] == pytest.approx(prompts * 1000 / 1e6)
    assert run["cost"] < run["judge_cost"]
    assert run["prices"].keys() == {"openai:tiny", "Judge"}
    # The forecast ran the task's function: no call of it reached the model or the judge.
    sent = sum(n for question, n in scripted.answered.items() if "Question" in question)
    assert sent == run["calls"]
    assert run["forecast"]["samples"] == 6


def test_an_unknown_price_is_shown_as_unknown(paid, scripted: Scripted) -> None:
    (paid.folder / "evalkit.toml").unlink()
    done = paid("run", "task_words.py", "-p", "n=3", "--model", f"openai:tiny@{scripted.url}")
    assert "unknown price" in done.stdout
    assert "$" not in done.stdout + done.stderr
    (run,) = paid.json("show", "latest")["runs"]
    assert run["cost"] is None
    refused = paid(
        "run", "task_words.py", "--max-cost", "5", "--model", f"openai:tiny@{scripted.url}", code=2
    )
    assert (
        'no price of openai:tiny is known. Add it to evalkit.toml: [prices."openai:tiny"]' in refused.stderr
    )


def test_what_was_spent_is_a_lower_bound_where_a_price_was_unknown(paid, scripted: Scripted) -> None:
    (paid.folder / "evalkit.toml").unlink()
    command = ("run", "task_words.py", "-p", "n=20", "--max-inflight", "2")
    limit = ("--max-tokens", "100", "--model", f"openai:tiny@{scripted.url}")
    (run,) = paid.json(*command, *limit, code=130)["runs"]
    (paid.folder / "evalkit.toml").write_text(PRICES)
    shown = paid("resume", run["id"]).stdout
    assert "unknown price" in shown
    assert "at least $" in shown


def test_a_baseline_costs_nothing(paid) -> None:
    (run,) = paid.json("run", "task_words.py", "-p", "n=3", "--model", "baseline:gold", "--max-cost", "1")[
        "runs"
    ]
    assert (run["status"], run["cost"]) == ("complete", 0)


def test_a_limit_stops_the_run_and_resume_goes_on(in_folder, scripted: Scripted) -> None:
    """In processes of its own, which handle signals and exit."""
    paid = in_folder
    scripted.delay_s = 0.02
    command = ("run", "task_words.py", "--max-inflight", "3", "--model", f"openai:tiny@{scripted.url}")
    stopped = paid(*command, "--max-cost", "0.05", "--json", code=130)
    assert "The cost limit is reached (--max-cost 0.05)" in stopped.stderr
    assert "That is more than --max-cost 0.05: the run will stop there; resume goes on." in stopped.stderr
    (run,) = json.loads(stopped.stdout)["runs"]
    assert run["status"] == "interrupted"
    dearest = (80 * 100 + 50 * 10) / 1e6
    assert 0.05 <= run["cost"] <= 0.05 + 3 * dearest  # the calls in flight may end
    assert sum(scripted.answered.values()) - run["n"] <= 3  # the probe's
    first = paid("resume", run["id"], "--max-tokens", "500", "--json", code=130)
    assert "The token limit is reached (--max-tokens 500)" in first.stderr
    (after,) = json.loads(first.stdout)["runs"]
    assert run["n"] < after["n"] < 40
    (whole,) = paid.json("resume", run["id"])["runs"]
    assert (whole["status"], whole["n"]) == ("complete", 40)
    tokens = whole["tokens"]
    assert whole["cost"] == pytest.approx((tokens["prompt"] * 10 + tokens["completion"] * 100) / 1e6)
    assert whole["spent"]["model"] == pytest.approx(whole["cost"])


def test_a_run_that_ends_at_the_limit_is_complete_and_the_next_does_not_begin(
    paid, scripted: Scripted
) -> None:
    command = ("run", "task_words.py", "--model", f"openai:tiny@{scripted.url}", "--cache", "off")
    (whole,) = paid.json(*command, "-p", "n=10")["runs"]
    limit = ("--max-cost", str(0.99 * whole["cost"]))  # reached when the last reply is in flight
    (run,) = paid.json(*command, "-p", "n=10", *limit)["runs"]
    assert (run["status"], run["n"]) == ("complete", 10)
    (first,) = paid.json(*command, "-p", "n=10", "-p", "n=12", *limit, code=130)["runs"]
    assert (first["status"], first["n"]) == ("complete", 10)


def test_a_limit_holds_for_all_runs_of_a_command_together(paid, scripted: Scripted) -> None:
    model = ("--model", f"openai:tiny@{scripted.url}", "--max-inflight", "2")
    targets = ("task_words.py", "-p", "n=10", "-p", "n=12")
    (first, second) = paid.json("run", *targets, *model, "--max-cost", "0.07", code=130)["runs"]
    assert first["status"] == "complete"
    assert second["status"] == "interrupted"
    assert first["cost"] + second["cost"] < 0.07 + 2 * 0.0085


def test_the_forecast_holds_what_the_run_then_costs(paid, scripted: Scripted) -> None:
    model = ("--model", f"openai:tiny@{scripted.url}")
    first = paid("run", "task_words.py", "--limit", "12", *model)
    assert "12 samples with prompts of about" in first.stderr
    assert "replies of at most 200, since no earlier run tells how long they are" in first.stderr
    (run,) = paid.json("show", "latest")["runs"]
    assert run["forecast"]["cost"][1] < run["cost"] < run["forecast"]["cost"][2]
    second = paid("run", "task_words.py", "--cache", "refresh", *model)
    assert f"(as in run {run['id']})" in second.stderr
    (run,) = paid.json("show", "latest")["runs"]
    value, low, high = run["forecast"]["cost"]
    assert low < run["cost"] < high
    assert value == pytest.approx(run["cost"], rel=0.3)


@pytest.mark.parametrize("value", ["abc", "nan", "0", "-1", "inf", "5$"])
@pytest.mark.parametrize(
    ("option", "unit"), [("--max-cost", "US dollars above 0"), ("--max-tokens", "tokens, 1 or more")]
)
def test_a_limit_that_is_no_number_is_refused(option: str, unit: str, value: str) -> None:
    done = CliRunner().invoke(cli, ["run", "words", "--model", "baseline:gold", option, value])
    assert done.exit_code == 2
    assert f"Invalid value for '{option}': '{value}': must be a number of {unit}" in done.output


def test_replies_that_were_cut_do_not_tell_how_long_replies_are(evalkit) -> None:
    (evalkit.folder / "task_sums.py").write_text(
        "from evalkit import Answer, Sample, task\n"
        "from evalkit.metrics import exact_match\n"
        "@task([Sample(str(i), f'{i} + {i}', str(2 * i)) for i in range(20)], metrics=[exact_match()])\n"
        "async def sums(sample, model):\n"
        "    return Answer(await model.generate(sample.input, max_tokens=20))\n"
    )
    with thinking_lengths(lambda drawn: drawn.uniform(300, 400), right=1.0, most=4000) as server:
        model = f"openai:thinker@{server.url}?max_tokens=20"
        whole = evalkit.json("run", "task_sums.py", "--model", model)["runs"][0]
        cut = evalkit.json("run", "task_sums.py", "--model", f"{model}&reasoning_tokens=100")["runs"][0]
        assert cut["counts"] == {"truncated": 20}
        other = ("run", "task_sums.py", "--model", f"{model}&temperature=0.7", "--max-tokens", "1e6")
        assert f"(as in run {whole['id']})" in evalkit(*other).stderr


def test_a_price_under_nearly_the_models_name_is_pointed_out(in_folder, scripted: Scripted) -> None:
    toml = in_folder.folder / "evalkit.toml"
    toml.write_text("[prices.tiny]\ninput = 1\noutput = 1\n")
    call = ("run", "task_words.py", "-p", "n=1", "--model", f"openai:tiny@{scripted.url}")
    said = in_folder(*call).stderr
    assert "no price of openai:tiny is known; evalkit.toml has one of tiny." in said
    assert 'write [prices."openai:tiny"]' in said
    toml.write_text('[prices."openai:other"]\ninput = 1\noutput = 1\n')
    assert "no price of" not in in_folder(*call).stderr
    toml.write_text('[prices."openai:tiny"]\ninput = 1\noutput = 1\n[prices.tiny]\ninput = 1\noutput = 1\n')
    assert "no price of" not in in_folder(*call).stderr


@pytest.mark.parametrize(("paid", "shown"), [(0.7138, False), (0.74, True)])
def test_what_was_spent_is_shown_where_it_reads_otherwise_than_the_cost(
    capsys, paid: float, shown: bool
) -> None:
    spec = RunSpec(
        id="r", task="t", path="", model="m", model_spec="openai:m", provenance={"spent": {"model": paid}}
    )
    print_runs([Run(spec=spec, status="complete", started=0.0, n=2, calls=2, cost=0.7098, judge_cost=0.0)])
    said = capsys.readouterr().out
    assert "$0.71" in said
    assert ("spent in all" in said) == shown

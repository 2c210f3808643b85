"""Metrics from the command line: read without being evaluated, scored in workers, kept by a rescore."""

import pytest

from evalkit.collection.with_metrics import parse_metric
from evalkit.errors import UsageError


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("length", "length"),
        ("recall(5)", "recall@5"),
        ("rouge('rouge2', stem=False, stat='recall')", "rouge2[stem=False,stat=recall]"),
        ('macro_f1(["yes", "no", "maybe"])', "macro_f1[yes|no|maybe]"),
    ],
)
def test_calls_as_a_task_file_writes_them(text, name):
    assert parse_metric(text).name == name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("roug", "Did you mean 'rouge'"),
        ("rouge('rouge2', steam=1)", "unexpected keyword argument 'steam'"),
        ("rouge('rouge9')", "'rouge9' is not one of"),
        ("recall", "missing 1 required positional argument: 'k'"),
        ("rouge(open('x'))", "write it as in a task file"),
        ("__import__('os').system('true')", "no metric ''"),
        ("only", "no metric 'only'"),
        ("rouge(", "write it as in a task file"),
    ],
)
def test_what_is_none_says_so(text, message):
    with pytest.raises(UsageError, match=r"--metric|rouge:") as caught:
        parse_metric(text)
    assert message in str(caught.value)


TASK = """
from evalkit import Answer, Sample, task
from evalkit.metrics import exact_match
@task([Sample(str(i), "q", f"zinc helps {i}") for i in range(70)], metrics=[exact_match()])
async def zinc(sample, model):
    return Answer(await model.generate(sample.input))
"""


def test_a_run_and_a_rescore_take_more_metrics(evalkit):
    (evalkit.folder / "task_zinc.py").write_text(TASK)
    gold = ("run", "task_zinc.py", "--model", "baseline:gold")
    (run,) = evalkit.json(*gold, "--metric", "rouge('rougeSU4')", "--metric", "exact_match")["runs"]
    assert {name: m["value"] for name, m in run["metrics"].items()} == {"exact_match": 1.0, "rougeSU4": 1.0}
    (run,) = evalkit.json("rescore", run["id"], "--metric", "length")["runs"]
    assert set(run["metrics"]) == {"exact_match", "rougeSU4", "length"}
    (run,) = evalkit.json("rescore", run["id"])["runs"]
    assert (run["metrics"]["length"]["value"], run["status"]) == (3.0, "complete")
    done = evalkit(*gold, "--metric", "roug", code=2)
    assert "Did you mean 'rouge'?" in done.stderr


def test_missing_weights_stop_a_run_before_its_first_sample(evalkit):
    (evalkit.folder / "task_zinc.py").write_text(TASK)
    weighs = "bertscore('/no/such/folder', layer=2)"
    for command in (("run", "task_zinc.py", "--model", "baseline:gold"), ("rescore", "latest")):
        done = evalkit(*command, "--metric", weighs, code=None)
        assert done.returncode != 0
        assert "the weights of /no/such/folder could not be loaded: the folder does not exist" in done.stderr
        assert evalkit.json("show")["runs"] == [] or command[0] == "rescore"
        evalkit("run", "task_zinc.py", "--model", "baseline:gold")
    (run, *_) = evalkit.json("show")["runs"]
    assert (run["status"], run["metrics"]["exact_match"]["value"]) == ("complete", 1.0)

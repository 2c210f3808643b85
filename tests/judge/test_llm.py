"""The judge that is a language model: what it is asked, how its word is read, and through the command."""

import re

import pytest

from evalkit.errors import JudgeError
from evalkit.judge.llm import LlmJudge
from evalkit.model import Model
from evalkit.models.fake import FakeBackend
from evalkit.models.middleware.call_stats import CallStats, current
from evalkit.run.call_facts import reply_notes
from evalkit.store.records import Run, RunSpec
from evalkit.types import Passage, Response, Sample

SAMPLE = Sample("s", "q")
SHOWN = (Passage("a", "Zinc {x} shortens\ncolds.", title="Trial A"), Passage("b", "Zinc is safe."))


def judge_of(reply):
    backend = FakeBackend(reply if callable(reply) else lambda request: reply)
    return LlmJudge(Model(backend), "fake"), backend


async def test_the_question_holds_passages_and_sentence_and_no_more_than_they_say():
    judge, backend = judge_of("SUPPORTED")
    assert await judge.relation(SHOWN, "Zinc {shortens} colds.", SAMPLE) == "entails"
    (request,) = backend.requests
    text = request.messages[0].content
    assert "[1] Trial A. Zinc {x} shortens colds.\n[2] Zinc is safe.\n" in text
    assert "\nZinc {shortens} colds.\n" in text
    assert request.temperature == 0.0


@pytest.mark.parametrize(
    ("reply", "relation"),
    [
        ("SUPPORTED", "entails"),
        ("**CONTRADICTED**.", "contradicts"),
        ("The passages are silent on that: NEITHER", "neutral"),
        ("Answer: SUPPORTED. Yes, SUPPORTED.", "entails"),
    ],
)
async def test_words_that_can_be_read(reply, relation):
    assert await judge_of(reply)[0].relation(SHOWN, "…", SAMPLE) == relation


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "yes",
        "supported",
        "UNSUPPORTED",
        "Either SUPPORTED or CONTRADICTED.",
        Response(text="SUPPORTED", finish_reason="length"),
        Response(text="", finish_reason="refusal"),
    ],
)
async def test_words_that_cannot_are_errors(reply):
    with pytest.raises(JudgeError, match=r"llm:fake (answered|did not finish)"):
        await judge_of(reply)[0].relation(SHOWN, "…", SAMPLE)


async def test_another_models_verdicts_are_counted_apart_from_the_runs_replies():
    stats = CallStats()
    token = current.set(stats)
    judge, _ = judge_of(lambda request: Response(text="SUPPORTED", notes=("another model answered: x",)))
    await judge.relation(SHOWN, "…", SAMPLE)
    current.reset(token)
    named = {"id": "r", "task": "t", "path": "t.py", "model": "m", "model_spec": "m", "n_expected": 1}
    run = Run(spec=RunSpec(**named, provenance={"notes": dict(stats.notes)}), status="complete", started=0.0)
    assert list(reply_notes(run)) == ["1 reply of the judge: another model answered: x"]


async def test_claims_as_lines():
    judge, _ = judge_of("Here are the claims:\n- Zinc shortens colds.\n2. Zinc is safe.\n\n")
    assert await judge.claims("…", SAMPLE) == ["Zinc shortens colds.", "Zinc is safe."]
    assert await judge_of("NONE")[0].claims("…", SAMPLE) == []
    for reply in ("", "Zinc works.", "- Zinc works.\nAnd so on."):
        with pytest.raises(JudgeError, match="instead of a list of claims"):
            await judge_of(reply)[0].claims("…", SAMPLE)


TASK = """
from evalkit import Answer, Passage, Sample, task
from evalkit.metrics import alce, biogen, exact_match
SHOWN = (Passage("a", "Zinc shortens colds."), Passage("b", "Zinc is safe."))
@task([Sample(str(i), "Zinc?", f"Zinc shortens colds by {i} days [1]. Zinc is safe [2].") for i in range(3)],
      metrics=[alce(), biogen("support"), exact_match(strip_citations=False)])
async def zinc(sample, model, review):
    return await review(sample, Answer(await model.generate(sample.input), passages=SHOWN))
"""


def say(question):
    return "SUPPORTED" if "\nZinc is safe.\n" in question else "NEITHER"


def test_a_run_with_a_judge_is_scored_again_without_it(evalkit, scripted):
    (evalkit.folder / "task_zinc.py").write_text(TASK)
    (plain,) = evalkit.json("run", "task_zinc.py", "--model", "baseline:gold")["runs"]
    assert set(plain["metrics"]) == {"exact_match[strip_citations=False]"}
    scripted.reply = say
    command = (
        "run",
        "task_zinc.py",
        "--model",
        "baseline:gold",
        "-p",
        f"judge=llm:openai:tiny@{scripted.url}",
    )
    (run,) = evalkit.json(*command)["runs"]
    assert run["status"] == "complete"
    assert (run["metrics"]["alce_recall"]["value"], run["metrics"]["biogen_support"]["value"]) == (0.5, 0.5)
    assert sum(scripted.asked.values()) == 4, "three sentences, and one that all samples share"
    assert run["judged"]["asked"] == 6, "two questions a sample; those that are the same share a reply"
    assert run["judged"]["prompt_tokens"] > 0
    (again,) = evalkit.json("rescore", run["id"])["runs"]
    assert again["metrics"]["alce_recall"]["value"] == 0.5
    (again,) = evalkit.json(*command)["runs"]
    assert sum(scripted.asked.values()) == 4 + 4, "verdicts come from the cache, after all four were compared"
    assert (again["judged"]["asked"], again["judged"]["from_cache"]) == (6, 6)
    shown = evalkit("show", again["id"]).stdout
    assert re.search(r"judge asked \(cached\) +6 \(6\)", shown)


def test_a_judge_that_cannot_be_reached_leaves_samples_to_resume(evalkit, scripted):
    (evalkit.folder / "task_zinc.py").write_text(TASK)
    scripted.reply, scripted.fault = say, lambda n: (400, {}, "no") if n == 2 else None
    judge = f"judge=llm:openai:tiny@{scripted.url}"
    (run,) = evalkit.json("run", "task_zinc.py", "--model", "baseline:gold", "-p", judge, code=None)["runs"]
    assert (run["status"], run["counts"]["error"] >= 1) == ("incomplete", True)
    (run,) = evalkit.json("resume", run["id"])["runs"]
    assert (run["status"], run["metrics"]["alce_recall"]["value"]) == ("complete", 0.5)


def test_a_judge_that_babbles_leaves_its_metrics_without_a_score(evalkit, scripted):
    (evalkit.folder / "task_zinc.py").write_text(TASK)
    scripted.reply = lambda question: "Well, it depends."
    judge = f"judge=llm:openai:tiny@{scripted.url}"
    (run,) = evalkit.json("run", "task_zinc.py", "--model", "baseline:gold", "-p", judge, code=None)["runs"]
    assert run["status"] == "incomplete"
    assert "alce_recall" not in run["metrics"]
    assert run["metrics"]["exact_match[strip_citations=False]"]["value"] == 1.0
    assert run["judged"]["unread"] > 0
    assert set(run["unscored"]) == {"alce_recall", "biogen_support"}
    assert run["unscored"]["alce_recall"]["n"] == 3
    shown = evalkit("show", run["id"])
    assert "No score on 3 of 3 samples: alce_recall, biogen_support. One of them: MetricError" in shown.stderr
    assert "answered 'Well, it depends.' instead of one of SUPPORTED" in shown.stderr
    assert "Go on with" not in shown.stderr, "every sample ended: resume has nothing to ask"


def test_a_real_server_holds_a_babbling_model_to_verdicts(evalkit, llama_server):
    (evalkit.folder / "task_zinc.py").write_text(TASK)
    found = {}
    for kind in ("llm", "llm-json"):
        judge = f"judge={kind}:openai:tiny@{llama_server}?max_tokens=64"
        arguments = ("run", "task_zinc.py", "--model", "baseline:gold", "-p", judge)
        (found[kind],) = evalkit.json(*arguments, code=None)["runs"]
    free, bound = found["llm"], found["llm-json"]
    assert (free["status"], free["unscored"]["alce_recall"]["n"]) == ("incomplete", 3)
    assert (bound["status"], bound["judged"]["asked"]) == ("complete", 6)
    assert "unread" not in bound["judged"]
    assert 0 <= bound["metrics"]["alce_recall"]["value"] <= 1


@pytest.mark.parametrize(
    ("judge", "message"),
    [
        ("gpt", "give nli:MODEL, llm:SPEC or llm-json:SPEC"),
        ("nil:some-model", "Did you mean 'nli'?"),
        ("llm:openai:tiny@http://127.0.0.1:9", "127.0.0.1:9"),
        ("nli:/no/such/folder", "hf download"),
    ],
)
def test_a_judge_that_is_not_there_stops_the_run_before_its_first_sample(evalkit, judge, message):
    (evalkit.folder / "task_zinc.py").write_text(TASK)
    done = evalkit("run", "task_zinc.py", "--model", "baseline:gold", "-p", f"judge={judge}", code=None)
    assert done.returncode != 0
    assert message in done.stderr + done.stdout

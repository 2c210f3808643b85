"""What two runs differ in besides the model: each kind of difference, and what is none."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from evalkit.store.conditions import asked, differences, for_metric, key, listed
from evalkit.store.records import MetricInfo, ParameterInfo, Reproduction, Run, RunSpec, SampleRecord
from evalkit.types import Answer, Sample, Status

SAMPLE = Sample("s0", "Is zinc a metal?", "yes")


def requests(text: str, **settings: Any) -> tuple[dict[str, Any], ...]:
    given = {"max_tokens": 20, "temperature": 0.0, "top_p": 1.0, "repeat": 0, **settings}
    return ({"messages": [{"role": "user", "content": text}], **given},)


def run(prompt: str = "Is zinc a metal?", **changes: Any) -> Run:
    """A complete run whose provenance, spec or first request is changed."""
    facts: dict[str, Any] = {"task_version": "1", "code_sha256": "aa", "generation_defaults": {}}
    record = SampleRecord(
        sequence=0,
        sample=SAMPLE,
        status=Status.OK,
        answer=Answer(text="yes", metadata=changes.pop("metadata", {})),
        requests=requests(prompt, **changes.pop("settings", {})),
    )
    facts |= {"asked": asked(record), **changes.pop("provenance", {})}
    spec = RunSpec(
        id=changes.pop("id", "r"),
        task=changes.pop("task", "t[k=5]"),
        path=changes.pop("path", "task_t.py"),
        model=changes.pop("model", "m"),
        model_spec="m",
        metrics=changes.pop("metrics", (MetricInfo("f1"), MetricInfo("acc"))),
        params=changes.pop("params", {"k": 5}),
        reproduction=changes.pop("reproduction", Reproduction()),
        repeats=changes.pop("repeats", 1),
        dataset=changes.pop("dataset", "d"),
        provenance=facts,
    )
    return Run(spec=spec, status="complete", started=1.0, n=changes.pop("n", 54))


BASE = run()


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (run(prompt="Think. Is zinc a metal?"), "the prompt"),
        (run(settings={"max_tokens": 256}), "max_tokens (20 and 256)"),
        (run(settings={"extra": {"min_p": 0.1}}), "extra.min_p (none and 0.1)"),
        (run(provenance={"code_sha256": "bb"}), "the task code"),
        (run(provenance={"task_version": "2"}), "the task's version (1 and 2)"),
        (run(params={"k": 10}), "k (5 and 10)"),
        (run(dataset="limited", n=20), "the samples (54 and 20)"),
        (run(dataset="edited"), "the samples (54 each, not the same)"),
        (run(task="u"), "the task (t and u)"),
        (run(metrics=(MetricInfo("f1", version=2), MetricInfo("acc"))), "f1's rule (version 1 and 2)"),
        (run(provenance={"mixed": ["the task code"]}), "what run r mixes (the task code)"),
    ],
)
def test_what_differs_is_named(other: Run, said: str) -> None:
    assert listed(differences(BASE, other)) == said


@pytest.mark.parametrize(
    "other",
    [
        run(model="another", path="/elsewhere/task_t.py", id="s"),
        run(provenance={"task_sha256": "a comment was changed", "packages": {"evalkit": "9"}}),
        run(settings={"temperature": 0.7}, provenance={"generation_defaults": {"temperature": 0.7}}),
        run(settings={"extra": {"min_p": 1}}, provenance={"generation_defaults": {"extra": {"min_p": 1}}}),
        run(metrics=(MetricInfo("f1"), MetricInfo("acc"), MetricInfo("added"))),
    ],
)
def test_what_belongs_to_the_model_or_changes_no_score_is_no_difference(other: Run) -> None:
    assert differences(BASE, other) == []


def test_a_metrics_rule_concerns_that_metric_alone() -> None:
    other = run(metrics=(MetricInfo("f1", version=2), MetricInfo("acc", code="edited")))
    found = differences(run(metrics=(MetricInfo("f1"), MetricInfo("acc", code="first"))), other)
    assert [one.text for one in for_metric(found, "acc")] == ["acc's code"]
    assert [one.metric for one in for_metric(found, "f1")] == ["f1"]


def test_indexes_and_judges_count_by_their_content_and_not_by_their_place() -> None:
    index = {
        "kind": "bm25",
        "corpus": {"path": "/a", "fingerprint": "f1", "stamp": "1"},
        "versions": {"x": "1"},
    }
    moved = {
        "kind": "bm25",
        "corpus": {"path": "/b", "fingerprint": "f1", "stamp": "2"},
        "versions": {"x": "2"},
    }
    other = {**index, "corpus": {**index["corpus"], "fingerprint": "f2"}}  # type: ignore[dict-item]
    made = [run(provenance={"fixture retriever": facts}) for facts in (index, moved, other)]
    assert differences(made[0], made[1]) == []
    assert listed(differences(made[0], made[2])) == "the retriever (corpus)"
    judged = [run(provenance={"fixture review": {"judge": name}}) for name in ("llm:a", "llm:b")]
    assert listed(differences(*judged)) == "the review (judge)"
    assert differences(made[0], judged[0]) == []  # an arm without retrieval has no index


def test_shots_and_configurations_of_lm_eval_count() -> None:
    suite = {
        "n-shot": {"mmlu": 5},
        "configs": {"mmlu": {"doc_to_text": "x", "metadata": {"pretrained": "a"}}},
    }
    shots = {**suite, "n-shot": {"mmlu": 0}}
    prompt = {**suite, "configs": {"mmlu": {"doc_to_text": "y", "metadata": {"pretrained": "b"}}}}
    model = {**suite, "configs": {"mmlu": {"doc_to_text": "x", "metadata": {"pretrained": "b"}}}}
    first, *others = (run(provenance={"lm_eval": facts}) for facts in (suite, shots, prompt, model))
    assert [listed(differences(first, other)) for other in others] == [
        "the number of shots of lm-eval's task",
        "the configuration of lm-eval's task",
        "",
    ]


def test_a_parameter_that_a_run_lacks_has_its_recorded_default_and_a_path_is_a_place() -> None:
    defaults = Reproduction(parameters={"k": ParameterInfo(5), "hint": ParameterInfo("")})
    older = run(params={"k": 5}, reproduction=defaults)
    assert differences(older, run(params={"k": 5, "hint": ""}, reproduction=defaults)) == []
    assert listed(differences(older, run(params={"k": 5, "hint": "x"}))) == "hint ( and x)"
    places = [run(reproduction=Reproduction(params={"data": place})) for place in ("/a/data", "/b/data")]
    assert differences(*places) == []


def test_swept_parameters_and_the_prompts_that_follow_from_them_are_no_difference() -> None:
    other = run(prompt="another arm's prompt", params={"k": 10})
    assert differences(BASE, other, swept=["k"]) == []
    edited = run(prompt="another arm's prompt", params={"k": 10}, provenance={"code_sha256": "bb"})
    assert listed(differences(BASE, edited, swept=["k"])) == "the task code"


def test_older_runs_are_compared_by_what_they_recorded() -> None:
    def old(**facts: Any) -> Run:
        return replace(BASE, spec=replace(BASE.spec, provenance={"generation_defaults": {}, **facts}))

    assert differences(old(task_sha256="a"), BASE) == []
    assert listed(differences(old(task_sha256="a"), old(task_sha256="b"))) == "the task file"
    unlike = differences(old(prompt_sha256="a"), old(prompt_sha256="b"))
    assert listed(unlike) == "the prompt, or its settings"


def test_requests_that_run_side_by_side_are_the_same_in_any_order() -> None:
    def circular(*texts: str) -> Run:
        every = tuple(request for text in texts for request in requests(text))
        record = SampleRecord(sequence=0, sample=SAMPLE, status=Status.OK, requests=every)
        return run(provenance={"asked": asked(record)})

    assert differences(circular("A or B?", "B or A?"), circular("B or A?", "A or B?")) == []
    assert listed(differences(circular("A or B?"), circular("C or D?"))) == "the prompt"


def test_another_extractor_is_a_difference() -> None:
    read = [run(metadata={"extractor": name}) for name in ("letter.v1", "letter.v2")]
    assert listed(differences(*read)) == "the extractor of the answer (letter.v1 and letter.v2)"


def test_what_a_model_says_in_a_conversation_is_no_other_prompt() -> None:
    """Only the beginning is the task's. Tools are: another description is another task for the model."""

    def talk(reply: str, description: str = "Search.", question: str = "Does zinc help?") -> Run:
        tools = [{"name": "search", "description": description, "parameters": {}}]
        first = [{"role": "user", "content": question}]
        second = [*first, {"role": "assistant", "content": reply}, {"role": "tool", "content": f"on {reply}"}]
        every = tuple({"messages": messages, "tools": tools} for messages in (first, second))
        record = SampleRecord(sequence=0, sample=SAMPLE, status=Status.OK, requests=every)
        return run(provenance={"asked": asked(record)})

    assert differences(talk("zinc"), talk("colds")) == []
    assert key(talk("zinc"), "f1") == key(talk("colds"), "f1")
    assert listed(differences(talk("zinc"), talk("zinc", question="Does iron help?"))) == "the prompt"
    assert listed(differences(talk("zinc"), talk("zinc", description="Find."))) == "the tools"


def test_other_repeats_of_the_same_samples_are_named_as_what_they_are() -> None:
    (difference,) = differences(run(repeats=1, n=1), run(repeats=5, n=5))
    assert (difference.kind, difference.text) == ("repeats", "the repeats (1 and 5)")
    assert difference.of_samples

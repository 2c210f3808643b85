"""What a spec says about reasoning: read, named, part of the identity, refused where it is wrong."""

import pytest

from evalkit.errors import UsageError
from evalkit.models import load, parse_spec
from evalkit.models.reasoning import EFFORTS, MOST_ALLOWANCE, Reasoning


def test_what_a_spec_says_is_in_the_name_and_in_the_identity():
    spec = parse_spec("openai:o4-mini?effort=low&reasoning_tokens=16000")
    assert spec.display == "openai:o4-mini?effort=low&reasoning_tokens=16000"
    assert spec.reasoning == Reasoning("low", 16000)
    assert spec.reasoning.identity == {"effort": "low", "reasoning_tokens": 16000}
    assert parse_spec("openai:o4-mini?effort=low&label=mine").display == "mine"


def test_marks_are_in_the_name_and_not_in_the_identity():
    """They change how a reply is read: what was asked once is not paid for again."""
    spec = parse_spec("openai:m?reasoning_marks=%3Cplan%3E,%3C/plan%3E")
    assert spec.reasoning.marks == ("<plan>", "</plan>")
    assert (spec.display, spec.reasoning.identity) == ("openai:m?reasoning_marks=<plan>,</plan>", {})


def test_a_configuration_file_says_the_same():
    params = {"effort": "high", "reasoning_tokens": 500, "reasoning_marks": ["{{", "}}"]}
    config = {"models": {"m": {"provider": "openai", "name": "m", "url": "http://h:1", "params": params}}}
    assert parse_spec("m", config=config).reasoning == Reasoning("high", 500, ("{{", "}}"))


def test_a_spec_that_says_nothing_has_its_old_name():
    assert parse_spec("openai:gpt-4o-mini").display == "openai:gpt-4o-mini"


@pytest.mark.parametrize("effort", EFFORTS)
def test_every_effort(effort):
    assert parse_spec(f"openai:m?effort={effort}").reasoning.effort == effort


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("effort=hard", ["effort=hard", "none, minimal, low, medium, high"]),
        ("effort=", ["effort=", "none, minimal, low, medium, high"]),
        ("reasoning_tokens=0", ["reasoning_tokens=0", "from 1 to 1,000,000", "effort=none"]),
        ("reasoning_tokens=-5", ["reasoning_tokens=-5", "whole number"]),
        ("reasoning_tokens=1e4", ["reasoning_tokens=1e4", "such as 16000"]),
        ("reasoning_tokens=2000000", ["from 1 to 1,000,000"]),
        ("reasoning_marks=<plan>", ["reasoning_marks=<plan>", "a comma between them"]),
        ("reasoning_marks=a,b,c", ["reasoning_marks=a,b,c", "two different marks"]),
        ("reasoning_marks=%%,%%", ["two different marks"]),
        (
            "effort=none&reasoning_tokens=500",
            ["effort=none", "=500", "Leave one of them out"],
        ),
    ],
)
def test_bad_values_have_messages_of_their_own(text, words):
    with pytest.raises(UsageError) as caught:
        parse_spec(f"openai:m?{text}")
    assert all(word in str(caught.value) for word in words)


def test_a_model_that_cannot_be_told_refuses():
    with pytest.raises(UsageError, match=r"baseline:lead.*takes no server settings \(effort\)"):
        load("baseline:lead?effort=low")


@pytest.mark.parametrize(
    ("reasoning", "context", "tokens"),
    [
        (Reasoning(), None, MOST_ALLOWANCE),
        (Reasoning(), 131_072, MOST_ALLOWANCE),
        (Reasoning(), 8192, 4096),
        (Reasoning(tokens=500), 8192, 500),
        (Reasoning("none"), 8192, 0),
    ],
)
def test_allowance(reasoning, context, tokens):
    assert reasoning.allowance(context) == tokens

"""``evalkit show RUN --sample ID``: what one sample was asked, and what was shown with it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from evalkit.cli.samples import print_sample
from evalkit.store.records import Cut, SampleRecord, Tokens
from evalkit.types import Answer, Response, Sample, Status


def record(*requests: dict) -> SampleRecord:
    return SampleRecord(
        sequence=0, sample=Sample("a", "?"), status=Status.OK, answer=Answer(text="yes"), requests=requests
    )


def test_each_picture_is_listed_as_it_was_sent(capsys: pytest.CaptureFixture) -> None:
    frame = {"type": "image", "media_type": "image/png", "made": "frame 31 at 3.000 s of a film of 4.000 s"}
    scan = {"type": "image", "media_type": "image/jpeg"}
    asked = {"messages": [{"role": "system", "content": "Look."}, {"role": "user", "content": [frame, scan]}]}
    print_sample(record({"prompt": "p"}, asked))
    said = capsys.readouterr().out
    assert "pictures sent\n  frame 31 at 3.000 s of a film of 4.000 s\n  image/jpeg, as it is\n" in said
    print_sample(record({"prompt": "p"}))
    assert "pictures" not in capsys.readouterr().out


def test_a_conversation_is_printed_turn_by_turn(capsys: pytest.CaptureFixture, talked: SampleRecord) -> None:
    print_sample(talked)
    assert (
        "conversation, ended by: answer\n"
        "  user: 1+1?\n"
        "  assistant thinks: I need a sum.\n"
        '  assistant: → add {"a":1,"b":1}\n'
        "    → nothing {}\n"
        "  tool add: 2\n"
        "  tool nothing (unknown): error: there is no tool 'nothing'. Tools: add\n"
        "  assistant: It is 2.\n"
    ) in capsys.readouterr().out


def test_what_the_model_thought_is_printed_with_its_tokens(capsys: pytest.CaptureFixture) -> None:
    answer = Answer(Response(text="Paris", reasoning="The capital?\nIt is Paris.\n\n"))
    tokens = Tokens(prompt=9, completion=1_200, reasoning=1_199)
    print_sample(replace(record({"prompt": "p"}), answer=answer, tokens=tokens, calls=1))
    said = capsys.readouterr().out
    assert "reasoning\n  The capital?\n  It is Paris.\n\nanswer\n  Paris\n" in said
    assert "tokens\n  9 in, 1,200 out, 1,199 of them reasoning; 1 call\n" in said
    print_sample(replace(record({"prompt": "p"}), tokens=Tokens(prompt=9, completion=2), calls=2))
    said = capsys.readouterr().out
    assert "tokens\n  9 in, 2 out; 2 calls\n" in said
    assert "reasoning" not in said


@pytest.mark.parametrize(
    ("cut", "said"),
    [
        ("reasoning", "No answer: the reply was cut off inside its reasoning."),
        ("answer", "No answer: the reply was cut off."),
        ("", "The reply is empty."),
    ],
)
def test_an_empty_reply_is_said_to_be_one(capsys: pytest.CaptureFixture, cut: Cut, said: str) -> None:
    print_sample(replace(record({"prompt": "p"}), answer=Answer(Response(text="")), cut=cut))
    assert f"answer\n  {said}\n" in capsys.readouterr().out


def test_the_other_repeats_of_a_sample_are_named(evalkit: Any, tmp_path: Path) -> None:
    (tmp_path / "task_two.py").write_text(
        "from evalkit import Answer, Sample, task\n"
        "from evalkit.metrics import exact_match\n"
        "@task([Sample('a', 'A?', 'x'), Sample('b', 'B?', 'y')], metrics=[exact_match()])\n"
        "async def two(sample, model):\n"
        "    return Answer(await model.generate(sample.input))\n"
    )
    report = evalkit("run", "task_two.py", "--model", "baseline:gold", "--repeat", "3").stdout
    assert re.search(r"samples +2 × 3 ", report)
    said = evalkit("show", "latest", "--sample", "b").stdout
    assert said.startswith("two, baseline:gold, run ")
    assert "b (#3, repeat 0), ok\n  All 3 repeats: --sample '#3' to '#5'\n" in said
    assert "b (#5, repeat 2), ok" in evalkit("show", "latest", "--sample", "#5").stdout
    assert evalkit("show", "latest", "--samples").stdout.startswith("two, baseline:gold, run ")
    evalkit("run", "task_two.py", "--model", "baseline:gold")
    assert "b (#1), ok\n\n" in evalkit("show", "latest", "--sample", "b").stdout

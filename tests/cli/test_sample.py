"""``evalkit show RUN --sample ID``: what one sample was asked, and what was shown with it."""

from __future__ import annotations

import pytest

from evalkit.cli.samples import print_sample
from evalkit.store.records import SampleRecord
from evalkit.types import Answer, Sample, Status


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
        '  assistant: → add {"a":1,"b":1}\n'
        "    → nothing {}\n"
        "  tool add: 2\n"
        "  tool nothing (unknown): error: there is no tool 'nothing'. Tools: add\n"
        "  assistant: It is 2.\n"
    ) in capsys.readouterr().out

"""Progress where there is no terminal: few lines, and never the same one twice."""

from __future__ import annotations

import io

from evalkit.util.progress import Lines


def test_a_log_gets_a_line_at_the_end_and_no_line_twice() -> None:
    stream = io.StringIO()
    with Lines(stream, every_s=3600).bar("Reading", 3) as bar:
        for _ in range(3):
            bar.advance()
    assert [line.split(" in ")[0] for line in stream.getvalue().splitlines()] == ["Reading: 3/3"]


def test_a_line_every_so_often_with_what_is_worth_noting() -> None:
    stream = io.StringIO()
    with Lines(stream, every_s=0.0, clock=lambda: 0.0).bar("Asking", None) as bar:
        bar.advance(5)
        bar.note("2 errors")
        bar.advance(5)
    lines = stream.getvalue().splitlines()
    assert lines == ["Asking: 5 in 0 s", "Asking: 5 in 0 s · 2 errors", "Asking: 10 in 0 s · 2 errors"]

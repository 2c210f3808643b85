"""Progress: bars on a terminal, a line every ten seconds elsewhere, or nothing."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from evalkit.types import Bar, Progress


class _SilentBar:
    def advance(self, n: int = 1) -> None: ...

    def note(self, text: str) -> None: ...


class Silent:
    """No output at all."""

    @contextmanager
    def bar(self, label: str, total: int | None) -> Iterator[Bar]:
        yield _SilentBar()


class _LineBar:
    def __init__(self, stream: IO[str], label: str, total: int | None, every_s: float) -> None:
        self._stream, self._label, self._total, self._every = stream, label, total, every_s
        self._done, self._note, self._lock = 0, "", threading.Lock()
        self._said = -1
        self._start = self._last = time.monotonic()

    def advance(self, n: int = 1) -> None:
        with self._lock:
            self._done += n
            now = time.monotonic()
            if now - self._last < self._every:
                return
            self._last = now
        self.line()

    def note(self, text: str) -> None:
        self._note = text

    def line(self) -> None:
        """Say how far it is, unless that was the last thing said."""
        if self._said == self._done:
            return
        self._said = self._done
        of = f"/{self._total}" if self._total is not None else ""
        seconds = time.monotonic() - self._start
        note = f"  {self._note}" if self._note else ""
        print(f"{self._label}: {self._done}{of} in {seconds:.0f} s{note}", file=self._stream, flush=True)


class Lines:
    """One line every ``every_s`` seconds and one at the end, for logs."""

    def __init__(self, stream: IO[str] | None = None, every_s: float = 10.0) -> None:
        self._stream, self._every = stream or sys.stderr, every_s

    @contextmanager
    def bar(self, label: str, total: int | None) -> Iterator[Bar]:
        bar = _LineBar(self._stream, label, total, self._every)
        try:
            yield bar
        finally:
            bar.line()


class _RichBar:
    def __init__(self, progress: Any, task: Any) -> None:
        self._progress, self._task = progress, task

    def advance(self, n: int = 1) -> None:
        self._progress.advance(self._task, n)

    def note(self, text: str) -> None:
        self._progress.update(self._task, note=text)


class Rich:
    """Bars on a terminal, four refreshes a second. Several bars at once share one display."""

    def __init__(self) -> None:
        self._progress: Any = None
        self._open = 0
        self._lock = threading.Lock()

    @contextmanager
    def bar(self, label: str, total: int | None) -> Iterator[Bar]:
        from rich.markup import escape

        with self._lock:
            if self._progress is None:
                self._progress = self._display()
                self._progress.start()
            self._open += 1
        task = self._progress.add_task(escape(label), total=total, note="")
        try:
            yield _RichBar(self._progress, task)
        finally:
            with self._lock:
                self._open -= 1
                if self._open == 0:
                    self._progress.stop()
                    self._progress = None

    @staticmethod
    def _display() -> Any:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as RichProgress

        return RichProgress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=Console(stderr=True),
            refresh_per_second=4,
        )


def for_stream(stream: IO[str] | None = None, quiet: bool = False) -> Progress:
    """The right one for where stderr goes."""
    if quiet:
        return Silent()
    stream = stream or sys.stderr
    return Rich() if stream.isatty() else Lines(stream)

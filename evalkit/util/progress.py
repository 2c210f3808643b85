"""Progress: bars on a terminal, a line every ten seconds elsewhere, or nothing."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any

from evalkit.types import Bar, Progress
from evalkit.util.printable import one_line

RECENT_S = 30.0  # the remaining time is estimated from the rate of these last seconds


class _SilentBar:
    def advance(self, n: int = 1) -> None: ...

    def note(self, text: str) -> None: ...


class Silent:
    """Progress without any output."""

    @contextmanager
    def bar(self, label: str, total: int | None) -> Iterator[Bar]:
        yield _SilentBar()


class _LineBar:
    def __init__(
        self, stream: IO[str], label: str, total: int | None, every_s: float, clock: Callable[[], float]
    ) -> None:
        self._stream, self._label, self._total, self._every = stream, label, total, every_s
        self._clock, self._lock = clock, threading.Lock()
        self._done, self._note = 0, ""
        self._printed = -1
        self._marks: deque[tuple[float, int]] = deque()  # time and count, about once per second
        self._start = self._last = clock()

    def advance(self, n: int = 1) -> None:
        self._print_if_due(n)

    def note(self, text: str) -> None:
        self._note = text.replace("\n", " · ")
        self._print_if_due()

    def _print_if_due(self, n: int = 0) -> None:
        with self._lock:
            self._done += n
            now = self._clock()
            if not self._marks or now - self._marks[-1][0] >= 1:
                self._marks.append((now, self._done))
            while self._marks[0][0] < now - RECENT_S:
                self._marks.popleft()
            if now - self._last < self._every:
                return
            self._last = now
            self.line()

    def end(self) -> None:
        """Print the final count, unless the last line showed it."""
        if self._printed != self._done:
            self.line()

    def line(self) -> None:
        """Print the present state."""
        self._printed = self._done
        of = f"/{self._total}" if self._total is not None else ""
        elapsed = _duration(self._clock() - self._start)
        parts = [f"{self._label}: {self._done}{of} in {elapsed}", self._remaining(), self._note]
        print(one_line(" · ".join(filter(None, parts))), file=self._stream, flush=True)

    def _remaining(self) -> str:
        """Return the remaining time at the recent rate; empty where nothing advanced."""
        since, done = self._marks[0] if self._marks else (self._start, 0)
        if self._total is None or self._done >= self._total or self._done <= done:
            return ""
        seconds = (self._total - self._done) * (self._clock() - since) / (self._done - done)
        return f"{_duration(seconds)} left"


def _duration(seconds: float) -> str:
    """Return a duration as ``42 s``, ``3:05`` or ``1:02:03``."""
    if round(seconds) < 60:
        return f"{seconds:.0f} s"
    minutes, second = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{second:02}" if hours else f"{minutes}:{second:02}"


class Lines:
    """Progress for logs: one line every ``every_s`` seconds and one at the end."""

    def __init__(
        self,
        stream: IO[str] | None = None,
        every_s: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream, self._every, self._clock = stream or sys.stderr, every_s, clock

    @contextmanager
    def bar(self, label: str, total: int | None) -> Iterator[Bar]:
        bar = _LineBar(self._stream, label, total, self._every, self._clock)
        try:
            yield bar
        finally:
            bar.end()


class _RichBar:
    def __init__(self, progress: Any, task: Any) -> None:
        self._progress, self._task = progress, task

    def advance(self, n: int = 1) -> None:
        self._progress.advance(self._task, n)

    def note(self, text: str) -> None:
        self._progress.update(self._task, note=text)


class Rich:
    """Progress bars on a terminal, refreshed four times per second.

    Several bars at once share one display; their notes stand below the bars.
    """

    def __init__(self, console: Any = None) -> None:
        self._console = console
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

    def _display(self) -> Any:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress
        from rich.table import Column
        from rich.text import Text

        from evalkit.util.terminal import Console

        class Display(RichProgress):
            def get_renderables(self) -> Iterator[Any]:
                yield self.make_tasks_table(self.tasks)
                for task in self.tasks:
                    for line in filter(None, task.fields["note"].split("\n")):
                        yield Text(f"  {line}", style="dim", no_wrap=True, overflow="ellipsis")

        label = Column(ratio=1, no_wrap=True, overflow="ellipsis")
        return Display(
            TextColumn("{task.description}", table_column=label),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            console=self._console or Console(stderr=True),
            refresh_per_second=4,
            expand=True,
        )


def for_stream(stream: IO[str] | None = None, quiet: bool = False) -> Progress:
    """Return the progress display for a stream, by default stderr: bars, lines, or none if ``quiet``."""
    if quiet:
        return Silent()
    stream = stream or sys.stderr
    return Rich() if stream.isatty() else Lines(stream)

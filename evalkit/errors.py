"""Everything that evalkit raises on purpose. Each message says what is wrong and what to do.

EvalkitError
├── UsageError            a wrong name, option or parameter
├── TaskFileError         a task file that cannot be imported (path, line)
├── ModelError            one request failed
│   ├── Overloaded        429, 503: try again later (retry_after)
│   ├── ServerFailed      5xx, garbage, a broken connection, a time-out: worth another try
│   ├── RequestRejected   4xx: asking again will not help
│   └── NotCached         --cache only, and the cache does not hold the answer
├── SetupError            nothing can go on: the run stops, what is done stays
│   ├── ProbeError        the model is not there or cannot do what the task needs
│   ├── CorpusError       a broken corpus (path, line)
│   ├── IndexMismatch     an index that was built for something else
│   └── NotInstalled      a package that an extra of evalkit brings (see extras.py)
├── StoreError            the score store: too new, full, locked by another run
├── MetricError           a metric cannot be computed
└── JudgeError            a judge's reply is no verdict

Where a failed request's fate is decided:

1. *Classified* as one of the errors above where the reply is read: ``models/openai/http_errors.py``
(statuses,
   messages) and ``transport.py`` beside it (connections, time-outs). ``not_sent`` and ``suggests_overload``
   say the rest.
2. *Tried again*, after a pause and within a budget, if ``Overloaded`` or ``ServerFailed``:
   ``models/middleware/retrying.py``.
3. *Rerouted* at once to another endpoint, if ``not_sent``: ``models/middleware/scheduled.py``. Which
endpoints
   are healthy is known in ``models/schedule/endpoint.py``.
4. *Given up*: one request by ``retrying.py``, when its tries or the budget are used up; the sample is then an
   ``error``. The whole run, with a ``SetupError``, by ``scheduled.py`` (an outage, a Retry-After of many
   minutes) or by ``run/engine.py`` (twenty samples in a row that failed at the server).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class EvalkitError(Exception):
    """The root. The command line prints it without a traceback."""


class UsageError(EvalkitError):
    """A wrong name, option or parameter."""


class TaskFileError(EvalkitError):
    """A task file that cannot be imported."""

    def __init__(self, path: str, line: int | None, message: str) -> None:
        super().__init__(f"{path}:{line}: {message}" if line else f"{path}: {message}")
        self.path, self.line, self.message = path, line, message


class ModelError(EvalkitError):
    """One request failed. ``status`` is the HTTP status where there was one.

    ``suggests_overload``: it took too long, as at a server with too many requests.
    ``not_sent``: it did not reach the server, so that another endpoint may take it at once.
    """

    suggests_overload = False
    not_sent = False

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Overloaded(ModelError):
    """The server asks to slow down. ``retry_after`` in seconds, if it said."""

    def __init__(self, message: str, *, status: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(message, status=status)
        self.retry_after = retry_after


class ServerFailed(ModelError):
    """A failure of the server or the way to it; another try may succeed."""


class RequestRejected(ModelError):
    """The server refuses this request; another try would fail too."""


class NotCached(ModelError):
    """Only the cache may answer, and it does not hold this answer."""


class SetupError(EvalkitError):
    """Nothing can go on: raised inside a sample, it stops the run; what is done is kept."""


class ProbeError(SetupError):
    """The model is not there, or cannot do what the task needs."""


class CorpusError(SetupError):
    """A corpus that cannot be used, with file and line where there is one."""


class IndexMismatch(SetupError):
    """An index that was built from another corpus, encoder or chunking."""


class NotInstalled(SetupError):
    """Something that an extra of evalkit brings is not installed. A run without any sample is not kept."""


class StoreError(EvalkitError):
    """The score store cannot be used."""


class MetricError(EvalkitError):
    """A metric cannot be computed."""


class JudgeError(EvalkitError):
    """A judge said something that is no judgement."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`` Did you mean 'x'?`` or an empty string; for the end of a message."""
    # Of three letters one may differ; of a longer name half is chance: drug_clas is not blood_cells.
    cutoff = 0.5 if len(name) <= 3 else 0.6
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)
    return f" Did you mean {close[0]!r}?" if close else ""

"""Everything that evalkit raises on purpose. Each message says what is wrong and what to do.

EvalkitError
├── UsageError            a wrong name, option or parameter
├── TaskFileError         a task file that cannot be imported (path, line)
├── ModelError            one request failed
│   ├── Overloaded        429, 503, 529: try again later (retry_after)
│   ├── ServerFailed      5xx, garbage, a broken connection, a time-out: another try may succeed
│   ├── RequestRejected   4xx: asking again will not help
│   └── NotCached         --cache only, and the cache has no answer
├── SetupError            the run cannot go on: it stops, its finished samples stay
│   ├── ProbeError        the model is not there or cannot do what the task needs
│   ├── CorpusError       a broken corpus (path, line)
│   ├── IndexMismatch     an index that was built for something else
│   └── NotInstalled      a package that an extra of evalkit brings (see extras.py)
├── StoreError            the score store: too new, full, locked by another run
├── MetricError           a metric cannot be computed
└── JudgeError            a judge's reply is no verdict

What happens to a failed request, and where that is decided:

1. *Classified* as one of the errors above, where the reply is read: ``models/openai/http_errors.py`` (HTTP
   statuses, messages) and ``models/openai/transport.py`` (connections, time-outs).
2. *Tried again*, after a pause and within a budget, if ``Overloaded`` or ``ServerFailed``:
   ``models/middleware/retrying.py``; a line of a batch job by ``models/batch/batched.py``.
3. *Rerouted* at once to another endpoint, if ``not_sent``: ``models/middleware/scheduled.py``. The health of
   an endpoint is kept in ``models/schedule/endpoint.py``.
4. *Given up*: one request, when its tries or the retry budget are used up, by ``retrying.py``; its sample is
   then an ``error``. The whole run, with a ``SetupError``, by ``scheduled.py`` (an outage, a Retry-After of
   many minutes) or by ``run/engine.py`` (twenty failed samples in a row).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class EvalkitError(Exception):
    """The base class. The command line prints the message without a traceback."""


class UsageError(EvalkitError):
    """A wrong name, option or parameter."""


class TaskFileError(EvalkitError):
    """A task file that cannot be imported."""

    def __init__(self, path: str, line: int | None, message: str) -> None:
        super().__init__(f"{path}:{line}: {message}" if line else f"{path}: {message}")
        self.path, self.line, self.message = path, line, message


class ModelError(EvalkitError):
    """One request failed. ``status`` is the HTTP status, if there was a reply.

    ``suggests_overload``: the request took too long, as it does at a server with too many requests.
    ``not_sent``: the request did not reach the server, so that another endpoint may take it at once.
    """

    suggests_overload = False
    not_sent = False

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Overloaded(ModelError):
    """The server asks for fewer requests. ``retry_after`` is its Retry-After in seconds, if any."""

    def __init__(self, message: str, *, status: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(message, status=status)
        self.retry_after = retry_after


class ServerFailed(ModelError):
    """The server or the connection failed; another try may succeed."""


class RequestRejected(ModelError):
    """The server refused this request; another try would fail too. ``said``, ``code``: its own words."""

    def __init__(self, message: str, *, status: int | None = None, said: str = "", code: str = "") -> None:
        super().__init__(message, status=status)
        self.said, self.code = said, code


class NotCached(ModelError):
    """Only the cache may answer, and it has no answer to this request."""


class SetupError(EvalkitError):
    """The run cannot go on: raised in a sample, this error stops the run and keeps the finished samples."""


class ProbeError(SetupError):
    """The model is not there, or cannot do what the task needs."""


class CorpusError(SetupError):
    """A corpus that cannot be used; the message has file and line where possible."""


class IndexMismatch(SetupError):
    """An index that was built from another corpus, encoder or chunking."""


class NotInstalled(SetupError):
    """Something that an extra of evalkit brings is not installed. A run without any sample is not kept."""


class StoreError(EvalkitError):
    """The score store cannot be used."""


class MetricError(EvalkitError):
    """A metric cannot be computed."""


class JudgeError(EvalkitError):
    """A judge's reply is no verdict."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?``, for the end of a message; an empty string if no name is similar."""
    # In three letters one may differ. In longer names 0.5 would match by chance: drug_clas, blood_cells.
    cutoff = 0.5 if len(name) <= 3 else 0.6
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)
    return f" Did you mean {close[0]!r}?" if close else ""

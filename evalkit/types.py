"""The values of the domain: samples, messages, requests, answers, scores. Imports nothing of evalkit."""

from __future__ import annotations

import errno
import hashlib
import mimetypes
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec
from msgspec import UNSET, Struct, UnsetType


class Status(StrEnum):
    """How one sample ended. All but ``error`` are results of the model and are scored (see ``Metric``)."""

    OK = "ok"
    TRUNCATED = "truncated"  # stopped by max_tokens, or for a reason that evalkit does not know
    REFUSED = "refused"
    EMPTY = "empty"
    UNPARSED = "unparsed"  # the task found no answer in the reply
    ERROR = "error"  # the infrastructure failed: the run is incomplete, the sample can be resumed

    @property
    def failed(self) -> bool:
        """Whether the model gave no answer, so that the sample scores as wrong."""
        return self not in (Status.OK, Status.ERROR)


class Text(Struct, frozen=True, tag="text"):
    """A piece of text inside a message."""

    text: str


class Media(Struct, frozen=True):
    """A file inside a message: its bytes, read when the request is sent.

    ``path`` or ``data`` holds the bytes; ``sha256`` (hex) names them in cache keys and in the store.
    """

    sha256: str
    media_type: str
    path: str | None = None
    data: bytes | None = None

    def read(self) -> bytes:
        """Return the bytes. Raises ``OSError`` if the file is gone, or has changed since it was opened."""
        if self.data is not None:
            return self.data
        data = Path(self.path or "").read_bytes()
        self._expect(hashlib.sha256(data).hexdigest())
        return data

    def check(self) -> None:
        """Raise ``OSError`` as ``read`` does, without holding the bytes in memory."""
        if self.data is None:
            self._expect(_digest(self.path or ""))

    def _expect(self, sha256: str) -> None:
        if sha256 != self.sha256:
            raise OSError(
                errno.ESTALE,
                "the file has changed since it was opened. Write each picture, sound or film to a file of "
                "its own, or keep the bytes: Image.of(data)",
                self.path,
            )


class Image(Media, frozen=True, tag="image"):
    """A picture inside a message.

    ``made`` says how the bytes were made if they are not those of the original file (see ``evalkit.media``);
    ``size`` is then width and height in pixels.
    """

    made: str = ""
    size: tuple[int, int] | None = None

    @classmethod
    def open(cls, path: str | Path) -> Image:
        """Return an image file on disk. Raises ``OSError`` if it cannot be read."""
        return cls(*_named(path), path=str(Path(path).resolve()))

    @classmethod
    def of(cls, data: bytes, media_type: str = "image/png") -> Image:
        """Return bytes already in memory as a picture."""
        return cls(hashlib.sha256(data).hexdigest(), media_type, data=data)


class Audio(Media, frozen=True, tag="audio"):
    """A sound inside a message: a WAV or MP3 file."""

    @classmethod
    def open(cls, path: str | Path) -> Audio:
        """Return a sound file on disk. Raises ``OSError`` if it cannot be read."""
        return cls(*_named(path), path=str(Path(path).resolve()))

    @classmethod
    def of(cls, data: bytes, media_type: str = "audio/wav") -> Audio:
        """Return bytes already in memory as a sound."""
        return cls(hashlib.sha256(data).hexdigest(), media_type, data=data)


class Video(Media, frozen=True, tag="video"):
    """A film inside a message.

    With ``frames`` (a number, evenly spaced) or ``fps`` it is sent as that many pictures; with neither the
    server gets the whole file and samples it itself.
    """

    frames: int | None = None
    fps: float | None = None

    @classmethod
    def open(cls, path: str | Path, *, frames: int | None = None, fps: float | None = None) -> Video:
        """Return a film on disk.

        Raises ``OSError`` if it cannot be read, ``ValueError`` for a wrong sampling.
        """
        if frames is not None and fps is not None:
            raise ValueError("give frames= or fps=, not both")
        if (frames is not None and frames < 1) or (fps is not None and not fps > 0):
            raise ValueError("frames= and fps= must be above 0")
        return cls(*_named(path), path=str(Path(path).resolve()), frames=frames, fps=fps)


def _named(path: str | Path) -> tuple[str, str]:
    """Return the SHA-256 of a file and its media type, by its name."""
    return _digest(path), mimetypes.guess_type(str(path))[0] or "application/octet-stream"


def _digest(path: str | Path) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


Part = Text | Image | Audio | Video
Content = str | tuple[Part, ...]


class Tool(Struct, frozen=True):
    """A function that a model may call. ``parameters`` is the JSON schema of its arguments, an object."""

    name: str
    description: str = ""
    parameters: dict[str, Any] = msgspec.field(default_factory=dict)


class ToolCall(Struct, frozen=True):
    """A call of a tool that a model asks for.

    ``arguments`` is None where the model's text is no JSON object; ``raw`` is then that text. ``id`` pairs
    the call with the message of role ``tool`` that answers it.
    """

    id: str
    name: str
    arguments: dict[str, Any] | None = None
    raw: str = ""

    @classmethod
    def of(cls, name: str, /, **arguments: Any) -> ToolCall:
        """Return a call as a script or a reference writes it; its id is made when it becomes a reply."""
        return cls("", name, arguments)


class Message(Struct, frozen=True):
    """One turn of a chat: plain text, or ordered parts (text and images, in the order the model sees).

    - ``tool_calls``: what a message of role ``assistant`` called.
    - ``tool_call_id``: the call whose result a message of role ``tool`` holds.
    - ``native``: the turn as the vendor's own interface wrote it (``Response.native``). It goes back
      unchanged in place of the rest, because some vendors sign their reasoning.
    """

    role: str
    content: Content
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""
    native: Any = None

    @property
    def text(self) -> str:
        """The text of all parts."""
        if isinstance(self.content, str):
            return self.content
        return "\n".join(part.text for part in self.content if isinstance(part, Text))


class Sample(Struct, frozen=True):
    """One sample of a data set.

    ``relevance`` grades documents for this question by document id (0: not relevant). ``cluster`` groups
    samples that are not independent (same patient, same article). ``slices`` holds the subgroups to report.
    ``answer`` is the index of the right one of ``choices``, from 0, or the indices of all right ones.
    """

    id: str
    input: str
    target: str | tuple[str, ...] = ""
    relevance: dict[str, int] = msgspec.field(default_factory=dict)
    choices: tuple[str, ...] = ()
    images: tuple[Image, ...] = ()
    cluster: str | None = None
    slices: dict[str, str] = msgspec.field(default_factory=dict)
    metadata: dict[str, Any] = msgspec.field(default_factory=dict)
    answer: int | tuple[int, ...] | UnsetType = UNSET

    @property
    def answers(self) -> tuple[int, ...]:
        """``answer``, always as a tuple; empty if it is not set."""
        if isinstance(self.answer, UnsetType):
            return ()
        return (self.answer,) if isinstance(self.answer, int) else tuple(self.answer)

    @property
    def targets(self) -> tuple[str, ...]:
        """The reference answers, always as a tuple; without ``target``, the texts of the right choices."""
        if self.target == "" and self.answers:
            return tuple(self.choices[i] for i in self.answers if 0 <= i < len(self.choices))
        return (self.target,) if isinstance(self.target, str) else self.target


class Passage(Struct, frozen=True):
    """A piece of a corpus, as a retriever returns it. ``doc_id`` is the document that contains the piece."""

    id: str
    text: str
    title: str = ""
    score: float = 0.0
    doc_id: str = ""
    metadata: dict[str, Any] = msgspec.field(default_factory=dict)

    @property
    def document(self) -> str:
        """The document's id, which is the passage's own id if the corpus was not chunked."""
        return self.doc_id or self.id


class Request(Struct, frozen=True, kw_only=True):
    """One call of a model: a chat (``messages``), a plain ``prompt``, or the scoring of a continuation.

    With ``continuation`` set, nothing is generated: the response holds the log-probabilities of the
    continuation's tokens after ``prompt``. ``sample`` is neither sent nor hashed: baselines read it.
    ``repeat`` numbers the independent draws of one question, so that the cache keeps them apart.
    ``max_tokens`` is the length of the *answer*: an adapter adds what its model may think on top.
    ``given`` names the parameters that the task or the model's spec set, as against evalkit's defaults.
    ``tool_choice`` is ``auto``, ``none``, ``required``, or the name of one of ``tools``. ``reference_calls``
    are the calls of a perfect reply, for ``baseline:gold``; like ``sample`` they are neither sent nor hashed.
    """

    messages: tuple[Message, ...] = ()
    prompt: str | None = None
    continuation: str | None = None
    max_tokens: int = 512
    temperature: float = 0.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int | None = None
    json_schema: dict[str, Any] | None = None
    regex: str | None = None
    extra: dict[str, Any] = msgspec.field(default_factory=dict)
    repeat: int = 0
    sample: Sample | None = None
    tools: tuple[Tool, ...] = ()
    tool_choice: str = "auto"
    given: tuple[str, ...] = ()
    reference_calls: tuple[ToolCall, ...] = ()

    @property
    def has_tools(self) -> bool:
        """Whether a model may call tools, or did so in an earlier turn."""
        return bool(self.tools) or (
            len(self.messages) > 1 and any(m.tool_calls or m.native is not None for m in self.messages)
        )

    @property
    def images(self) -> tuple[Image, ...]:
        """The pictures of all messages, in order."""
        contents = [message.content for message in self.messages if not isinstance(message.content, str)]
        return tuple([part for content in contents for part in content if isinstance(part, Image)])


MOST_TOKENS = 10**8
"""The most tokens that one call can have. A higher count is a server's mistake."""


class Usage(Struct, frozen=True):
    """Tokens of one call, as the server counted them. ``image_tokens`` is None if not reported.

    ``prompt_tokens`` holds all of the prompt: ``cached_tokens`` were read from the server's prompt cache,
    ``cache_write_tokens`` written to it. ``completion_tokens`` holds all that was generated, the
    ``reasoning_tokens`` included.

    A count that cannot be one (negative, above ``MOST_TOKENS``, not a whole number) becomes 0, so that it
    harms nothing but itself.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    image_tokens: int | None = None
    cache_write_tokens: int = 0

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if type(value) is not int or not 0 <= value <= MOST_TOKENS:
                if value is None and name == "image_tokens":
                    continue
                msgspec.structs.force_setattr(self, name, token_count(value))


def token_count(value: object) -> int:
    """Return a reported number of tokens: also from ``7.0`` or ``"7"``; 0 for what is no count."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MOST_TOKENS:
        return 0
    return int(value) if value == int(value) else 0


FinishReason = Literal["stop", "length", "refusal", "abort", "other"]


class Response(Struct, frozen=True, kw_only=True):
    """A model's reply. ``logprobs`` are natural logarithms, one for each scored token.

    - ``finish_reason``: why it ended; ``other``: the server could not read what the model wrote, or gave a
      reason that evalkit does not know. Only with ``stop`` is the reply whole.
    - ``notes``: what a reader of the score should know about this reply, such as another model's name. They
      are counted and reported with the run; replies of one kind share one text.
    - ``native``: the reply in the vendor's own form, for ``Message.native`` in the next turn; None where the
      other fields hold all of it.
    """

    text: str
    finish_reason: FinishReason = "stop"
    reasoning: str = ""
    usage: Usage = Usage()
    model: str = ""
    logprobs: tuple[float, ...] | None = None
    is_greedy: bool | None = None
    latency_s: float = 0.0
    first_token_s: float | None = None
    retries: int = 0
    from_cache: bool = False
    notes: tuple[str, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    native: Any = None

    def noted(self, *notes: str) -> Response:
        """Return the same reply with further notes; it holds each of them once."""
        return msgspec.structs.replace(self, notes=tuple(dict.fromkeys((*self.notes, *notes))))

    @property
    def cut_in_reasoning(self) -> bool:
        """Whether ``max_tokens`` ended the reply before its reasoning had ended."""
        thought = bool(self.reasoning or self.usage.reasoning_tokens)
        return self.finish_reason == "length" and thought and not self.text.strip()

    @property
    def logprob(self) -> float:
        """The sum of ``logprobs``. Raises ``ValueError`` if there are none."""
        if self.logprobs is None:
            raise ValueError("this response has no log-probabilities")
        return sum(self.logprobs)


class Answer(Struct, frozen=True):
    """What a task function returns: the reply, and what the model was shown.

    - ``text``: the answer; by default the reply's text.
    - ``passages``: those in the prompt, where citation ``[1]`` is ``passages[0]``; None if the prompt has no
      passages by design.
    - ``ranking``: the retriever's result as document ids, best first; by default the documents of
      ``passages``. Pass None if nothing was retrieved (an oracle arm): retrieval metrics then do not apply.
    - ``status``: set to ``Status.UNPARSED`` by a task that finds no answer in the reply; the engine sets the
      others.
    """

    response: Response | None = None
    text: str | UnsetType = UNSET
    passages: tuple[Passage, ...] | None = None
    ranking: tuple[str, ...] | UnsetType | None = UNSET
    choice: int | None = None
    status: Status | None = None
    metadata: dict[str, Any] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        put = msgspec.structs.force_setattr  # values of wrong types stay: the engine names them
        if self.text is UNSET:
            put(self, "text", self.response.text if isinstance(self.response, Response) else "")
        if self.passages is None:
            if self.ranking is UNSET:
                put(self, "ranking", None)
            return
        if isinstance(self.passages, Iterable) and not isinstance(self.passages, tuple | str):
            put(self, "passages", tuple(self.passages))
        if self.ranking is UNSET:
            given = self.passages if isinstance(self.passages, tuple) else ()
            documents = [p.document for p in given if isinstance(p, Passage)]
            put(self, "ranking", tuple(dict.fromkeys(documents)))

    def ended(self, status: Status | None) -> Answer:
        """Return the same answer with a ``status``, ``ok`` by default."""
        return msgspec.structs.replace(self, status=status or Status.OK)

    @property
    def failed(self) -> bool:
        """Whether the status means that there is no answer; False without a status."""
        return self.status is not None and self.status.failed

    @property
    def reply(self) -> str:
        """``text`` as a plain string."""
        return self.text if isinstance(self.text, str) else ""

    @property
    def ranked(self) -> tuple[str, ...] | None:
        """``ranking`` as a plain value: document ids, best first, or None if nothing was retrieved."""
        return self.ranking if isinstance(self.ranking, tuple) else None


class Score(Struct, frozen=True):
    """One metric on one sample. If the metric itself failed, ``value`` is None and ``error`` says why."""

    metric: str
    value: float | None
    error: str | None = None


class Estimate(Struct, frozen=True):
    """A metric over a run: mean, standard error, interval.

    ``bounds`` are the values that the mean could still take when samples are missing (None: complete).
    """

    value: float
    se: float
    ci: tuple[float, float]
    n: int
    method: str = "normal"
    clusters: int | None = None
    level: float = 0.95
    bounds: tuple[float, float] | None = None


class Requirements(Struct, frozen=True):
    """The abilities that a task needs from a model; a probe checks them before the run."""

    logprobs: bool = False
    images: bool = False
    json_schema: bool = False
    regex: bool = False
    audio: bool = False
    tools: bool = False


class MediaSupport(Struct, frozen=True):
    """The media that a backend takes besides text.

    ``images`` and ``audio`` are media types; a picture of another type is converted to PNG. ``video``:
    whether films are sent whole. A picture with more than ``max_pixels`` pixels, or a side above
    ``max_side``, is made smaller.
    """

    images: frozenset[str] = frozenset({"image/png", "image/jpeg"})
    audio: frozenset[str] = frozenset()
    video: bool = False
    max_pixels: int | None = None
    max_side: int | None = None


class ServerInfo(Struct, frozen=True):
    """Facts of a server. ``identity`` (model, revision, server arguments) is part of every cache key.

    Numbers that cannot be ones become None; in ``identity``, integers of more than 64 bits become texts.
    """

    identity: dict[str, Any] = msgspec.field(default_factory=dict)
    max_context: int | None = None
    max_running: int | None = None
    server: dict[str, Any] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("max_context", "max_running"):
            if getattr(self, name) is not None:
                msgspec.structs.force_setattr(self, name, token_count(getattr(self, name)) or None)
        if any(type(value) is int and value.bit_length() > 63 for value in self.identity.values()):
            plain = {k: str(v) if type(v) is int else v for k, v in self.identity.items()}
            msgspec.structs.force_setattr(self, "identity", plain)

    @property
    def replies_of_a_file(self) -> bool:
        """Whether the replies were made elsewhere and are read from a file, so that nothing is called."""
        return self.identity.get("provider") == "predictions"


class Bar(Protocol):
    """One progress bar."""

    def advance(self, n: int = 1) -> None: ...

    def note(self, text: str) -> None:
        """Show a few words beside the bar."""
        ...


class Progress(Protocol):
    """Reports the progress of long work, from any thread: ``with progress.bar("Embedding", 9659) as bar``."""

    def bar(self, label: str, total: int | None) -> Any:
        """Return a context manager that yields a ``Bar``; ``total`` is None if it is unknown."""
        ...

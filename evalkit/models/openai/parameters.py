"""The parameters of a request as a server takes them: what it refuses by name is left out, or is an error.

Servers differ in their defaults, so evalkit sends its own with every request. One that a server refuses is
left out from then on; the probe finds these before the run. A parameter that the model's spec or the task
sets is never left out in silence: ``UsageError`` says how to leave it out by hand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from evalkit.errors import RequestRejected, UsageError
from evalkit.models.openai import wire
from evalkit.models.openai.reasoning import NAMES_OF_REASONING
from evalkit.reading.patterns import regex
from evalkit.types import Request, Response

# What evalkit sends unasked, and its values. A value of the spec or the task is never one of these defaults.
DEFAULTS: Mapping[str, Any] = {
    "temperature": 0.0,
    "top_p": 1.0,
    **wire.STANDARD,
    **wire.FULL,
    "stream": False,
    "stream_options": wire.WITH_USAGE,
    **wire.OF_RESPONSES,
}
LENGTHS = ("max_tokens", "max_completion_tokens")  # two names of one parameter
_SET = ("seed", "stop")  # sent only where the spec or the task gives them
# Left out, these change no reply.
_WITHOUT_EFFECT = frozenset({"n", "stream", "stream_options", *LENGTHS, *wire.OF_RESPONSES})
_OF_SPECS = ("temperature", "top_p", "stream", *_SET)  # written in a spec without ``extra.``

# How servers say that they do not take a parameter, or its value.
_NOT_TAKEN = regex(
    r"not (?:supported|permitted|allowed|accepted|compatible|recogni[sz]ed|a valid)|unsupported|forbidden|"
    r"unrecogni[sz]ed|unexpected|unknown|does(?: not|n['’]t) support|cannot (?:both )?be|only one of|"
    r"extra (?:inputs|fields?)|may only be set|only (?:the default|[\d.]+) (?:\S+ )?is (?:allowed|supported)",
    re.IGNORECASE,
)
_VALUE_NOT_TAKEN = regex(
    r"must be|should be|has to be|out of range|at (?:least|most)|(?:greater|less) than|invalid value",
    re.IGNORECASE,
)
_ONE_OF = regex(r"cannot both be|only one of", re.IGNORECASE)
_NEAR = 120  # characters
_PARAM = regex(r"\(param: '([^']+)'\)")  # as ``http_errors`` adds the field of an error body


class Parameters:
    """What one model's servers refuse.

    - ``left_out``: the refused defaults, each with the server's words, or the reason why the interface has
      none.
    - ``length``: the name under which the server takes the length of a reply.
    - ``late``: the defaults that were first refused after the probe (``settle``).
    """

    def __init__(self, spec_sets: Mapping[str, Any]) -> None:
        self._spec_sets = spec_sets
        self.left_out: dict[str, str] = {}
        self.length = LENGTHS[0]
        self.late: tuple[str, ...] = ()
        self._refused_lengths: set[str] = set()
        self._probed: frozenset[str] = frozenset()

    @property
    def missing(self) -> dict[str, str]:
        """The refused defaults that samples would have: the model's spec neither sets nor unsets them."""
        return {name: said for name, said in self.left_out.items() if name not in self._spec_sets}

    @property
    def effective(self) -> list[str]:
        """The defaults that the probe found refused and that may change replies: part of the identity."""
        return sorted(self._probed - _WITHOUT_EFFECT)

    def settle(self) -> None:
        """End the probe: what is refused later is noted with each reply."""
        self._probed, self.late = frozenset(self.missing), ()

    def fit(self, payload: dict[str, Any], request: Request) -> dict[str, Any]:
        """Return a payload without the refused defaults, with the length under the name that is taken."""
        if self.left_out:
            kept = {
                name: value
                for name, value in payload.items()
                if name not in self.left_out or not _is_default(name, value, request)
            }
            payload = kept
        if self.length != LENGTHS[0] or (request.extra and LENGTHS[1] in request.extra):
            return self._with_length(payload)
        return payload

    def _with_length(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Return a chat's payload with the length under one name."""
        if "messages" not in payload or LENGTHS[0] not in payload:
            return payload
        payload = dict(payload)
        length = payload.pop(LENGTHS[0])
        if LENGTHS[1] not in payload:
            payload[self.length] = length
        return payload

    def learn(self, problem: RequestRejected, payload: Mapping[str, Any], request: Request) -> None:
        """Take over what a server refused in ``payload``, so that ``fit`` leaves it out.

        Raises the ``problem`` itself if it is about something else, ``UsageError`` where the spec or the task
        set what is refused.
        """
        names = list(_refused(problem, payload, request))
        defaults = [name for name in names if _is_default(name, payload[name], request)]
        if defaults and _ONE_OF.search(problem.said):
            defaults = defaults[-1:]
        for name in defaults:
            self.left_out[name] = problem.said
        self.late = tuple(sorted(self.missing.keys() - self._probed))
        if defaults or self._renamed(names, payload):
            return
        if by_hand := [name for name in names if name not in LENGTHS]:
            raise UsageError(self._explained(problem, by_hand[0], payload[by_hand[0]])) from None
        raise self._with_hint(problem, payload, request) from None

    def noted(self, response: Response, payload: Mapping[str, Any]) -> Response:
        """Return the reply to a payload with a note on what was left out of it, unknown to the probe."""
        if not (missing := [name for name in self.late if name not in payload]):
            return response
        return response.noted(f"sent without {', '.join(missing)}, which the server refused after the probe")

    def _renamed(self, names: list[str], payload: Mapping[str, Any]) -> bool:
        """Take the other name of the length; False where that is refused, too, or another thing at fault."""
        sent = next((name for name in LENGTHS if name in payload), "")
        if sent not in names or "messages" not in payload:
            return False
        self._refused_lengths.add(sent)
        (other,) = set(LENGTHS) - {sent}
        if other in self._refused_lengths:
            return False
        self.length = other
        return True

    def _with_hint(
        self, problem: RequestRejected, payload: Mapping[str, Any], request: Request
    ) -> RequestRejected:
        """Return a refusal whose words are not known; with what helps if it names what was set by hand."""
        by_hand = [n for n in _known(problem, payload, request) if not _is_default(n, payload[n], request)]
        names = [n for n in by_hand if n not in LENGTHS and _named(n).search(problem.said)]
        repeats_all = len(problem.said) > 2 * _NEAR  # the whole request may stand in the message
        if type(problem) is not RequestRejected or repeats_all or not names:
            return problem
        text = self._explained(problem, names[0], payload[names[0]])
        return RequestRejected(text, status=problem.status, said=problem.said, code=problem.code)

    def _explained(self, problem: RequestRejected, name: str, value: Any) -> str:
        own, refusal = name if name in _OF_SPECS else f"extra.{name}", str(problem).rstrip(".")
        by_spec = self._spec_sets.get(name)
        if by_spec == value or (by_spec is not None and name == "seed"):  # each repeat has its own seed
            return f"{refusal}. The model's spec sets {own}={value}: take it out"
        if name in NAMES_OF_REASONING:
            return f"{refusal}. The spec's effort or reasoning_tokens is sent as {name}: leave it out"
        return (
            f"{refusal}. The task sets {name}={value}. To leave it out, so that the server's own value "
            f"applies, add ?{own}=unset to the model's spec"
        )


def defaults_in(payload: Mapping[str, Any], request: Request) -> list[str]:
    """Return the parameters of a payload that are evalkit's own defaults."""
    return [name for name, value in payload.items() if _is_default(name, value, request)]


def _is_default(name: str, value: Any, request: Request) -> bool:
    """Return whether a parameter is evalkit's own default, which nobody set."""
    unset = name not in request.given and name not in request.extra
    return unset and name in DEFAULTS and DEFAULTS[name] == value


def _refused(problem: RequestRejected, payload: Mapping[str, Any], request: Request) -> Iterator[str]:
    """Yield the parameters of a payload that a server's words refuse, in the order of the words."""
    said, param = problem.said, _PARAM.search(problem.said)
    known = _known(problem, payload, request)
    places = {name: place.start() for name in known if (place := _named(name).search(said))}
    for name in sorted(places, key=places.__getitem__):
        # A message may repeat the whole request: only what stands beside the refusal is refused.
        near = said if param else said[max(0, places[name] - _NEAR) : places[name] + _NEAR]
        near += f" {problem.code}"
        # A default whose value is refused is left out as well; what was set by hand may have a wrong value.
        by_value = _is_default(name, payload[name], request) and _VALUE_NOT_TAKEN.search(near)
        if by_value or _NOT_TAKEN.search(near):
            yield name


def _known(problem: RequestRejected, payload: Mapping[str, Any], request: Request) -> list[str]:
    """Return the parameters that a server may have refused: only the one that the error's field names."""
    param = _PARAM.search(problem.said)
    known = [n for n in payload if n in DEFAULTS or n in LENGTHS or n in _SET or n in request.extra]
    return [name for name in known if name == param[1]] if param else known


def _named(name: str) -> re.Pattern[str]:
    """Return the pattern of a parameter's name in a message: also ``topP``; common words only as names."""
    words = name.replace("_", "_?")
    if "_" in name or name == "temperature":
        return re.compile(rf"(?<![\w.]){words}(?!\w)", re.IGNORECASE)
    return re.compile(
        rf"[`'\"]{words}[`'\"]|(?i:parameters?|arguments?|fields?|property|model|supplied):? {words}\b"
        rf"|^{words}:? (?:is|are|cannot|must|may|not)\b"
    )

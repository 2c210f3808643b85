"""Which of evalkit's defaults a server refuses, found by trial where its words do not tell.

Servers refuse in any language, as HTML, or name another parameter than the one at fault.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from evalkit.errors import RequestRejected
from evalkit.models.openai import probe
from evalkit.models.openai.parameters import LENGTHS, defaults_in
from evalkit.types import Requirements, Response

if TYPE_CHECKING:
    from evalkit.models.openai.backend import OpenAIBackend

_STATUSES = (400, 422)  # of a server that does not take a parameter


async def ask(backend: OpenAIBackend, url: str, length: int, needs: Requirements) -> Response | None:
    """Ask the probe's short question; where the server refuses it, find the defaults at fault by trial.

    Return the reply; None where the server fails, or refuses the question without any default, too. Raises
    ``ProbeError`` where the server does not have the interface.
    """
    known = dict(backend.parameters.left_out)  # of the model's other endpoints
    try:
        return await probe.ask(backend, url, length, needs)
    except RequestRejected as problem:
        probe.check_interface(backend, problem)
        if problem.status not in _STATUSES or not await _find(backend, url, needs, problem, known):
            return None
    try:
        return await probe.ask(backend, url, length, needs)
    except RequestRejected:
        return None


async def _find(
    backend: OpenAIBackend, url: str, needs: Requirements, problem: RequestRejected, known: Mapping[str, str]
) -> bool:
    """Leave out the defaults that the server refuses. Return whether it answers without them.

    Each is tried in turn, also those that the server's words had named, but not those ``known`` before.
    """
    parameters = backend.parameters
    before, parameters.left_out = parameters.left_out, dict(known)
    request = probe.short_question(backend, probe.BRIEF)
    names = defaults_in(backend.payload(request), request)
    parameters.left_out = {**known, **dict.fromkeys(names, problem.said)}
    if await _refusal(backend, url, needs) and not await _takes_other_length(backend, url, needs):
        parameters.left_out = before
        return False
    for name in names:
        others = {other: said for other, said in parameters.left_out.items() if other != name}
        parameters.left_out = dict(others)
        if refusal := await _refusal(backend, url, needs):
            parameters.left_out = {**others, name: refusal.said or str(refusal)}
    return True


async def _takes_other_length(backend: OpenAIBackend, url: str, needs: Requirements) -> bool:
    """Return whether the server takes the other name of ``max_tokens``, which is then sent."""
    length = backend.parameters.length
    (backend.parameters.length,) = {*LENGTHS} - {length}
    if taken := await _refusal(backend, url, needs) is None:
        return taken
    backend.parameters.length = length
    return False


async def _refusal(backend: OpenAIBackend, url: str, needs: Requirements) -> RequestRejected | None:
    """Return the server's refusal of a short question; None where it answers, or fails in another way."""
    try:
        await probe.ask(backend, url, probe.BRIEF, needs)
    except RequestRejected as problem:
        return problem
    return None

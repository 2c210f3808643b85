"""Checks before a run: does the server serve the model, and can the model do what the task needs?"""

from __future__ import annotations

import asyncio
import difflib
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from evalkit.errors import ModelError, Overloaded, ProbeError, RequestRejected
from evalkit.models.headers import without_secrets
from evalkit.models.openai import wire
from evalkit.models.openai.media_probe import COLOUR, SOUND, check_audio, check_images
from evalkit.models.openai.shown import ImageCost
from evalkit.models.openai.transport import Unreachable
from evalkit.models.tool_probe import check_tools
from evalkit.reading.reasoning import split_reasoning
from evalkit.types import Message, Request, Requirements, Response, ServerInfo
from evalkit.util.masking import excerpt

if TYPE_CHECKING:
    from evalkit.models.http import HTTPBackend

_SCHEMA = {
    "type": "object",
    "properties": {"ok": {"type": "boolean"}},
    "required": ["ok"],
    "additionalProperties": False,
}
# What each served model is asked. Models think about it, also those that think only where they must; the
# answer is short.
QUESTION = "What is 17 * 23 - 48? Reply with the number only."
LENGTH = 2048  # tokens in which the question is answered, whether the model reasons or not
BRIEF = 16  # tokens, where only the server's refusals matter; some vendors refuse fewer
_NO_INTERFACE = (404, 405, 501)
_ASK_S = 60.0  # for a short answer
# Azure's paths: the name in them is that of a deployment, and only replies name its model.
_DEPLOYMENT = re.compile(r"/deployments/|//[^/]*\.azure\.com(?:/|$)")
_SCHEMA_START = re.compile(r'\s*\{\s*("ok"|$)')


class ServedModel(NamedTuple):
    """A model on a server: its name there, its facts, and its reply if it was ``asked`` to know them."""

    model: str
    info: ServerInfo
    asked: bool = False
    reply: Response | None = None


async def find_model(backend: HTTPBackend, url: str) -> ServedModel:
    """Return the model at one endpoint. Raises ``ProbeError`` if it is not there."""
    try:
        with wire.reading(url):
            return await model_at(backend, url)
    except Unreachable as problem:
        raise ProbeError(f"{problem}. {backend.how_to_reach(url)}") from None
    except Overloaded as problem:
        raise ProbeError(f"{problem}. It may still be loading the model: try again in a moment") from None
    except ModelError as problem:
        raise ProbeError(str(problem)) from None


async def model_at(backend: HTTPBackend, url: str) -> ServedModel:
    """Return the model at one endpoint; an empty name or ``default`` means the only model served.

    Raises ``ProbeError`` if another model is served, ``ModelError`` if nothing answers.
    """
    entries = await backend.entries(url)
    if not entries and backend.model in ("", "default"):
        raise ProbeError(f"{url} does not list its models: give the name, {backend.spec.provider}:NAME@{url}")
    if (entry := _listed(backend, entries)) is not None:
        return ServedModel(entry["id"], await _facts(backend, url, entry))
    if (like := _like_listed(backend, entries)) is None:
        raise ProbeError(_not_served(backend, url, entries))
    reply = await _check_api(backend, url, others=bool(entries))
    info = await _facts(backend, url, {**like, "id": backend.model})
    if reply and reply.model and _DEPLOYMENT.search(url):
        info = msgspec.structs.replace(info, identity=info.identity | {"deployed": reply.model})
    return ServedModel(backend.model, info, asked=True, reply=reply)


async def _facts(backend: HTTPBackend, url: str, entry: dict[str, Any]) -> ServerInfo:
    """Return what the server tells of the model, and what of the spec may choose another one."""
    info = await backend.facts(url, entry)
    chosen = {"headers": without_secrets(backend.spec.headers), "query": without_secrets(backend.spec.query)}
    identity = info.identity | {name: values for name, values in chosen.items() if values}
    return msgspec.structs.replace(info, identity=identity)


async def ask(backend: HTTPBackend, url: str, length: int, needs: Requirements) -> Response | None:
    """Ask one short question, so that the backend learns which parameters the server refuses.

    Return the reply; None from a server that is too busy, or fails otherwise: it is left to the run. Raises
    ``ProbeError`` for a wrong key, ``UsageError`` for a refused parameter of the model's spec,
    ``RequestRejected`` for a question that is refused for another reason.
    """
    try:
        async with asyncio.timeout(_ASK_S):
            question = COLOUR if needs.images else SOUND if needs.audio else QUESTION
            return await backend.ask_at(url, short_question(backend, length, question))
    except RequestRejected:
        raise
    except (ModelError, TimeoutError):
        return None


def check_interface(backend: HTTPBackend, problem: RequestRejected) -> None:
    """Raise ``ProbeError`` if a server refused a question and lacks the interface that ``api`` names."""
    if backend.spec.options.get("api") and problem.status in _NO_INTERFACE:
        raise ProbeError(
            f"{backend.name}: {problem}. The server seems not to have this interface; choose another with "
            "?api=chat, ?api=completions or ?api=responses"
        ) from None


def short_question(backend: HTTPBackend, length: int, question: str = QUESTION) -> Request:
    """Return a question with all parameters of the model's spec, and room for ``length`` tokens."""
    sets = {**backend.spec.defaults, "max_tokens": length}
    return Request(messages=(Message("user", question),), **sets, given=tuple(sets))


async def _check_api(backend: HTTPBackend, url: str, *, others: bool) -> Response | None:
    """Ask a short question where the model is not listed, or only ``others`` are. Return the reply.

    Raises ``ProbeError`` if the URL is not an API, or the server refuses the name.
    """
    try:
        return await backend.ask_at(url, short_question(backend, LENGTH))
    except ModelError as problem:
        if problem.status == 404:
            raise ProbeError(
                f"there is no API at {url}: {problem}. A model's URL is the part before "
                f"{backend.target('')}, which usually ends in /v1{_missing_version(backend, url)}"
            ) from None
        if others and isinstance(problem, RequestRejected):
            raise ProbeError(f"{url} does not list {backend.model!r}, and refuses it: {problem}") from None
        return None


def _missing_version(backend: HTTPBackend, url: str) -> str:
    """Return what to add to a spec that lacks the version that Azure's addresses need."""
    if not _DEPLOYMENT.search(url) or "api-version" in backend.spec.query:
        return ""
    return ". Azure's deployments need ?query.api-version=VERSION"


def entries_of(listing: Any) -> list[dict[str, Any]]:
    """Return the lines of a list of models that have an ``id``."""
    data = listing.get("data") if isinstance(listing, dict) else listing  # Together lists them bare
    entries = data if isinstance(data, list) else []
    return [e for e in entries if isinstance(e, dict) and isinstance(e.get("id"), str)]


def _listed(backend: HTTPBackend, entries: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the line of the model in the server's list; for ``default`` that of the only one."""
    if backend.model in ("", "default") and len(entries) == 1:
        return entries[0]
    return next((entry for entry in entries if entry["id"] == backend.model), None)


def _like_listed(backend: HTTPBackend, entries: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the line that stands for a model which is not listed under its own name; None if none does.

    An empty line stands for it where nothing is listed, and where the user vouches for the name.
    A variant has the line of its model: ``NAME:nitro`` that of ``NAME`` (OpenRouter), ``NAME`` that of
    ``NAME:latest`` (Ollama) or ``models/NAME`` (Gemini).
    """
    name, lines = backend.model, {entry["id"]: entry for entry in entries}
    variants = [lines.get(v) for v in (name.rpartition(":")[0], f"{name}:latest", f"models/{name}")]
    vouched = not entries or backend.spec.options.get("unlisted")
    return next((line for line in variants if line), {} if vouched else None)


def _not_served(backend: HTTPBackend, url: str, entries: list[dict[str, Any]]) -> str:
    names = [e["id"] for e in entries]
    similar = difflib.get_close_matches(backend.model, names, n=len(names), cutoff=0.0)
    ordered = (similar + [n for n in names if n not in similar])[:10]
    return (
        f"{url} does not serve {backend.model!r}. It serves: {', '.join(ordered)}"
        f"{', …' if len(names) > 10 else ''}. Try {backend.spec.provider}:{ordered[0]}@{url}. "
        "If the server answers to the name without listing it, add ?unlisted=true"
    )


def check_same_identity(urls: Sequence[str], infos: Sequence[ServerInfo]) -> None:
    """Raise ``ProbeError`` if the endpoints of one model serve different models."""
    first = infos[0].identity
    for url, info in zip(urls, infos, strict=True):
        if info.identity != first:
            differences = {
                key: (first.get(key), info.identity.get(key))
                for key in first.keys() | info.identity.keys()
                if first.get(key) != info.identity.get(key)
            }
            raise ProbeError(f"{urls[0]} and {url} serve different models: {differences}")


async def check(backend: HTTPBackend, needs: Requirements) -> ImageCost:
    """Try what the task needs and return the tokens of a picture. Raises ``ProbeError``."""
    cost = ImageCost()
    checks: list[tuple[bool, str, Callable[[], Awaitable[Any]]]] = [
        (needs.logprobs, "prompt log-probabilities", backend.check_logprobs),
        (needs.images, "images", lambda: check_images(backend)),
        (needs.audio, "sound", lambda: check_audio(backend)),
        (needs.json_schema, "a JSON schema", lambda: check_schema(backend)),
        (needs.regex, "a regex", lambda: check_regex(backend)),
        (needs.tools, "tools", lambda: check_tools(backend)),
    ]
    for needed, ability, attempt in checks:
        if not needed:
            continue
        try:
            result = await attempt()
        except ModelError as problem:
            raise ProbeError(f"the task needs {ability}, and {backend.name} cannot: {problem}") from None
        cost = result if isinstance(result, ImageCost) else cost
    return cost


async def check_schema(backend: HTTPBackend) -> None:
    """Check that a schema turns a greeting into JSON. Raises ``ProbeError``."""
    response = await backend.send(_hello(json_schema=_SCHEMA))
    _, text = split_reasoning(response.text)
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError:
        value = None
    valid = isinstance(value, dict) and isinstance(value.get("ok"), bool)
    # A weak model may pad with blanks, which the schema allows, until max_tokens.
    padded = response.finish_reason == "length" and _SCHEMA_START.match(text)
    if not valid and not padded:
        raise ProbeError(
            f"{backend.name}: the server does not follow a JSON schema; it answered "
            f"{excerpt(response.text, 80)!r}"
        )


async def check_regex(backend: HTTPBackend) -> None:
    """Check that a regex turns a greeting into a match. Raises ``ProbeError``."""
    response = await backend.send(_hello(regex="(yes|no)"))
    if not re.fullmatch("yes|no", split_reasoning(response.text)[1]):
        raise ProbeError(
            f"{backend.name}: the server ignores regex; it answered {excerpt(response.text, 80)!r}. "
            "SGLang and vLLM follow a regex"
        )


def _hello(**constraint: Any) -> Request:
    return Request(messages=(Message("user", "Say hello."),), max_tokens=64, **constraint)

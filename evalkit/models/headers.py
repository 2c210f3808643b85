"""``?header.NAME=…`` and ``?query.NAME=…``: headers and parameters of the address that go with each request.

A spec is stored with its run, so a secret stands in it by the name of an environment variable alone:
``header.api-key=$AZURE_OPENAI_API_KEY``, ``header.Authorization=Bearer $TOKEN``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from urllib.parse import urlencode

from evalkit.errors import UsageError
from evalkit.util.masking import remember, secrets_in

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # a header's name (RFC 9110, 5.1)
_VARIABLE = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")
# Headers that belong to the exchange itself.
_OF_HTTP = re.compile(
    r"accept-encoding|connection|content-.*|expect|host|keep-alive|te|trailer|transfer-encoding|upgrade",
    re.IGNORECASE,
)
# Names whose values are secrets, and texts that look like one.
_SECRET_NAME = re.compile(
    r"(.*[-_.])?(authorization|cookie|(api|access|auth|subscription|functions)?[-_]?(key|token)|secret|"
    r"password|sig|signature)",
    re.IGNORECASE,
)
_LIKE_A_SECRET = re.compile(
    r"(?i:\b(?:bearer|basic) +\S)|\b(?:sk|xai|gsk|hf|ghp|glpat|pk|rk)[-_][A-Za-z0-9]|"
    r"(?<![A-Za-z0-9])(?=[A-Za-z]*[0-9])(?=[0-9]*[A-Za-z])[A-Za-z0-9+/]{16}"
)


Pairs = list[tuple[str, str]]


def split(pairs: Pairs) -> tuple[Pairs, dict[str, str], dict[str, str]]:
    """Return a spec's other parameters, its headers (names in lower case) and its query.

    Raises ``UsageError`` for one that cannot be sent, is given twice, or holds a secret.
    """
    others: Pairs = []
    found: dict[str, dict[str, str]] = {"header": {}, "query": {}}
    for parameter, value in pairs:
        kind, dot, name = parameter.partition(".")
        if not dot or kind not in found:
            others.append((parameter, value))
            continue
        check(parameter, value)
        name = name.lower() if kind == "header" else name
        if name in found[kind]:
            raise UsageError(f"model parameter {parameter} is given twice")
        found[kind][name] = value
    return others, found["header"], found["query"]


def check(parameter: str, value: str) -> None:
    """Raise ``UsageError`` for a ``header.NAME`` or ``query.NAME`` that cannot be sent, or holds a secret."""
    prefix, _, name = parameter.partition(".")
    if prefix == "header" and not _TOKEN.fullmatch(name):
        raise UsageError(f"model parameter {parameter!r}: no header has this name. Write header.NAME=value")
    if prefix == "query" and not (name and name.isprintable()):
        raise UsageError(f"model parameter {parameter!r}: write query.NAME=value")
    if prefix == "header" and _OF_HTTP.fullmatch(name):
        raise UsageError(f"model parameter {parameter}: evalkit sets this header itself")
    _check_value(parameter, name, value)


def _check_value(parameter: str, name: str, value: str) -> None:
    if not value.strip():
        raise UsageError(
            f"model parameter {parameter}: is empty. In double quotes the shell puts a variable's value in "
            "place of $NAME: put the model's spec in single quotes"
        )
    literal = _VARIABLE.sub("", value)
    if known := secrets_in(literal):
        raise UsageError(
            f"model parameter {parameter}: holds the secret in {known[0]}, and a spec is stored with the "
            f"run. Write {parameter}=${known[0]}, with the spec in single quotes: in double quotes the shell "
            "puts the value in its place"
        )
    if "$" in literal:
        raise UsageError(f"model parameter {parameter}: a $ must begin the name of an environment variable")
    secret_name = _SECRET_NAME.fullmatch(name) and literal == value
    if secret_name or _LIKE_A_SECRET.search(literal):
        raise UsageError(
            f"model parameter {parameter}: a spec is stored with the run, and must hold no secret. Put the "
            f"secret into an environment variable and write {parameter}=$ITS_NAME, in single quotes"
        )
    if parameter.startswith("header.") and (wrong := _not_in_a_header(literal)):
        raise UsageError(f"model parameter {parameter}: {wrong}, which no HTTP header can hold")


def _not_in_a_header(text: str) -> str | None:
    """Return the first character that a header cannot hold, in words; None without one."""
    for place, character in enumerate(text, 1):
        if not " " <= character <= "~":
            what = "a line break" if character in "\r\n" else "not ASCII" if character > "~" else "invisible"
            return f"character {place} is {what} (U+{ord(character):04X})"
    return None


def read_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return headers with the values of their variables, which are masked everywhere from now on.

    Raises ``UsageError`` for a variable that is not set, or holds what no header can.
    """
    return {name: _filled(f"header.{name}", value, header=True) for name, value in headers.items()}


def read_query(query: Mapping[str, str]) -> str:
    """Return the query of each address, encoded; as ``read_headers`` does with variables."""
    return urlencode({name: _filled(f"query.{name}", value) for name, value in query.items()})


def _filled(parameter: str, value: str, *, header: bool = False) -> str:
    def secret(match: re.Match[str]) -> str:
        variable = match[1]
        text = os.environ.get(variable, "").strip("\ufeff \t\r\n\v\f\0")
        if not text:
            raise UsageError(
                f"{variable} is not set, and {parameter} of the model's spec needs it: export {variable}=…"
            )
        if header and (wrong := _not_in_a_header(text)):
            raise UsageError(f"{variable}: {wrong}, which no HTTP header can hold ({parameter})")
        remember(text, variable)
        return text

    return _VARIABLE.sub(secret, value)


def has_secret(values: Mapping[str, str]) -> bool:
    """Return whether headers or a query name a variable, so that they hold the key of the server."""
    return any(map(_VARIABLE.search, values.values()))


def without_secrets(values: Mapping[str, str]) -> dict[str, str]:
    """Return the headers or the query that name no variable: they may choose what answers."""
    return {name: value for name, value in values.items() if not _VARIABLE.search(value)}

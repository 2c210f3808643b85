"""The API key of a model: read from the environment, made fit for a header of HTTP, and masked everywhere."""

from __future__ import annotations

import os

from evalkit.errors import ProbeError, UsageError
from evalkit.models.headers import has_secret
from evalkit.models.spec import ModelSpec
from evalkit.util.masking import remember


def read_key(spec: ModelSpec, usual: str | None, *, required: bool) -> str | None:
    """Return the key from the variable that the spec names, else from the ``usual`` one; None without any.

    A spec whose headers or query hold a secret has its key there: the ``usual`` one is not sent. Raises
    ``UsageError`` for a named variable without a key, ``ProbeError`` without a ``required`` key.
    """
    named = spec.options.get("key_env")
    elsewhere = has_secret(spec.headers) or has_secret(spec.query)
    if named and "authorization" in spec.headers:
        raise UsageError(f"key_env={named} and header.Authorization both give the key: give one of them")
    if elsewhere and not named:
        return None
    variable = str(named or usual or "")
    key = _usable(variable)
    if named and key is None:
        raise UsageError(f"{named} is not set; it should hold the API key: export {named}=…")
    if required and key is None:
        raise ProbeError(
            f"{variable} is not set. export {variable}=…, "
            f"or name your own server: {spec.provider}:{spec.name}@http://127.0.0.1:8000"
        )
    remember(key, variable)
    return key


def _usable(variable: str) -> str | None:
    """Return the key in a variable without the blanks and line ends around it; None where nothing is left.

    Raises ``UsageError``, without the key, for a character that a header cannot hold.
    """
    key = os.environ.get(variable, "").strip("\ufeff \t\r\n\v\f\0")
    for place, character in enumerate(key, 1):
        if not "!" <= character <= "~":
            what = "line break" if character in "\r\n" else "blank" if character.isspace() else "character"
            raise UsageError(
                f"{variable}: character {place} of the key is a {what} (U+{ord(character):04X}), which no "
                "HTTP header can hold. Set the variable to the key alone"
            )
    return key or None

"""An API key as it stands in an environment variable, made fit for a header of HTTP."""

from __future__ import annotations

from evalkit.errors import UsageError


def usable_key(variable: str, value: str | None) -> str | None:
    """Return the key without the blanks and line ends around it; None where nothing is left.

    Raises ``UsageError``, without the key, for a character that a header cannot hold.
    """
    key = (value or "").strip("\ufeff \t\r\n\v\f\0")
    for place, character in enumerate(key, 1):
        if not "!" <= character <= "~":
            what = "line break" if character in "\r\n" else "blank" if character.isspace() else "character"
            raise UsageError(
                f"{variable}: character {place} of the key is a {what} (U+{ord(character):04X}), which no "
                "HTTP header can hold. Set the variable to the key alone"
            )
    return key or None

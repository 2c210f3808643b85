"""Text for a terminal or a log: secrets masked, and no character that could steer the terminal."""

from __future__ import annotations

import re
import sys

from evalkit.util.masking import mask

# Not printable for Python, and yet harmless: spaces of other widths, and joiners inside words and emoji.
_HARMLESS = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000\u00ad\u200c\u200d]")
# A password in a URL, or a token in the place of the user's name.
_PASSWORD = re.compile(r"(?<=://)(?:([^\s/@:]*:)[^\s/@]+|[^\s/@:]{16,})@")
# A key in a query: of a spec that somebody pasted it into, or of a redirect. The name of a variable is none.
_QUERY = re.compile(
    r"(?<=[?&])((?:[\w.-]*[._-])?(?:api[_-]?key|token|secret|password)=)(?!\$[A-Za-z_])[^&\s]+",
    re.IGNORECASE,
)


def printable(text: str) -> str:
    """Return foreign text for a terminal or a log.

    Control characters, also those of C1 and of writing direction, are escaped (``\\x1b``, ``\\u202e``).
    Secrets, and keys and passwords in URLs, are masked. Lines stay lines.
    """
    text = _QUERY.sub(r"\1***", _PASSWORD.sub(r"\1***@", mask(text))).replace("\r\n", "\n")
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in "\n\t" or _HARMLESS.match(c) else c.encode("unicode_escape").decode()
        for c in text
    )


def one_line(text: str) -> str:
    """Return foreign text as ``printable`` does, on one line: a name cannot look like further output."""
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


def say(text: str) -> None:
    """Print a line on stderr, from the layers below the command line (which has ``echo``)."""
    print(printable(text), file=sys.stderr)


def printable_json(raw: bytes) -> bytes:
    """Return a JSON document with the same content, in which no string can steer a terminal."""
    text = raw.decode()
    if text.isascii() and "\x7f" not in text:
        return raw
    return "".join(
        c if c.isprintable() or c == "\n" or _HARMLESS.match(c) else _unit(c) for c in text
    ).encode()


def _unit(character: str) -> str:
    """Return a character as JSON escapes it: one or two units of UTF-16."""
    raw = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{raw[i : i + 2].hex()}" for i in range(0, len(raw), 2))

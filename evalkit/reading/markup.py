"""A reply without the markup that models put around it: ``**yes**``, ``\\(3\\)``, ``<answer>B</answer>``."""

from __future__ import annotations

import re

from evalkit.reading.fold import fold
from evalkit.reading.patterns import regex

_TAGGED = regex(r"<(?:final[_ ]?)?answer>(.*?)(?:</(?:final[_ ]?)?answer>|$)", re.IGNORECASE | re.DOTALL)
_MACRO = regex(r"\\(?:boxed|text|textbf|textit|mbox|mathrm|mathbf)\s*\{([^{}]*)\}")
_NESTED = 4  # levels of macros inside macros
_MARKS = regex(
    r"(?<![A-Za-z0-9*])\*+|\*+(?![A-Za-z0-9*])|\*\*(?!\d)|(?<![\d*])\*\*"
    r"|^```\w+[ \t]*$|`+|\${1,2}|\\[()\[\]]|\\[,;! ]|^[ \t]*(?:#{1,6}|>)[ \t]+"
    r"|(?<!\w)_+(?=\w)|(?<=[\w.!?])_+(?!\w)|~~",
    re.MULTILINE,
)
_TAG = regex(r"</?(?:b|i|u|p|em|strong|span|div|mark|center|br|final[_ ]?answer|answer)\s?/?>", re.IGNORECASE)


def tagged(text: str) -> str:
    """Return the content of the last ``<answer>…</answer>``, or the whole text where there is none."""
    contents = [content for content in _TAGGED.findall(text) if content.strip()] if "<" in text else []
    return contents[-1] if contents else text


def plain(text: str) -> str:
    """Return the folded text of ``tagged`` without emphasis, code marks, headings, LaTeX's marks and tags."""
    text = _TAG.sub("", tagged(fold(text)))
    for _ in range(_NESTED):
        text, changed = _MACRO.subn(r"\1", text)
        if not changed:
            break
    return _MARKS.sub("", text).strip()

"""A reply without the markup that models put around it: ``**yes**``, ``\\(3\\)``, ``<answer>B</answer>``."""

from __future__ import annotations

import re

from evalkit.reading.fold import fold

_TAGGED = re.compile(r"<(?:final[_ ]?)?answer>(.*?)(?:</(?:final[_ ]?)?answer>|$)", re.IGNORECASE | re.DOTALL)
_MACRO = re.compile(r"\\(?:boxed|text|textbf|textit|mbox|mathrm|mathbf)\s*\{([^{}]*)\}")
_MARKS = re.compile(
    r"\*+|`+|\${1,2}|\\[()\[\]]|\\[,;! ]|^[ \t]*(?:#{1,6}|>)[ \t]+|(?<!\w)_+(?=\w)|(?<=[\w.!?])_+(?!\w)|~~",
    re.MULTILINE,
)
_TAG = re.compile(
    r"</?(?:b|i|u|p|em|strong|span|div|mark|center|br|final[_ ]?answer|answer)\s?/?>", re.IGNORECASE
)


def plain(text: str) -> str:
    """Return the text folded (``fold``) and without emphasis, code marks, headings, LaTeX's marks and tags.

    Where the text has an ``<answer>…</answer>``, the content of the last one is returned.
    """
    text = fold(text)
    if "<" in text:
        if (tagged := _TAGGED.findall(text)) and tagged[-1].strip():
            text = tagged[-1]
        text = _TAG.sub("", text)
    return _MARKS.sub("", _MACRO.sub(r"\1", text)).strip()

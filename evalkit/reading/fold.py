"""Text as models and publishers type it, folded to one form before a rule of ours compares it.

The same words reach us with typographic quotes, non-breaking hyphens, full-width letters, decomposed accents
or zero-width characters. Rules that are evalkit's own read ``fold(text)``. The official rules (SQuAD's,
BioASQ's, rouge-score's) read the text as it is.
"""

from __future__ import annotations

import unicodedata

from evalkit.reading.patterns import regex

_QUOTES = dict.fromkeys("‘’‚‛′ʼʹ＇´", "'") | dict.fromkeys("“”„‟″«»＂", '"')
_HYPHENS = dict.fromkeys("‐‑‒–—―−﹣－", "-")
_GONE = dict.fromkeys(  # soft hyphen, zero width, direction marks
    "\u00ad\u200b\u200c\u200d\u2060\ufeff\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)
_OTHERS = {"µ": "μ", "…": "...", "。": ".", "、": ",", "【": "[", "】": "]", "〔": "[", "〕": "]"}
_TABLE = str.maketrans(_QUOTES | _HYPHENS | _GONE | _OTHERS)
_COMPATIBLE = regex("[\uff01-\uff5e\ufb00-\ufb06\u2002-\u200a\u202f\u205f\u3000\u00a0]+")


def fold(text: str) -> str:
    """Return ``text`` with one form for each character that has several.

    Quotes become ``'`` and ``"``, hyphens, dashes and the minus sign ``-``, full-width letters, digits and
    brackets their narrow forms, ``µ`` the Greek ``μ``, ligatures their letters, all spaces inside a line
    ``" "``. Accents are composed (NFC). Soft hyphens, zero-width and direction marks are removed. Case,
    line ends, superscripts and digits of other scripts stay.
    """
    if text.isascii():
        return text
    text = _COMPATIBLE.sub(lambda match: unicodedata.normalize("NFKC", match[0]), text)
    return unicodedata.normalize("NFC", text).translate(_TABLE)

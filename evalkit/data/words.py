"""Words in any script, for overlap measures, search and chunks.

Chinese, Japanese, Thai, Lao, Khmer and Burmese are written without spaces between words, and Korean words are
long compounds. There each character counts as a word, with the vowel signs and tones that belong to it.
"""

from __future__ import annotations

import unicodedata
from itertools import pairwise

from evalkit.reading.patterns import regex

# Han, kana, Hangul, Thai and Lao, Burmese, Hangul's parts, Khmer: ranges inside a character class.
UNSPACED = (
    "々〇\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
    "\u1100-\u11ff\u3131-\u318e\uac00-\ud7a3\u0e01-\u0eff\u1000-\u109f\u1780-\u17ff"
)
MARKS = "".join(chr(c) for c in range(0x300, 0x1B00) if unicodedata.category(chr(c))[0] == "M")
WORD = rf"[^\W_](?:[^\W_]|[{MARKS}])*"

_RUN = regex(rf"(?P<run>(?:[{UNSPACED}][{MARKS}]*)+)|[^\W_{UNSPACED}](?:[^\W_{UNSPACED}]|[{MARKS}])*")
_CHARACTER = regex(rf"[{UNSPACED}][{MARKS}]*")
_SPACED = regex(rf"[{UNSPACED}][{MARKS}]*[^\w\s]*|[^\s{UNSPACED}]+")
_NOT_LATIN = regex(r"[^\W\d_a-zA-Z]")


def words(text: str, *, pairs: bool = False) -> list[str]:
    """Return the words of ``text`` in order; case stays.

    A word is a run of letters and digits. In scripts without spaces each character is one; ``pairs`` adds
    each two neighbouring characters, as search engines index such scripts.
    """
    found: list[str] = []
    for match in _RUN.finditer(text):
        if match["run"] is None:
            found.append(match[0])
            continue
        characters = _CHARACTER.findall(match[0])
        found += characters
        if pairs:
            found += [a + b for a, b in pairwise(characters)]
    return found


def spans(text: str) -> list[tuple[int, int]]:
    """Return start and end of each word with its punctuation: what white space separates, or one character.

    These are the words that a length counts: ``p<0.05`` is one.
    """
    return [match.span() for match in _SPACED.finditer(text)]


def latin_share(text: str) -> float:
    """Return the share of Latin letters among the letters of ``text``; 0 if it has none."""
    letters = sum(map(str.isalpha, text))
    others = sum("LATIN" not in unicodedata.name(c, "") for c in _NOT_LATIN.findall(text) if c.isalpha())
    return (letters - others) / letters if letters else 0.0

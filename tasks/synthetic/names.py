"""Different names of drugs and conditions that do not exist.

A name is a number written in syllables: a one-to-one affine map sends number ``i`` of a literature to another
number, which is spelled out. Each spelling stands for one number (consonants, vowel, one consonant,
consonants, vowel, ending), so different numbers have different names and no list of used names is needed. The
endings are no stems of international nonproprietary names.
"""

from __future__ import annotations

from math import gcd

from evalkit import UsageError

from .chance import Chance


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_ONSETS = _words("b br d dr f g gl h j k kr l m n p r s t v z")
_VOWELS = tuple("aeiou")
_CLOSES = tuple("lmnrsx")
_MIDDLES = tuple("bdfgkmptvz")
_STEMS = (_ONSETS, _VOWELS, _CLOSES, _MIDDLES, _VOWELS)
_DRUG_ENDINGS = _words(
    "drax vorn quell thex bryl zund mosk flirn glynt wixt phorn zelk tharn vusk jelm korv lunth myrz nolg "
    "prask ruvex skeld tolv yrrin"
)
_EPONYM_ENDINGS = _words("rick stad holt wend moor gard feld lund berg combe wick shaw")
_KINDS = _words("syndrome disease neuropathy dermatosis vasculitis myopathy arthropathy colitis")

DRUGS = len(_ONSETS) * len(_VOWELS) ** 2 * len(_CLOSES) * len(_MIDDLES) * len(_DRUG_ENDINGS)
CONDITIONS = len(_ONSETS) * len(_VOWELS) ** 2 * len(_CLOSES) * len(_MIDDLES) * len(_EPONYM_ENDINGS)


class Scatter:
    """A one-to-one map of ``range(size)`` onto itself, ``i -> (a·i + b) mod size``, chosen by the seed."""

    def __init__(self, size: int, *key: int | str) -> None:
        chance = Chance(*key)
        self.size, self._add = size, chance.integer(0, size - 1)
        self._times = chance.integer(size // 5, size - 1)
        while gcd(self._times, size) != 1:
            self._times = chance.integer(size // 5, size - 1)

    def __getitem__(self, index: int) -> int:
        """Return the number that ``index`` is mapped to. Raises ``UsageError`` for an index out of range."""
        if not 0 <= index < self.size:
            raise UsageError(f"a literature has room for {self.size:,} names of a kind; ask for fewer topics")
        return (self._times * index + self._add) % self.size


def _spell(number: int, endings: tuple[str, ...]) -> str:
    pieces = []
    for options in (*_STEMS, endings):
        number, place = divmod(number, len(options))
        pieces.append(options[place])
    return "".join(pieces)


class Names:
    """The names of one literature, by number."""

    def __init__(self, seed: int) -> None:
        self._drugs = Scatter(DRUGS, seed, "drugs")
        self._conditions = Scatter(CONDITIONS, seed, "conditions")

    def drug(self, index: int) -> str:
        """Return a drug's name, in lower case: ``torvadrax``."""
        return _spell(self._drugs[index], _DRUG_ENDINGS)

    def condition(self, index: int) -> str:
        """Return a condition's name: ``Belnirick syndrome``."""
        place = self._conditions[index]
        return f"{_spell(place, _EPONYM_ENDINGS).capitalize()} {_KINDS[place % len(_KINDS)]}"

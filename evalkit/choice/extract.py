"""Reading a choice out of a reply: all extractors by their id, which is stored with the score.

An extractor never guesses. A reply that names no option, or two options, is *unparsed*: no choice, score 0.

    letter      our rule: letter_v2.py says what it reads
    mirage      the rule of MIRAGE's published scores, with its flaws, for comparison
    mmmu_pro    the rule of MMMU-Pro's published scores, likewise

A changed rule gets a new version. Former versions stay available by their id (``letter.v1``).
"""

from __future__ import annotations

from evalkit.choice import letter_v1, letter_v2
from evalkit.choice.extractor import Extractor, Reading
from evalkit.choice.published import mirage_v1, mirage_v2, mmmu_pro_v1
from evalkit.errors import UsageError, did_you_mean

__all__ = ["EXTRACTORS", "Extractor", "Reading", "extractor", "letter", "mirage", "mmmu_pro"]

letter = Extractor("letter", 2, letter_v2.read)
mirage = Extractor("mirage", 2, mirage_v2)
mmmu_pro = Extractor("mmmu_pro", 1, mmmu_pro_v1)
_FORMER = (Extractor("letter", 1, letter_v1.read), Extractor("mirage", 1, mirage_v1))
EXTRACTORS = {extractor.id: extractor for extractor in (*_FORMER, letter, mirage, mmmu_pro)}


def extractor(name: str) -> Extractor:
    """Return an extractor by its id (``letter.v1``), or the newest by its name. Raises ``UsageError``."""
    newest = {e.name: e for e in EXTRACTORS.values()}
    if (match := EXTRACTORS.get(name) or newest.get(name)) is None:
        raise UsageError(
            f"no extractor {name!r}.{did_you_mean(name, EXTRACTORS)} Known: {', '.join(EXTRACTORS)}."
        )
    return match

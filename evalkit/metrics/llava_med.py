"""LLaVA-Med's recall of open questions about pictures, by the rule of its own evaluation program.

Source: Li et al. 2023, ``calculate_f1score`` and ``normalize_word`` of LLaVA-Med's ``llava/eval``; the
normalization is that of the VQA challenge (Antol et al. 2015).
"""

from __future__ import annotations

from collections import Counter

from evalkit.metric import Metric
from evalkit.reading.patterns import regex
from evalkit.types import Answer, Sample

_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_GROUPED = regex(r"\d,\d")
_PERIOD = regex(r"\.(?!\d)")
_MOST_PERIODS = 32  # the program passes a flag of that value as the number of replacements
_NUMBERS = "zero one two three four five six seven eight nine ten"
_ARTICLES = ("a", "an", "the")
# Contractions that get their apostrophe back when it is missing.
_SHORT = """ain't aren't can't could've couldn't didn't doesn't don't hadn't hasn't haven't he'd he's how'd
    how'll how's isn't it'd it'll ma'am mightn't might've mustn't must've needn't not've o'clock oughtn't
    shan't should've shouldn't somebody'll somebody's someone'd someone'll someone's something'd something'll
    that's there'd there're there's they'd they'll they're they've 'twas wasn't we've weren't what'll what're
    what's what've when's where'd where's where've who'd who'll who's who've why'll why're why's won't
    would've wouldn't y'all you'd you'll you're you've"""
# … and those of several apostrophes, where one of them is missing.
_LONG = """couldn't've hadn't've he'd've it'd've mightn't've she'd've shouldn't've somebody'd've someone'd've
    something'd've there'd've they'd've we'd've who'd've wouldn't've y'all'll y'all'd've you'd've"""


def _number_words() -> dict[str, str]:
    return {word: str(n) for n, word in enumerate(_NUMBERS.split())} | {"none": "0"}


def _contractions() -> dict[str, str]:
    table = {whole.replace("'", ""): whole for whole in _SHORT.split()}
    for whole in _LONG.split():
        marks = (place for place, character in enumerate(whole) if character == "'")
        table |= {whole[:place] + whole[place + 1 :]: whole for place in marks}
    table |= dict.fromkeys(("ow's'at", "'ows'at", "'ow'sat"), "'ow's'at")
    return table | {"somebody'd": "somebodyd"}  # as it stands in the program


_DIGITS, _CONTRACTIONS = _number_words(), _contractions()


def normalize_vqa(text: str) -> str:
    """Return a text in the form in which the VQA challenge's program compares texts."""
    grouped, kept = _GROUPED.search(text) is not None, text
    for mark in _PUNCTUATION:
        beside_space = f"{mark} " in text or f" {mark}" in text
        kept = kept.replace(mark, "" if beside_space or grouped else " ")
    kept = _PERIOD.sub("", kept, count=_MOST_PERIODS)
    words = (_DIGITS.get(word, word) for word in kept.lower().split())
    return " ".join(_CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES).replace(",", "")


def llava_med_recall() -> Metric:
    """Return ``llava_med_recall``: LLaVA-Med's recall of an open question; the best reference counts.

    Words of the reply that the reference holds / (those + words of the reference that the reply lacks), after
    the normalization of the VQA challenge. A word that the reply repeats counts each time, so that repeating
    a right word raises the value: ``token_recall`` does not have this flaw.
    """
    return Metric("llava_med_recall", _recall, help="LLaVA-Med's recall of the reference's words")


def _recall(sample: Sample, answer: Answer) -> float | None:
    references = [target for target in sample.targets if target.strip()]
    if not references:
        return None
    said = _words(answer.reply)
    return max(_of_one(said, _words(reference)) for reference in references)


def _words(text: str) -> Counter[str]:
    return Counter(normalize_vqa(normalize_vqa(text.lower())).split())  # the program normalizes twice


def _of_one(said: Counter[str], wanted: Counter[str]) -> float:
    hits = sum(n for word, n in said.items() if word in wanted)
    return hits / (hits + sum(n for word, n in wanted.items() if word not in said)) if hits else 0.0

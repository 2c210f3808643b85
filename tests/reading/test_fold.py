"""The forms in which models type the same text."""

import unicodedata

import pytest

from evalkit.reading.fold import fold


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("don’t", "don't"),
        ("“yes”", '"yes"'),
        ("IL\u20116 in COVID\u201119", "IL-6 in COVID-19"),
        ("−5 °C", "-5 °C"),
        (unicodedata.normalize("NFD", "Sjögren, Ménière"), "Sjögren, Ménière"),
        ("5 \u00b5M", "5 \u03bcM"),
        ("（Ｂ）：１２", "(B):12"),
        ("5\u202f000\u00a0mg", "5 000 mg"),
        ("e\ufb03cacy", "efficacy"),
        ("\ufeffin\u00adsu\u200blin", "insulin"),
        ("【1】", "[1]"),
    ],
)
def test_one_form_for_each_character(typed: str, meant: str) -> None:
    assert fold(typed) == meant


def test_superscripts_and_lines_stay() -> None:
    assert fold("10⁶ cells\nDé") == "10⁶ cells\nDé"

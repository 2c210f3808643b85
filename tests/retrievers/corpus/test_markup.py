"""Inline markup of abstracts as plain text: numbers stay the numbers that they were."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from evalkit_retrievers.corpus.corpus import Corpus
from evalkit_retrievers.corpus.markup import plain, text_of

from tests.retrievers.conftest import Write

MARKED = [
    ("10<sup>6</sup> cells", "10^6 cells"),
    ("10 <sup>-5</sup> M", "10^-5 M"),
    ("1.2 × 10<i><sup>9</sup></i>/L", "1.2 × 10^9/L"),
    ("(2 × 3)<sup>2</sup>", "(2 × 3)^2"),
    ("2<sup>-ΔΔCt</sup>", "2^-ΔΔCt"),
    ("it was cured.<sup>12</sup>", "it was cured.^12"),
    ("vitamin D<sub>3</sub> and IC<sub>50</sub>", "vitamin D3 and IC50"),
    ("C<sub>max</sub> and 5-HT<sub>1A</sub>", "Cmax and 5-HT1A"),
    ("Ca<sup>2+</sup> and NO<sub>3</sub><sup>-</sup>", "Ca2+ and NO3-"),
    ("SO<sub>4</sub><sup>2-</sup>", "SO4^2-"),
    ("1011<sub>2</sub>", "1011_2"),
    ("30 kg/m<sup>2</sup>, 5 min<sup>-1</sup>", "30 kg/m2, 5 min-1"),
    ("[<sup>18</sup>F]FDG, <sup>99m</sup>Tc, 10 <sup>131</sup>I scans", "[18F]FDG, 99mTc, 10 131I scans"),
    ("the 2<sup>nd</sup> of CD4<sup>+</sup> p53<sup>-/-</sup>", "the 2nd of CD4+ p53-/-"),
    ("10(6) and 10⁶ stay", "10(6) and 10⁶ stay"),
]


@pytest.mark.parametrize(("marked", "text"), MARKED)
def test_a_superscript_never_makes_another_number(marked: str, text: str) -> None:
    assert plain(marked) == text
    assert text_of(ElementTree.fromstring(f"<AbstractText>{marked}</AbstractText>")) == text


def test_tags_of_other_publishers_are_left_out() -> None:
    assert plain("<b>AIM</b>: Zinc.<br><b>RESULTS</b>: 10<SUP>12</SUP>/L") == "AIM: Zinc. RESULTS: 10^12/L"
    assert plain(
        "<jats:p>10<jats:sup>6</jats:sup> <jats:italic toggle='yes'>E. coli</jats:italic></jats:p>"
    ) == ("10^6 E. coli")


@pytest.mark.parametrize(
    "text", ["p<0.05 and b>3", "a <b and c> d", "if x <i, then y> 2", "5 < 6", "<unknown>"]
)
def test_what_is_no_tag_stays(text: str) -> None:
    assert plain(text) == text


def test_an_open_superscript_keeps_its_mark() -> None:
    assert plain("10<sup>6 cells") == "10^6 cells"


def test_formulas_in_mathml_are_read_as_a_line() -> None:
    formula = """<AbstractText>at <mml:math xmlns:mml="http://www.w3.org/1998/Math/MathML"><mml:semantics>
      <mml:mrow><mml:msup><mml:mn>10</mml:mn><mml:mrow><mml:mo>-</mml:mo><mml:mn>6</mml:mn></mml:mrow></mml:msup>
      <mml:mo>+</mml:mo><mml:mfrac><mml:mn>1</mml:mn><mml:msub><mml:mi>V</mml:mi><mml:mi>max</mml:mi></mml:msub>
      </mml:mfrac></mml:mrow><mml:annotation>10^{-6}</mml:annotation></mml:semantics></mml:math> M
      </AbstractText>"""
    assert text_of(ElementTree.fromstring(formula)) == "at 10^-6+ 1/(Vmax) M"


def test_markup_in_json_lines_is_read_alike(write: Write) -> None:
    path = write([{"id": "1", "title": "D<sub>3</sub>", "text": "At 10<sup>6</sup>."}])
    (document,) = Corpus(path)
    assert (document.title, document.text) == ("D3", "At 10^6.")

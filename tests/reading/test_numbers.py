"""Numbers as people and models write them: read whole, or not at all."""

from __future__ import annotations

from decimal import Decimal

import pytest

from evalkit.reading.numbers import find_numbers, only_number, quantity


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        # thousands marks and decimal marks
        ("1,204 or 1204 people", ["1204", "1204"]),
        ("1\u2009204 and 12\u202f345\u00a0678 people, 1 500 mL", ["1204", "12345678", "1500"]),
        ("1'500 and 1,50,000 and $1,500.50", ["1500", "150000", "1500.50"]),
        ("1.500.000 and 1.500,25", ["1500000", "1500.25"]),
        ("1{,}500 or 1\\,500", ["1500", "1500"]),
        ("2019 500 patients", ["2019", "500"]),
        ("0.71, .71 and 0·71", ["0.71", "0.71", "0.71"]),
        ("0,05 and 3,5 mg", ["0.05", "3.5"]),
        ("grade 3,4 toxicity [1,2,3]", ["3", "4", "1", "2", "3"]),
        ("0.0000042 and 0.98765432", ["0.0000042", "0.98765432"]),
        # signs and ranges
        ("−3.5 to -1.2, (−0.5)", ["-3.5", "-1.2", "-0.5"]),
        ("0.60-0.84, 0.60–0.84, (0.60,0.84), 20±3", ["0.60", "0.84"] * 3 + ["20", "3"]),
        # exponents
        ("1.2×10⁻⁵, 1.2e-5, 1.2E-05, 1.2 x 10^-5, 1.2 × 10-5", ["0.000012"] * 5),
        ("1.2 \\times 10^{-5}, 1.2·10⁻⁵, 1.2×10<sup>−5</sup>, 1.2 x10(-5), 1.2*10**-5", ["0.000012"] * 5),
        ("10⁶ 10^6 10<sup>6</sup> 10(6) 10^{6} 1e6", ["1000000"] * 6),
        ("10 (6), 2010;10(6):123", ["10", "6", "2010", "10", "6", "123"]),
        ("1.2 million and 3 hundred", ["1200000", "300"]),
        # units
        ("1.5cm, 20mg, 12.5% and 3 cm2", ["1.5", "20", "12.5", "3"]),
        ("p < .05, n=402, 84/402", ["0.05", "402", "84", "402"]),
        ("２１ and 共3个", ["21", "3"]),
        # no numbers
        ("VRN-04412345, IL-6, CYP3A4, x3y and 0x1F", []),
        ("the 3rd ventricle in version 1.2.3", []),
        ("50²³", []),
        ("9" * 40, []),
        ("1e400, 10^99 and 1e-300", ["1e-300"]),
    ],
)
def test_numbers_in_digits(text: str, numbers: list[str]) -> None:
    assert find_numbers(text) == [Decimal(number) for number in numbers]


def test_the_number_of_decimals_is_kept() -> None:
    assert [n.as_tuple().exponent for n in find_numbers("1.20, 1.2 million, 2 million, 10^6")] == [
        -2,
        5,
        0,
        0,
    ]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("3", 3),
        ("three (3) cells", 3),
        ("twenty-one", 21),
        ("twenty one", 21),
        ("one hundred", 100),
        ("a hundred and five", 105),
        ("nineteen hundred", 1900),
        ("two million five hundred thousand", 2_500_000),
        ("one thousand and one", 1001),
        ("two and a half", 2.5),
        ("zero", 0),
        ("one", 1),
        ("1.5cm", 1.5),
        ("1,500mL", 1500),
        ("1,5 cm", 1.5),
        ("−5", -5),
        ("5.", 5),
        ("about 5", 5),
        ("not 3 but 4", 4),
        ("There are 3, not 4.", 3),
        ("2 × 10^6", 2_000_000),
        ("2 × 10 ^ 6", 2_000_000),
        ("minus five", -5),
        ("negative 3", -3),
        ("3½", 3.5),
    ],
)
def test_the_only_number(text: str, number: float) -> None:
    assert only_number(text) == Decimal(str(number))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "many",
        "1 or 2",
        "one or two",
        "2-3",
        "3/4",
        "3/3",
        "12:30",
        "1,5",
        "5²",
        "3⅓",
        "1.5M",
        "20k",
        "one third",
        "three-quarters",
        "twenty-first",
        "two dozen",
        "a dozen",
        "more than 3",
        "at least 5",
        "<5",
        "3+",
        "5 or more",
        "the wrong answer is 3",
        "One cannot say",
        "no one",
        "x3y",
        "1 " * 1000,
    ],
)
def test_no_only_number(text: str) -> None:
    assert only_number(text) is None


def test_a_quantity_is_a_number_and_its_unit() -> None:
    texts = ("1,500 mL", "96 cm", "−5", "24 square inches", "36 degrees", "40%", "twenty-one", "3 cm²")
    assert [quantity(text) for text in texts] == [
        Decimal(n) for n in ("1500", "96", "-5", "24", "36", "40", "21", "3")
    ]
    for text in ("x+3", "3x", "3 or 4", "about 3 in the end of it", "a 3", ""):
        assert quantity(text) is None


@pytest.mark.parametrize(
    "unit",
    [
        "1",
        "1,",
        "1.",
        "1 000 ",
        "-",
        "1-",
        "one ",
        "hundred ",
        "one hundred and ",
        "a-1",
        "9e9",
        "10^",
        "⁻",
        "x1",
    ],
)
def test_hostile_text_is_read(unit: str) -> None:
    find_numbers(unit * (100_000 // len(unit)))
    only_number(unit * (100_000 // len(unit)))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5 mm^3", "5"),
        ("25 kg/m^2", "25"),
        ("a reduction ×10 days", "10"),
        ("5.2 ×10−3", "0.0052"),
        ("five point two five", "5.25"),
        ("twenty-one point zero five", "21.05"),
    ],
)
def test_a_unit_s_exponent_a_product_sign_and_spoken_decimals_are_read_whole(text: str, value: str) -> None:
    assert only_number(text) == Decimal(value)

"""What requests of ``function_calling`` state: each detail draws arguments of a call, and their words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from .chance import Chance

Drawn = tuple[dict[str, Any], str]
"""Arguments, and the words that state them."""


class Detail(Struct, frozen=True):
    """One thing that a request states, if it is ``required`` or differs from the default."""

    draw: Callable[[Chance], Drawn]
    required: bool = True


MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
DRUGS = (
    "amikacin",
    "apixaban",
    "clarithromycin",
    "enoxaparin",
    "fluconazole",
    "gentamicin",
    "lithium",
    "methotrexate",
    "phenytoin",
    "simvastatin",
    "vancomycin",
    "warfarin",
)
TESTS = {
    "haemoglobin": "haemoglobin",
    "creatinine": "creatinine",
    "potassium": "potassium",
    "hba1c": "HbA1c",
    "crp": "C-reactive protein",
    "tsh": "thyroid-stimulating hormone",
    "alt": "alanine aminotransferase",
}
DEPARTMENTS = ("cardiology", "dermatology", "nephrology", "neurology", "orthopaedics", "radiology")
CONDITIONS = ("asthma", "gout", "heart failure", "multiple sclerosis", "psoriasis", "type 2 diabetes")
COUNTRIES = ("Brazil", "Canada", "Denmark", "India", "Japan", "Kenya")


def tenths(chance: Chance, low: int, high: int) -> int | float:
    """Return a number of tenths from ``low`` to ``high``; a whole number as an integer, as JSON has it."""
    value = chance.integer(low, high)
    return value // 10 if value % 10 == 0 else value / 10


def age(chance: Chance) -> Drawn:
    """Return an age in years."""
    age = chance.integer(19, 92)
    return {"age_years": age}, f"{age} years old"


def sex(chance: Chance) -> Drawn:
    """Return a sex."""
    sex = chance.choice(("female", "male"))
    return {"sex": sex}, "a woman" if sex == "female" else "a man"


def weight(chance: Chance) -> Drawn:
    """Return a body weight in one of two units."""
    if chance.happens(0.5):
        value = tenths(chance, 450, 1200)
        return {"weight": value, "weight_unit": "kg"}, f"body weight {value} kilograms"
    value = tenths(chance, 1000, 2600)
    return {"weight": value, "weight_unit": "lb"}, f"body weight {value} pounds"


def creatinine(chance: Chance) -> Drawn:
    """Return a serum creatinine in one of two units."""
    if chance.happens(0.5):
        value: int | float = chance.integer(55, 320)
        given = {"serum_creatinine": value, "creatinine_unit": "umol/L"}
        return given, f"serum creatinine {value} micromoles per litre"
    value = tenths(chance, 6, 38)
    given = {"serum_creatinine": value, "creatinine_unit": "mg/dL"}
    return given, f"serum creatinine {value} milligrams per decilitre"


def height(chance: Chance) -> Drawn:
    """Return a height, in words also in metres."""
    value = chance.integer(148, 199)
    if chance.happens(0.3):
        return {"height_cm": value}, f"1.{value % 100:02d} metres tall"
    return {"height_cm": value}, f"{value} centimetres tall"


def patient(chance: Chance) -> Drawn:
    """Return a patient's record number."""
    number = f"P-{chance.integer(1000, 9999)}"
    return {"patient_id": number}, f"record number {number}"


def drug(chance: Chance) -> Drawn:
    """Return the name of a drug."""
    name = chance.choice(DRUGS)
    return {"drug": name}, f"the drug is {name}"


def date(name: str, words: str) -> Callable[[Chance], Drawn]:
    """Return a detail with one day, in words such as 3 March 2024."""

    def draw(chance: Chance) -> Drawn:
        year, month, day = chance.integer(2021, 2024), chance.integer(1, 12), chance.integer(1, 28)
        return {name: f"{year}-{month:02d}-{day:02d}"}, f"{words} {day} {MONTHS[month - 1]} {year}"

    return draw


def measure(
    name: str, words: str, low: int, high: int, *, decimal: bool = False
) -> Callable[[Chance], Drawn]:
    """Return a detail with one number; ``words`` has ``{}`` where it is stated.

    ``decimal``: ``low`` and ``high`` are in tenths.
    """

    def draw(chance: Chance) -> Drawn:
        value = tenths(chance, low, high) if decimal else chance.integer(low, high)
        return {name: value}, words.format(value)

    return draw


def pick(name: str, words: str, options: Mapping[Any, str]) -> Callable[[Chance], Drawn]:
    """Return a detail with one of the options: argument values, each with its wording."""

    def draw(chance: Chance) -> Drawn:
        value = chance.choice(list(options))
        return {name: value}, words.format(options[value])

    return draw


def named(*values: str) -> dict[str, str]:
    """Return options whose wording is the value itself."""
    return {value: value for value in values}


def subset(
    name: str, words: str, options: Mapping[str, str], low: int, high: int
) -> Callable[[Chance], Drawn]:
    """Return a detail with ``low`` to ``high`` of the options, in random order."""

    def draw(chance: Chance) -> Drawn:
        left = list(options)
        chosen = [
            left.pop(chance.integer(0, len(left) - 1)) for _ in range(min(high, chance.integer(low, high)))
        ]
        spoken = [options[value] for value in chosen]
        return {name: chosen}, words.format(", ".join(spoken[:-1]) + f" and {spoken[-1]}")

    return draw


def convert(chance: Chance) -> Drawn:
    """Return a value with its unit and the unit wanted."""
    analyte, low, high, (first, first_words), (second, second_words) = chance.choice(_CONVERSIONS)
    value = tenths(chance, low, high)
    given = {"analyte": analyte, "value": value, "from_unit": first, "to_unit": second}
    return given, f"{analyte} of {value} {first_words}, wanted in {second_words}"


_CONVERSIONS = (
    ("glucose", 35, 240, ("mmol/L", "millimoles per litre"), ("mg/dL", "milligrams per decilitre")),
    ("cholesterol", 1200, 3200, ("mg/dL", "milligrams per decilitre"), ("mmol/L", "millimoles per litre")),
    ("calcium", 80, 130, ("mg/dL", "milligrams per decilitre"), ("mmol/L", "millimoles per litre")),
    ("creatinine", 600, 3000, ("umol/L", "micromoles per litre"), ("mg/dL", "milligrams per decilitre")),
)
UNITS = ("mmol/L", "umol/L", "mg/dL")

"""The functions of ``function_calling``: a clinic's calculators, records and bookings.

A function is a JSON schema and the details of a request: each detail draws one or two arguments and their
wording. Units and dates are words in the question and codes in the schema.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from evalkit.types import Tool

from .chance import Chance

Schema = dict[str, Any]
Drawn = tuple[dict[str, Any], str]
"""Arguments, and the words that state them."""


class Detail(Struct, frozen=True):
    """One thing that a request states, if it is ``required`` or differs from the default."""

    draw: Callable[[Chance], Drawn]
    required: bool = True


class Function(Struct, frozen=True):
    """A function, the request for it, and its details. Functions of one ``family`` are easily confused."""

    tool: Tool
    family: str
    ask: str
    details: tuple[Detail, ...]


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
_PATIENT = {"type": "string", "description": "The patient's record number, such as P-1234."}
_DATE = {"type": "string", "format": "date", "description": "A date as YYYY-MM-DD."}


def _schema(required: str, **properties: Schema) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": required.split(),
        "additionalProperties": False,
    }


def _number(description: str, kind: str = "number") -> Schema:
    return {"type": kind, "description": description}


def _one_of(*values: str, default: str = "") -> Schema:
    return {"type": "string", "enum": list(values), **({"default": default} if default else {})}


def _several(items: Schema) -> Schema:
    return {"type": "array", "items": items, "minItems": 1, "uniqueItems": True}


_WEIGHT_UNIT, _SEX = _one_of("kg", "lb"), _one_of("female", "male")
_CREATININE_UNIT = _one_of("mg/dL", "umol/L")


def _tenths(chance: Chance, low: int, high: int) -> int | float:
    """Return a number of tenths from ``low`` to ``high``; a whole number as an integer, as JSON has it."""
    value = chance.integer(low, high)
    return value // 10 if value % 10 == 0 else value / 10


def _age(chance: Chance) -> Drawn:
    age = chance.integer(19, 92)
    return {"age_years": age}, f"{age} years old"


def _sex(chance: Chance) -> Drawn:
    sex = chance.choice(("female", "male"))
    return {"sex": sex}, "a woman" if sex == "female" else "a man"


def _weight(chance: Chance) -> Drawn:
    if chance.happens(0.5):
        value = _tenths(chance, 450, 1200)
        return {"weight": value, "weight_unit": "kg"}, f"body weight {value} kilograms"
    value = _tenths(chance, 1000, 2600)
    return {"weight": value, "weight_unit": "lb"}, f"body weight {value} pounds"


def _creatinine(chance: Chance) -> Drawn:
    if chance.happens(0.5):
        value: int | float = chance.integer(55, 320)
        given = {"serum_creatinine": value, "creatinine_unit": "umol/L"}
        return given, f"serum creatinine {value} micromoles per litre"
    value = _tenths(chance, 6, 38)
    given = {"serum_creatinine": value, "creatinine_unit": "mg/dL"}
    return given, f"serum creatinine {value} milligrams per decilitre"


def _height(chance: Chance) -> Drawn:
    value = chance.integer(148, 199)
    if chance.happens(0.3):
        return {"height_cm": value}, f"1.{value % 100:02d} metres tall"
    return {"height_cm": value}, f"{value} centimetres tall"


def _patient(chance: Chance) -> Drawn:
    number = f"P-{chance.integer(1000, 9999)}"
    return {"patient_id": number}, f"record number {number}"


def _drug(chance: Chance) -> Drawn:
    name = chance.choice(DRUGS)
    return {"drug": name}, f"the drug is {name}"


def _date(name: str, words: str) -> Callable[[Chance], Drawn]:
    def draw(chance: Chance) -> Drawn:
        year, month, day = chance.integer(2021, 2024), chance.integer(1, 12), chance.integer(1, 28)
        return {name: f"{year}-{month:02d}-{day:02d}"}, f"{words} {day} {MONTHS[month - 1]} {year}"

    return draw


def _measure(name: str, words: str, low: int, high: int, tenths: bool = False) -> Callable[[Chance], Drawn]:
    """Return a detail with one number; ``words`` has ``{}`` where it is stated."""

    def draw(chance: Chance) -> Drawn:
        value = _tenths(chance, low, high) if tenths else chance.integer(low, high)
        return {name: value}, words.format(value)

    return draw


def _pick(name: str, words: str, options: Mapping[Any, str]) -> Callable[[Chance], Drawn]:
    """Return a detail with one of the options: argument values, each with its wording."""

    def draw(chance: Chance) -> Drawn:
        value = chance.choice(list(options))
        return {name: value}, words.format(options[value])

    return draw


def _named(*values: str) -> dict[str, str]:
    return {value: value for value in values}


def _subset(
    name: str, words: str, options: Mapping[str, str], low: int, high: int
) -> Callable[[Chance], Drawn]:
    def draw(chance: Chance) -> Drawn:
        left = list(options)
        chosen = [
            left.pop(chance.integer(0, len(left) - 1)) for _ in range(min(high, chance.integer(low, high)))
        ]
        spoken = [options[value] for value in chosen]
        return {name: chosen}, words.format(", ".join(spoken[:-1]) + f" and {spoken[-1]}")

    return draw


def _convert(chance: Chance) -> Drawn:
    analyte, low, high, (first, first_words), (second, second_words) = chance.choice(_CONVERSIONS)
    value = _tenths(chance, low, high)
    given = {"analyte": analyte, "value": value, "from_unit": first, "to_unit": second}
    return given, f"{analyte} of {value} {first_words}, wanted in {second_words}"


_CONVERSIONS = (
    ("glucose", 35, 240, ("mmol/L", "millimoles per litre"), ("mg/dL", "milligrams per decilitre")),
    ("cholesterol", 1200, 3200, ("mg/dL", "milligrams per decilitre"), ("mmol/L", "millimoles per litre")),
    ("calcium", 80, 130, ("mg/dL", "milligrams per decilitre"), ("mmol/L", "millimoles per litre")),
    ("creatinine", 600, 3000, ("umol/L", "micromoles per litre"), ("mg/dL", "milligrams per decilitre")),
)
_UNITS = ("mmol/L", "umol/L", "mg/dL")


def _function(name: str, family: str, does: str, ask: str, schema: Schema, *details: Detail) -> Function:
    return Function(Tool(name, does, schema), family, ask, details)


def _optional(draw: Callable[[Chance], Drawn]) -> Detail:
    return Detail(draw, required=False)


_LISTED = (
    _function(
        "creatinine_clearance",
        "kidney",
        "Estimate creatinine clearance by the Cockcroft-Gault formula.",
        "Work out the creatinine clearance by Cockcroft and Gault",
        _schema(
            "age_years sex weight weight_unit serum_creatinine creatinine_unit",
            age_years=_number("Age in years.", "integer"),
            sex=_SEX,
            weight=_number("Body weight."),
            weight_unit=_WEIGHT_UNIT,
            serum_creatinine=_number("Serum creatinine."),
            creatinine_unit=_CREATININE_UNIT,
        ),
        Detail(_age),
        Detail(_sex),
        Detail(_weight),
        Detail(_creatinine),
    ),
    _function(
        "estimated_gfr",
        "kidney",
        "Estimate the glomerular filtration rate from serum creatinine.",
        "Estimate the glomerular filtration rate",
        _schema(
            "age_years sex serum_creatinine creatinine_unit",
            age_years=_number("Age in years.", "integer"),
            sex=_SEX,
            serum_creatinine=_number("Serum creatinine."),
            creatinine_unit=_CREATININE_UNIT,
            equation=_one_of("ckd_epi_2021", "mdrd", default="ckd_epi_2021"),
        ),
        Detail(_age),
        Detail(_sex),
        Detail(_creatinine),
        _optional(_pick("equation", "by the {} equation", {"mdrd": "MDRD"})),
    ),
    _function(
        "weight_based_dose",
        "dose",
        "Compute a single dose from body weight.",
        "Compute the single dose by body weight",
        _schema(
            "drug dose_mg_per_kg weight weight_unit",
            drug={"type": "string", "description": "The drug's generic name."},
            dose_mg_per_kg=_number("Dose in mg per kg of body weight."),
            weight=_number("Body weight."),
            weight_unit=_WEIGHT_UNIT,
            maximum_mg=_number("Upper limit of the dose in mg; without it there is none."),
        ),
        Detail(_drug),
        Detail(_measure("dose_mg_per_kg", "{} milligrams per kilogram", 5, 150, tenths=True)),
        Detail(_weight),
        _optional(_measure("maximum_mg", "not more than {} milligrams", 200, 1500)),
    ),
    _function(
        "infusion_rate",
        "dose",
        "Compute the rate of an infusion in mL per hour.",
        "Compute the infusion rate",
        _schema(
            "drug dose_mcg_per_kg_min weight weight_unit concentration_mg_per_ml",
            drug={"type": "string", "description": "The drug's generic name."},
            dose_mcg_per_kg_min=_number("Dose in micrograms per kg and minute."),
            weight=_number("Body weight."),
            weight_unit=_WEIGHT_UNIT,
            concentration_mg_per_ml=_number("Concentration of the solution in mg per mL."),
        ),
        Detail(_drug),
        Detail(_measure("dose_mcg_per_kg_min", "{} micrograms per kilogram and minute", 5, 200, tenths=True)),
        Detail(_weight),
        Detail(
            _measure(
                "concentration_mg_per_ml", "a solution of {} milligrams per millilitre", 2, 100, tenths=True
            )
        ),
    ),
    _function(
        "body_surface_area",
        "body",
        "Compute the body surface area in square metres.",
        "Compute the body surface area",
        _schema(
            "height_cm weight weight_unit",
            height_cm=_number("Height in centimetres."),
            weight=_number("Body weight."),
            weight_unit=_WEIGHT_UNIT,
            formula=_one_of("mosteller", "du_bois", "haycock", default="mosteller"),
        ),
        Detail(_height),
        Detail(_weight),
        _optional(_pick("formula", "by the formula of {}", {"du_bois": "Du Bois", "haycock": "Haycock"})),
    ),
    _function(
        "body_mass_index",
        "body",
        "Compute the body mass index.",
        "Compute the body mass index",
        _schema(
            "height_cm weight weight_unit",
            height_cm=_number("Height in centimetres."),
            weight=_number("Body weight."),
            weight_unit=_WEIGHT_UNIT,
        ),
        Detail(_height),
        Detail(_weight),
    ),
    _function(
        "anion_gap",
        "electrolytes",
        "Compute the anion gap in mmol/L; potassium counts only if it is given.",
        "Compute the anion gap",
        _schema(
            "sodium chloride bicarbonate",
            sodium=_number("Sodium in mmol/L."),
            chloride=_number("Chloride in mmol/L."),
            bicarbonate=_number("Bicarbonate in mmol/L."),
            potassium=_number("Potassium in mmol/L."),
        ),
        Detail(_measure("sodium", "sodium {}", 122, 152)),
        Detail(_measure("chloride", "chloride {}", 88, 116)),
        Detail(_measure("bicarbonate", "bicarbonate {}", 9, 31)),
        _optional(_measure("potassium", "potassium included, at {}", 26, 64, tenths=True)),
    ),
    _function(
        "corrected_calcium",
        "electrolytes",
        "Correct total calcium for albumin.",
        "Correct the calcium for albumin",
        _schema(
            "calcium_mg_per_dl albumin_g_per_dl",
            calcium_mg_per_dl=_number("Total calcium in mg/dL."),
            albumin_g_per_dl=_number("Albumin in g/dL."),
        ),
        Detail(_measure("calcium_mg_per_dl", "calcium {} milligrams per decilitre", 68, 129, tenths=True)),
        Detail(_measure("albumin_g_per_dl", "albumin {} grams per decilitre", 14, 48, tenths=True)),
    ),
    _function(
        "corrected_qt",
        "heart",
        "Correct the QT interval for the heart rate.",
        "Correct the QT interval",
        _schema(
            "qt_ms heart_rate",
            qt_ms=_number("QT interval in milliseconds.", "integer"),
            heart_rate=_number("Beats per minute.", "integer"),
            formula=_one_of("bazett", "fridericia", "framingham", default="bazett"),
        ),
        Detail(_measure("qt_ms", "QT {} milliseconds", 340, 520)),
        Detail(_measure("heart_rate", "{} beats per minute", 46, 128)),
        _optional(
            _pick(
                "formula",
                "by the {} formula",
                {"fridericia": "Fridericia", "framingham": "Framingham"},
            )
        ),
    ),
    _function(
        "lab_results",
        "laboratory",
        "Look up a patient's results of one laboratory test.",
        "Look up the laboratory results",
        _schema(
            "patient_id test",
            patient_id=_PATIENT,
            test=_one_of(*TESTS),
            from_date=_DATE,
            to_date=_DATE,
        ),
        Detail(_patient),
        Detail(_pick("test", "the test is {}", TESTS)),
        _optional(_date("from_date", "starting from")),
    ),
    _function(
        "order_lab_tests",
        "laboratory",
        "Order one or more laboratory tests for a patient.",
        "Order laboratory tests",
        _schema(
            "patient_id tests",
            patient_id=_PATIENT,
            tests=_several(_one_of(*TESTS)),
            priority=_one_of("routine", "urgent", "stat", default="routine"),
        ),
        Detail(_patient),
        Detail(_subset("tests", "the tests are {}", TESTS, 2, 4)),
        _optional(_pick("priority", "with the priority {}", _named("urgent", "stat"))),
    ),
    _function(
        "book_appointment",
        "bookings",
        "Book an appointment in a department.",
        "Book an appointment",
        _schema(
            "patient_id department date",
            patient_id=_PATIENT,
            department=_one_of(*DEPARTMENTS),
            date=_DATE,
            minutes={**_number("Length in minutes.", "integer"), "default": 30},
        ),
        Detail(_patient),
        Detail(_pick("department", "the department is {}", _named(*DEPARTMENTS))),
        Detail(_date("date", "the day is")),
        _optional(_pick("minutes", "for {} minutes", {20: "20", 45: "45", 60: "60"})),
    ),
    _function(
        "drug_interactions",
        "drugs",
        "Check two or more drugs for interactions.",
        "Check for interactions",
        _schema("drugs", drugs=_several({"type": "string", "description": "A generic name."})),
        Detail(_subset("drugs", "the drugs are {}", _named(*DRUGS), 2, 3)),
    ),
    _function(
        "current_medicines",
        "drugs",
        "List a patient's medicines.",
        "List the medicines of a patient",
        _schema(
            "patient_id",
            patient_id=_PATIENT,
            include_stopped={"type": "boolean", "default": False, "description": "Also stopped ones."},
        ),
        Detail(_patient),
        _optional(_pick("include_stopped", "{}", {True: "including medicines that were stopped"})),
    ),
    _function(
        "find_trials",
        "trials",
        "Find clinical trials.",
        "Find clinical trials",
        _schema(
            "condition",
            condition={"type": "string", "description": "The condition in English, in lower case."},
            phase={"type": "integer", "enum": [1, 2, 3, 4]},
            country={"type": "string", "description": "The country's name in English."},
        ),
        Detail(_pick("condition", "the condition is {}", _named(*CONDITIONS))),
        _optional(_pick("phase", "only phase {}", {1: "one", 2: "two", 3: "three", 4: "four"})),
        _optional(_pick("country", "only in {}", _named(*COUNTRIES))),
    ),
    _function(
        "convert_lab_unit",
        "units",
        "Convert a laboratory value to another unit.",
        "Convert a laboratory value",
        _schema(
            "analyte value from_unit to_unit",
            analyte=_one_of("glucose", "cholesterol", "calcium", "creatinine"),
            value=_number("The value to convert."),
            from_unit=_one_of(*_UNITS),
            to_unit=_one_of(*_UNITS),
        ),
        Detail(_convert),
    ),
)
FUNCTIONS = {function.tool.name: function for function in _LISTED}

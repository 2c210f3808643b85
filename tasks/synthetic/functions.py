"""The functions of ``function_calling``: a clinic's calculators, records and bookings.

A function is a JSON schema and the details of a request (``call_details.py``). Units and dates are words in
the request and codes in the schema.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from evalkit.types import Tool

from . import call_details as d
from .call_details import CONDITIONS, COUNTRIES, DEPARTMENTS, DRUGS, TESTS, UNITS, Detail, Drawn
from .chance import Chance

Schema = dict[str, Any]


class Function(Struct, frozen=True):
    """A function, the request for it, and its details. Functions of one ``family`` are easily confused."""

    tool: Tool
    family: str
    ask: str
    details: tuple[Detail, ...]


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
        Detail(d.age),
        Detail(d.sex),
        Detail(d.weight),
        Detail(d.creatinine),
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
        Detail(d.age),
        Detail(d.sex),
        Detail(d.creatinine),
        _optional(d.pick("equation", "by the {} equation", {"mdrd": "MDRD"})),
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
        Detail(d.drug),
        Detail(d.measure("dose_mg_per_kg", "{} milligrams per kilogram", 5, 150, decimal=True)),
        Detail(d.weight),
        _optional(d.measure("maximum_mg", "not more than {} milligrams", 200, 1500)),
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
        Detail(d.drug),
        Detail(
            d.measure("dose_mcg_per_kg_min", "{} micrograms per kilogram and minute", 5, 200, decimal=True)
        ),
        Detail(d.weight),
        Detail(
            d.measure(
                "concentration_mg_per_ml", "a solution of {} milligrams per millilitre", 2, 100, decimal=True
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
        Detail(d.height),
        Detail(d.weight),
        _optional(d.pick("formula", "by the formula of {}", {"du_bois": "Du Bois", "haycock": "Haycock"})),
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
        Detail(d.height),
        Detail(d.weight),
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
        Detail(d.measure("sodium", "sodium {}", 122, 152)),
        Detail(d.measure("chloride", "chloride {}", 88, 116)),
        Detail(d.measure("bicarbonate", "bicarbonate {}", 9, 31)),
        _optional(d.measure("potassium", "potassium included, at {}", 26, 64, decimal=True)),
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
        Detail(d.measure("calcium_mg_per_dl", "calcium {} milligrams per decilitre", 68, 129, decimal=True)),
        Detail(d.measure("albumin_g_per_dl", "albumin {} grams per decilitre", 14, 48, decimal=True)),
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
        Detail(d.measure("qt_ms", "QT {} milliseconds", 340, 520)),
        Detail(d.measure("heart_rate", "{} beats per minute", 46, 128)),
        _optional(
            d.pick(
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
        Detail(d.patient),
        Detail(d.pick("test", "the test is {}", TESTS)),
        _optional(d.date("from_date", "starting from")),
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
        Detail(d.patient),
        Detail(d.subset("tests", "the tests are {}", TESTS, 2, 4)),
        _optional(d.pick("priority", "with the priority {}", d.named("urgent", "stat"))),
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
        Detail(d.patient),
        Detail(d.pick("department", "the department is {}", d.named(*DEPARTMENTS))),
        Detail(d.date("date", "the day is")),
        _optional(d.pick("minutes", "for {} minutes", {20: "20", 45: "45", 60: "60"})),
    ),
    _function(
        "drug_interactions",
        "drugs",
        "Check two or more drugs for interactions.",
        "Check for interactions",
        _schema("drugs", drugs=_several({"type": "string", "description": "A generic name."})),
        Detail(d.subset("drugs", "the drugs are {}", d.named(*DRUGS), 2, 3)),
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
        Detail(d.patient),
        _optional(d.pick("include_stopped", "{}", {True: "including medicines that were stopped"})),
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
        Detail(d.pick("condition", "the condition is {}", d.named(*CONDITIONS))),
        _optional(d.pick("phase", "only phase {}", {1: "one", 2: "two", 3: "three", 4: "four"})),
        _optional(d.pick("country", "only in {}", d.named(*COUNTRIES))),
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
            from_unit=_one_of(*UNITS),
            to_unit=_one_of(*UNITS),
        ),
        Detail(d.convert),
    ),
)
FUNCTIONS = {function.tool.name: function for function in _LISTED}

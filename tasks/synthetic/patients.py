"""Generated patients over time: conditions, medicines and laboratory values, as FHIR resources.

All are invented from a seed; codes are those of the public terminologies. A patient's record does not depend
on the number of patients.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

from msgspec import Struct

from . import fhir
from .chance import Chance
from .fhir import ICD10, LOINC, RXNORM, SNOMED, Resource

NOW = datetime(2024, 3, 15, 14, 0, tzinfo=UTC)
YEARS = 3  # of laboratory values


class Lab(Struct, frozen=True):
    """A test: LOINC code, name, unit, digits behind the point, and the range of its values × 10^digits.

    A test that is not ``daily`` has no results of the last days.
    """

    code: str
    name: str
    unit: str
    digits: int
    low: int
    high: int
    daily: bool = True


class Drug(Struct, frozen=True):
    """A medicine: RxNorm code of the ingredient, name, usual single doses in ``unit``."""

    code: str
    name: str
    doses: tuple[int, ...]
    unit: str = "mg"


class Problem(Struct, frozen=True):
    """A condition: SNOMED CT and ICD-10-CM codes, name, and the medicines for it."""

    snomed: str
    icd10: str
    name: str
    drugs: tuple[Drug, ...]


LABS = {
    lab.name: lab
    for lab in (
        Lab("2823-3", "potassium", "mmol/L", 1, 27, 58),
        Lab("19123-9", "magnesium", "mg/dL", 1, 8, 28),
        Lab("2345-7", "glucose", "mg/dL", 0, 62, 310),
        Lab("2160-0", "creatinine", "mg/dL", 2, 55, 340),
        Lab("718-7", "haemoglobin", "g/dL", 1, 70, 168),
        Lab("4548-4", "HbA1c", "%", 1, 48, 112, daily=False),
    )
}
VITALS = {
    lab.name: lab
    for lab in (
        Lab("8867-4", "heart rate", "/min", 0, 46, 138),
        Lab("8310-5", "body temperature", "Cel", 1, 354, 401),
        Lab("59408-5", "oxygen saturation", "%", 0, 84, 100),
        Lab("29463-7", "body weight", "kg", 1, 420, 1310),
    )
}
METFORMIN, LISINOPRIL = Drug("6809", "metformin", (500, 850, 1000)), Drug("29046", "lisinopril", (5, 10, 20))
ATORVASTATIN, AMLODIPINE = Drug("83367", "atorvastatin", (20, 40, 80)), Drug("17767", "amlodipine", (5, 10))
APIXABAN, FUROSEMIDE = Drug("1364430", "apixaban", (5,)), Drug("4603", "furosemide", (20, 40))
ALLOPURINOL, WARFARIN = Drug("519", "allopurinol", (100, 300)), Drug("11289", "warfarin", (2, 5))
POTASSIUM = Drug("8591", "potassium chloride", (20, 40, 60), "meq")
MAGNESIUM = Drug("6585", "magnesium sulfate", (1, 2, 4), "g")
DRUGS = (METFORMIN, LISINOPRIL, ATORVASTATIN, AMLODIPINE, APIXABAN, FUROSEMIDE, ALLOPURINOL, WARFARIN)
PROBLEMS = (
    Problem("44054006", "E11.9", "type 2 diabetes", (METFORMIN, ATORVASTATIN)),
    Problem("38341003", "I10", "hypertension", (LISINOPRIL, AMLODIPINE)),
    Problem("84114007", "I50.9", "heart failure", (FUROSEMIDE, LISINOPRIL)),
    Problem("49436004", "I48.91", "atrial fibrillation", (APIXABAN, WARFARIN)),
    Problem("90560007", "M10.9", "gout", (ALLOPURINOL,)),
    Problem("13645005", "J44.9", "chronic obstructive pulmonary disease", ()),
    Problem("195967001", "J45.909", "asthma", ()),
)


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_FAMILIES = _names(
    "Abara Bekele Castor Dorval Eklund Farhadi Grivas Hollis Iwata Jansky Kovar Lindor Moreau Novak Okafor "
    "Pereda Quist Rasmus Silva Tarkan Ueda Varga Wexler Yilmaz Zoric"
)
_GIVEN = {
    "female": _names("Ada Brita Carla Dunya Elin Farah Greta Hana Ines Jonna Kira Lena Mirela Nora Olga"),
    "male": _names("Anton Bilal Cyril Darko Emil Fabio Goran Henri Ivo Jarek Karim Louis Milan Nils Oskar"),
}


class Measured(Struct, frozen=True):
    """One value of a test, as printed."""

    lab: Lab
    value: float
    at: datetime


class Person(Struct, frozen=True):
    """A patient's record as plain facts; ``medicines`` and ``problems`` say whether each is active."""

    id: str
    family: str
    given: str
    gender: str
    born: date
    problems: tuple[tuple[Problem, date, bool], ...]
    medicines: tuple[tuple[Drug, int, datetime, bool], ...]
    values: tuple[Measured, ...]

    @property
    def name(self) -> str:
        return f"{self.given} {self.family}"

    @property
    def age(self) -> int:
        """Whole years at ``NOW``."""
        had_birthday = (NOW.month, NOW.day) >= (self.born.month, self.born.day)
        return NOW.year - self.born.year - (not had_birthday)

    def of(self, lab: Lab, hours: float | None = None) -> list[Measured]:
        """Return the values of a test, the oldest first; with ``hours``, only those of the last hours."""
        values = [one for one in self.values if one.lab is lab]
        if hours is not None:
            values = [one for one in values if one.at >= NOW - timedelta(hours=hours)]
        return sorted(values, key=lambda one: one.at)


@lru_cache(8)
def people(seed: int, n: int) -> tuple[Person, ...]:
    """Return the patients of a clinic. Ids are unique; some share a name, none name and date of birth."""
    persons: dict[str, Person] = {}
    known: set[tuple[str, date]] = set()
    for number in range(n):
        attempt = 0
        while True:
            person = _person(Chance(seed, "patient", number, attempt))
            if person.id not in persons and (person.name, person.born) not in known:
                break
            attempt += 1
        persons[person.id] = person
        known.add((person.name, person.born))
    return tuple(persons.values())


def _person(chance: Chance) -> Person:
    gender = chance.choice(("female", "male"))
    chosen = [problem for problem in PROBLEMS if chance.happens(0.35)]
    problems = tuple((one, _day(chance, 1, 14), chance.happens(0.85)) for one in chosen)
    drugs = dict.fromkeys(drug for one in chosen for drug in one.drugs if chance.happens(0.75))
    return Person(
        id=f"S{chance.integer(1_000_000, 9_999_999)}",
        family=chance.choice(_FAMILIES),
        given=chance.choice(_GIVEN[gender]),
        gender=gender,
        born=_day(chance, 22, 93),
        problems=problems,
        medicines=tuple(_medicine(chance, drug) for drug in drugs),
        values=tuple(value for lab in LABS.values() for value in _values(chance, lab)),
    )


def _day(chance: Chance, low: int, high: int) -> date:
    """Return a day between ``low`` and ``high`` years ago."""
    return (NOW - timedelta(days=chance.integer(low * 366, high * 365))).date()


def _medicine(chance: Chance, drug: Drug) -> tuple[Drug, int, datetime, bool]:
    return drug, chance.choice(drug.doses), _ago(chance, 30 * 24, 900 * 24), chance.happens(0.7)


def _values(chance: Chance, lab: Lab) -> list[Measured]:
    """Return old values of a test, some from the days before, and often some of the last 24 hours."""
    times = [_ago(chance, 100, YEARS * 365 * 24) for _ in range(chance.integer(0, 4))]
    if lab.daily:
        times += [_ago(chance, 26, 96) for _ in range(chance.integer(0, 2))]
        times += [_ago(chance, 1, 23) for _ in range(chance.integer(1, 3) if chance.happens(0.6) else 0)]
    scale: int = 10**lab.digits
    distinct = sorted(set(times))
    return [Measured(lab, chance.integer(lab.low, lab.high) / scale, time) for time in distinct]


def _ago(chance: Chance, low: int, high: int) -> datetime:
    """Return a time between ``low`` and ``high`` hours ago, to the minute."""
    return NOW - timedelta(minutes=chance.integer(low * 60, high * 60))


@lru_cache(8)
def records(seed: int, n: int) -> Mapping[str, tuple[Resource, ...]]:
    """Return the records of all patients as FHIR resources by type."""
    by_type: dict[str, list[Resource]] = {name: [] for name in fhir.TYPES}
    for person in people(seed, n):
        by_type["Patient"].append(
            fhir.patient(person.id, person.family, person.given, person.born.isoformat(), person.gender)
        )
        for entry in _entries(person):
            listed = by_type[entry["resourceType"]]
            listed.append({"id": f"{entry['resourceType'][0].lower()}{len(listed) + 1}", **entry})
    return {name: tuple(entries) for name, entries in by_type.items()}


def _entries(person: Person) -> list[Resource]:
    """Return a patient's conditions, medicines and values."""
    conditions = [
        fhir.condition(
            person.id,
            fhir.concept(problem.name, (SNOMED, problem.snomed), (ICD10, problem.icd10)),
            onset.isoformat(),
            "active" if active else "resolved",
        )
        for problem, onset, active in person.problems
    ]
    medicines = [
        fhir.medication_request(
            person.id,
            fhir.concept(drug.name, (RXNORM, drug.code)),
            dose,
            drug.unit,
            "oral",
            fhir.instant(time),
            "active" if active else "stopped",
        )
        for drug, dose, time, active in person.medicines
    ]
    values = [
        fhir.observation(
            person.id,
            fhir.concept(one.lab.name, (LOINC, one.lab.code)),
            one.value,
            one.lab.unit,
            fhir.instant(one.at),
        )
        for one in person.values
    ]
    return [*conditions, *medicines, *values]

"""The questions and orders of ``patient_record``, with the exact answers and the entries that are due.

Twelve kinds in turn, after those of MedAgentBench (Jiang et al. 2025, NEJM AI): to find a patient, age, last
value of a test within 24 hours, average over 24 hours, a medicine and its dose, onset of a condition, to
record a vital sign, to replace magnesium or potassium below a threshold, a follow-up test, a referral, and a
patient who is not there. Where the kind leaves it open, an order is due in about half of the samples, and a
value is there in about three of four.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any

from msgspec import Struct

from evalkit import Sample

from . import fhir, patients
from .chance import Chance
from .fhir import LOINC, RXNORM, SERVICES, Resource
from .patients import LABS, NOW, VITALS, Lab, Person

VERSION = 1  # increase when a seed no longer gives the same samples
NONE, DONE, UNKNOWN = "none", "done", "not found"
MAGNESIUM_LOW, POTASSIUM_LOW = 1.8, 3.5
_TRIES = 400

Write = dict[str, Any]
"""A call of a tool that writes: its name and arguments."""


class Asked(Struct, frozen=True):
    """One question: its words, the answer, the search that finds it, and the calls that write what is due."""

    text: str
    answer: str
    search: dict[str, Any]
    writes: tuple[Write, ...] = ()


Kind = Callable[[Chance, Person, Sequence[Person]], Asked]


def samples(seed: int, n: int, clinic: int) -> Iterator[Sample]:
    """Yield ``n`` samples about the patients of a clinic with ``clinic`` patients."""
    people = patients.people(seed, clinic)
    for number in range(n):
        kind = list(KINDS)[number % len(KINDS)]
        yield _sample(Chance(seed, "record", number), number, kind, people)


def _sample(chance: Chance, number: int, kind: str, people: Sequence[Person]) -> Sample:
    due, there = chance.happens(0.5), chance.happens(0.75)
    for _ in range(_TRIES):  # a small clinic may have no patient for a question
        person = chance.choice(people)
        asked = KINDS[kind](chance, person, people)
        if kind in MAY_ORDER and bool(asked.writes) == due:
            break
        if kind not in MAY_ORDER and (kind not in MAY_LACK or (asked.answer != NONE) == there):
            break
    entries = [entry_of(call) for call in asked.writes]
    return Sample(
        f"record-{number:05d}",
        asked.text,
        asked.answer,
        cluster=person.id,
        slices={"kind": kind, "due": "an entry" if entries else "nothing"},
        metadata={"search": asked.search, "writes": list(asked.writes), "due": entries},
    )


def entry_of(call: Write) -> Resource:
    """Return the entry that a call of a writing tool makes, in the store of ``NOW``."""
    return WRITERS[call["name"]](**call["arguments"])


def new_observation(patient: str, code: str, value: float, unit: str, effective: str) -> Resource:
    """Return a measured value as an entry. Raises ``RecordError`` for a time that is none."""
    time = fhir.instant(fhir.moment(effective))
    return fhir.observation(_id(patient), fhir.concept("", (LOINC, code.strip())), value, unit.strip(), time)


def new_medication_request(patient: str, code: str, dose: float, unit: str, route: str) -> Resource:
    """Return an order of a medicine as an entry."""
    coded = fhir.concept("", (RXNORM, code.strip()))
    return fhir.medication_request(_id(patient), coded, dose, unit.strip(), route, fhir.instant(NOW))


def new_service_request(
    patient: str, code: str, priority: str = "routine", occurrence: str = "", note: str = ""
) -> Resource:
    """Return an order of a test or a referral as an entry. Raises ``RecordError`` for a wrong time."""
    time = fhir.instant(fhir.moment(occurrence)) if occurrence.strip() else ""
    coded = fhir.concept("", (SERVICES, code.strip()))
    return fhir.service_request(_id(patient), coded, priority, fhir.instant(NOW), time, note.strip())


WRITERS: dict[str, Callable[..., Resource]] = {
    "record_observation": new_observation,
    "order_medication": new_medication_request,
    "order_service": new_service_request,
}


def _id(reference: str) -> str:
    return reference.strip().removeprefix("Patient/")


def _shown(value: float, digits: int) -> str:
    return f"{value:.{digits}f}"


def _labs(chance: Chance) -> Lab:
    return chance.choice([lab for lab in LABS.values() if lab.daily])


def _search(resource: str, **parameters: Any) -> dict[str, Any]:
    return {"resource": resource, **parameters}


def _of_lab(person: Person, lab: Lab) -> dict[str, Any]:
    return _search("Observation", patient=person.id, code=lab.code)


def _find(chance: Chance, person: Person, people: Sequence[Person]) -> Asked:
    if chance.happens(0.3):  # a person of this name, but born on another day
        days = {one.born for one in people if one.name == person.name}
        born = person.born + timedelta(days=chance.integer(1, 900))
        answer = UNKNOWN if born not in days else person.id
    else:
        born, answer = person.born, person.id
    return Asked(
        f"What is the id of the patient {person.name}, born on {born.isoformat()}?",
        answer,
        _search("Patient", family=person.family, given=person.given, birthdate=born.isoformat()),
    )


def _age(chance: Chance, person: Person, people: Sequence[Person]) -> Asked:
    return Asked(
        f"How old is patient {person.id} now, in whole years?",
        str(person.age),
        _search("Patient", patient=person.id),
    )


def _last(chance: Chance, person: Person, people: Sequence[Person]) -> Asked:
    lab = _labs(chance)
    values = person.of(lab, 24)
    return Asked(
        f"What is the last {lab.name} (LOINC {lab.code}) of patient {person.id} within the last 24 hours, "
        f"in {lab.unit}?",
        _shown(values[-1].value, lab.digits) if values else NONE,
        _of_lab(person, lab),
    )


def _average(chance: Chance, person: Person, people: Sequence[Person]) -> Asked:
    lab = _labs(chance)
    values = person.of(lab, 24)
    scale: int = 10**lab.digits
    # In whole tenths of the last digit, half up: no binary fraction decides how a mean is rounded.
    total = sum(round(one.value * scale) for one in values)
    rounded = (20 * total + len(values)) // (2 * len(values)) if values else 0
    answer = _shown(rounded / (10 * scale), lab.digits + 1)
    return Asked(
        f"What is the average {lab.name} (LOINC {lab.code}) of patient {person.id} over the last 24 hours, "
        f"in {lab.unit}, rounded to {lab.digits + 1} decimal{'s' if lab.digits else ''}?",
        answer if values else NONE,
        _of_lab(person, lab),
    )


def _medicine(chance: Chance, person: Person, people: Sequence[Person]) -> Asked:
    drugs = [drug for drug, *_ in person.medicines]
    drug = chance.choice(drugs) if drugs and chance.happens(0.75) else chance.choice(patients.DRUGS)
    dose = next((dose for one, dose, _, active in person.medicines if one is drug and active), None)
    return Asked(
        f"What single dose of {drug.name} (RxNorm {drug.code}), in {drug.unit}, does patient {person.id} "
        f"take by an order that is active?",
        NONE if dose is None else str(dose),
        _search("MedicationRequest", patient=person.id, code=drug.code),
    )


def _onset(chance: Chance, person: Person, people: Sequence[Person]) -> Asked:
    problems = [problem for problem, *_ in person.problems]
    problem = (
        chance.choice(problems) if problems and chance.happens(0.8) else chance.choice(patients.PROBLEMS)
    )
    onset = next((day for one, day, _ in person.problems if one is problem), None)
    return Asked(
        f"On which date did {problem.name} (ICD-10-CM {problem.icd10}) of patient {person.id} begin?",
        NONE if onset is None else onset.isoformat(),
        _search("Condition", patient=person.id, code=problem.icd10),
    )


def _vital(chance: Chance, person: Person, people: Sequence[Person]) -> Asked:
    lab = chance.choice(list(VITALS.values()))
    value = chance.integer(lab.low, lab.high) / 10**lab.digits
    time = NOW - timedelta(minutes=5 * chance.integer(1, 20))
    arguments = {
        "patient": person.id,
        "code": lab.code,
        "value": int(value) if value.is_integer() else value,
        "unit": lab.unit,
        "effective": fhir.instant(time),
    }
    return Asked(
        f"I measured the {lab.name} (LOINC {lab.code}) of patient {person.id} at {time:%H:%M} today: "
        f"{_shown(value, lab.digits)} {lab.unit}. Record it.",
        DONE,
        _search("Patient", patient=person.id),
        ({"name": "record_observation", "arguments": arguments},),
    )


def _order(person: Person, code: str, dose: float, unit: str, route: str) -> Write:
    arguments = {"patient": person.id, "code": code, "dose": dose, "unit": unit, "route": route}
    return {"name": "order_medication", "arguments": arguments}


def _magnesium(chance: Chance, person: Person, people: Sequence[Person]) -> Asked:
    lab, drug = LABS["magnesium"], patients.MAGNESIUM
    values = person.of(lab, 24)
    last = values[-1].value if values else None
    dose = 0 if last is None or last >= MAGNESIUM_LOW else 1 if last >= 1.5 else 2 if last >= 1.0 else 4
    return Asked(
        f"Check the last magnesium (LOINC {lab.code}) of patient {person.id} within the last 24 hours. If it "
        f"is below {MAGNESIUM_LOW} mg/dL, order intravenous {drug.name} (RxNorm {drug.code}): 1 g from 1.5 "
        "on, 2 g from 1.0 on, else 4 g. If there is no value, order nothing. Answer with the value in mg/dL.",
        NONE if last is None else _shown(last, lab.digits),
        _of_lab(person, lab),
        (_order(person, drug.code, dose, "g", "intravenous"),) if dose else (),
    )


def _potassium(chance: Chance, person: Person, people: Sequence[Person]) -> Asked:
    lab, drug = LABS["potassium"], patients.POTASSIUM
    values = person.of(lab, 24)
    last = values[-1].value if values else None
    writes: tuple[Write, ...] = ()
    morning = fhir.instant((NOW + timedelta(days=1)).replace(hour=8, minute=0))
    if last is not None and last < POTASSIUM_LOW:
        dose = 10 * round(10 * (POTASSIUM_LOW - last))
        test = {"patient": person.id, "code": "LAB-K", "priority": "routine", "occurrence": morning}
        writes = (
            _order(person, drug.code, dose, "meq", "oral"),
            {"name": "order_service", "arguments": test},
        )
    return Asked(
        f"Check the last potassium (LOINC {lab.code}) of patient {person.id} within the last 24 hours. If it "
        f"is below {POTASSIUM_LOW} mmol/L, order oral {drug.name} (RxNorm {drug.code}), 10 meq for each 0.1 "
        f"mmol/L below, and a routine potassium test (service LAB-K) for {morning}. If there is no value, "
        "order nothing. Answer with the value in mmol/L.",
        NONE if last is None else _shown(last, lab.digits),
        _of_lab(person, lab),
        writes,
    )


def _follow_up(chance: Chance, person: Person, people: Sequence[Person]) -> Asked:
    lab = LABS["HbA1c"]
    values = person.of(lab)
    last = values[-1] if values else None
    old = last is None or last.at < NOW - timedelta(days=365)
    call = {"name": "order_service", "arguments": {"patient": person.id, "code": "LAB-A1C"}}
    return Asked(
        f"What is the last HbA1c (LOINC {lab.code}) of patient {person.id}, in %? If it is more than 365 "
        "days old, or there is none, order a routine test (service LAB-A1C).",
        NONE if last is None else _shown(last.value, lab.digits),
        _of_lab(person, lab),
        (call,) if old else (),
    )


_REASONS = (
    "knee pain after a fall, cannot bear weight",
    "new murmur, short of breath on stairs",
    "rash that did not respond to steroids",
    "creatinine doubled within a month",
)
_REFERRALS = {"REF-ORTHO": "orthopaedics", "REF-CARD": "cardiology", "REF-NEPH": "nephrology"}


def _referral(chance: Chance, person: Person, people: Sequence[Person]) -> Asked:
    code, note = chance.choice(list(_REFERRALS)), chance.choice(_REASONS)
    priority = chance.choice(("routine", "urgent"))
    arguments = {"patient": person.id, "code": code, "priority": priority, "note": note}
    return Asked(
        f"Refer patient {person.id} to {_REFERRALS[code]} (service {code}), {priority}, with exactly this "
        f'note: "{note}".',
        DONE,
        _search("Patient", patient=person.id),
        ({"name": "order_service", "arguments": arguments},),
    )


def _unknown(chance: Chance, person: Person, people: Sequence[Person]) -> Asked:
    known = {one.id for one in people}
    id = person.id
    while id in known:
        id = f"S{chance.integer(1_000_000, 9_999_999)}"
    absent = Person(id, *(getattr(person, name) for name in Person.__struct_fields__[1:]))
    make = chance.choice((_age, _last, _vital, _referral, _follow_up))
    return Asked(make(chance, absent, people).text, UNKNOWN, _search("Patient", patient=id))


KINDS: dict[str, Kind] = {
    "find": _find,
    "age": _age,
    "last value": _last,
    "average": _average,
    "medicine": _medicine,
    "onset": _onset,
    "vital sign": _vital,
    "magnesium": _magnesium,
    "potassium": _potassium,
    "follow-up": _follow_up,
    "referral": _referral,
    "unknown patient": _unknown,
}
MAY_ORDER = ("magnesium", "potassium", "follow-up")
MAY_LACK = ("last value", "average", "medicine", "onset")

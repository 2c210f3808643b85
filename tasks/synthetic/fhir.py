"""A store of patient records in the shapes of FHIR R4: search, read, and three kinds of new entries.

Resources: Patient, Observation (LOINC), Condition (SNOMED CT and ICD-10-CM), MedicationRequest (RxNorm) and
ServiceRequest. Only the elements that ``patient_record`` needs are there. The clock of a store stands still,
so that the same entry is the same resource in every run. Source: hl7.org/fhir/R4.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, get_args

Resource = dict[str, Any]
ResourceType = Literal["Patient", "Observation", "Condition", "MedicationRequest", "ServiceRequest"]
Priority = Literal["routine", "urgent", "stat"]
Route = Literal["oral", "intravenous"]

TYPES: tuple[str, ...] = get_args(ResourceType)
LOINC, SNOMED, ICD10 = "http://loinc.org", "http://snomed.info/sct", "http://hl7.org/fhir/sid/icd-10-cm"
RXNORM, UCUM = "http://www.nlm.nih.gov/research/umls/rxnorm", "http://unitsofmeasure.org"
SERVICES = "urn:clinic:services"
MOST = 50
_TIMES = {
    "Observation": "effectiveDateTime",
    "Condition": "onsetDateTime",
    "MedicationRequest": "authoredOn",
    "ServiceRequest": "authoredOn",
}


class RecordError(ValueError):
    """A request that the store cannot answer; the text says why."""


def moment(text: str, *, end: bool = False) -> datetime:
    """Return a date or a time with zone (UTC by default). ``end``: of a date alone, its last microsecond.

    Raises ``RecordError`` for another form.
    """
    try:
        value = datetime.fromisoformat(text.strip())
    except ValueError:
        raise RecordError(
            f"{text!r} is no date or time: write 2024-03-14 or 2024-03-14T08:30:00+00:00"
        ) from None
    if end and len(text.strip()) == len("2024-03-14"):
        value += timedelta(days=1, microseconds=-1)
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def instant(value: datetime) -> str:
    """Return a time as the store writes it: in UTC, to the second."""
    return value.astimezone(UTC).replace(microsecond=0).isoformat()


def concept(text: str, *codings: tuple[str, str]) -> Resource:
    """Return a CodeableConcept: codes as (system, code), and a text if there is one."""
    coded = [{"system": system, "code": code} for system, code in codings]
    return {name: value for name, value in (("coding", coded), ("text", text)) if value}


def patient(id: str, family: str, given: str, birth_date: str, gender: str) -> Resource:
    return {
        "resourceType": "Patient",
        "id": id,
        "name": [{"family": family, "given": [given]}],
        "birthDate": birth_date,
        "gender": gender,
    }


def _finite(value: float) -> float:
    """Return a number. Raises ``RecordError`` for one that is not finite."""
    if not math.isfinite(value):
        raise RecordError(f"{value} is no value: it must be a finite number")
    return value


def observation(patient: str, code: Resource, value: float, unit: str, effective: str) -> Resource:
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": code,
        "subject": {"reference": f"Patient/{patient}"},
        "effectiveDateTime": effective,
        "valueQuantity": {"value": _finite(value), "unit": unit, "system": UCUM},
    }


def condition(patient: str, code: Resource, onset: str, status: str) -> Resource:
    return {
        "resourceType": "Condition",
        "clinicalStatus": concept(status),
        "code": code,
        "subject": {"reference": f"Patient/{patient}"},
        "onsetDateTime": onset,
    }


def medication_request(
    patient: str, code: Resource, dose: float, unit: str, route: str, authored: str, status: str = "active"
) -> Resource:
    return {
        "resourceType": "MedicationRequest",
        "status": status,
        "intent": "order",
        "medicationCodeableConcept": code,
        "subject": {"reference": f"Patient/{patient}"},
        "authoredOn": authored,
        "dosageInstruction": [
            {
                "route": {"text": route},
                "doseAndRate": [{"doseQuantity": {"value": _finite(dose), "unit": unit}}],
            }
        ],
    }


def service_request(
    patient: str, code: Resource, priority: str, authored: str, occurrence: str = "", note: str = ""
) -> Resource:
    optional = {"occurrenceDateTime": occurrence, "note": [{"text": note}] if note else []}
    return {
        "resourceType": "ServiceRequest",
        "status": "active",
        "intent": "order",
        "code": code,
        "subject": {"reference": f"Patient/{patient}"},
        "authoredOn": authored,
        "priority": priority,
        **{name: value for name, value in optional.items() if value},
    }


class Store:
    """Records that can be searched and added to. ``base`` is never changed; ``written`` holds what is new."""

    def __init__(self, base: Mapping[str, Sequence[Resource]], now: datetime) -> None:
        self.now = now
        self.written: list[Resource] = []
        self._base = base

    def search(
        self,
        resource: str,
        *,
        patient: str = "",
        code: str = "",
        family: str = "",
        given: str = "",
        birthdate: str = "",
        status: str = "",
        date_from: str = "",
        date_to: str = "",
        count: int = 20,
    ) -> Resource:
        """Return a Bundle of the matching resources, the newest first; ``total`` counts all matches.

        Empty arguments do not restrict the search. Names match without regard to case. Raises
        ``RecordError``.
        """
        start = moment(date_from) if date_from else None
        end = moment(date_to, end=True) if date_to else None
        if resource == "Patient":
            wanted = {"family": family, "given": given, "birthdate": birthdate, "id": patient}
            found = [one for one in self._all(resource) if _is_patient(one, wanted)]
        else:
            found = [
                one
                for one in self._all(resource)
                if (not patient or one["subject"]["reference"] == f"Patient/{_id(patient)}")
                and (not code or code.strip().casefold() in _codes(one))
                and (not status or _status(one) == status.strip().casefold())
                and _within(one, start, end)
            ]
            found.sort(key=_time, reverse=True)
        entries = [{"resource": one} for one in found[: max(0, min(count, MOST))]]
        return {"resourceType": "Bundle", "type": "searchset", "total": len(found), "entry": entries}

    def read(self, resource: str, id: str) -> Resource:
        """Return one resource by id. Raises ``RecordError`` if there is none."""
        for one in self._all(resource):
            if one["id"] == _id(id):
                return one
        raise RecordError(f"there is no {resource} with the id {id!r}")

    def write(self, entry: Resource) -> Resource:
        """Add an entry; return it with its id. Raises ``RecordError`` for a patient that is not known."""
        self.read("Patient", entry["subject"]["reference"])
        stored = {"id": f"new-{len(self.written) + 1}", **entry}
        self.written.append(stored)
        return stored

    def _all(self, resource: str) -> Iterable[Resource]:
        if resource not in TYPES:
            raise RecordError(f"there is no resource type {resource!r}. Known: {', '.join(TYPES)}")
        yield from self._base.get(resource, ())
        yield from (one for one in self.written if one["resourceType"] == resource)


def _id(reference: str) -> str:
    return reference.strip().removeprefix("Patient/")


def _is_patient(one: Resource, wanted: Mapping[str, str]) -> bool:
    name = one["name"][0]
    values = {
        "family": name["family"],
        "given": name["given"][0],
        "birthdate": one["birthDate"],
        "id": one["id"],
    }
    return all(not text or values[key].casefold() == _id(text).casefold() for key, text in wanted.items())


def _codes(one: Resource) -> set[str]:
    """Return the codes of a resource and its text, in lower case."""
    code = one.get("code") or one["medicationCodeableConcept"]
    return {coding["code"].casefold() for coding in code["coding"]} | {code.get("text", "").casefold()}


def _status(one: Resource) -> str:
    status: str = one["clinicalStatus"]["text"] if "clinicalStatus" in one else one["status"]
    return status


def _time(one: Resource) -> datetime:
    return moment(one[_TIMES[one["resourceType"]]])


def _within(one: Resource, start: datetime | None, end: datetime | None) -> bool:
    if start is None and end is None:
        return True
    time = _time(one)
    return (start is None or time >= start) and (end is None or time <= end)


def essentials(entry: Resource) -> Resource:
    """Return an entry without what may differ between equal entries: id, texts of codes, forms of times."""
    plain = {name: value for name, value in entry.items() if name != "id"}
    for name in ("code", "medicationCodeableConcept"):
        if name in plain:
            plain[name] = sorted(coding["code"].casefold() for coding in plain[name]["coding"])
    for name in (*_TIMES.values(), "occurrenceDateTime"):
        if name in plain:
            plain[name] = instant(moment(plain[name]))
    if "valueQuantity" in plain:
        plain["valueQuantity"] = _quantity(plain["valueQuantity"])
    if "dosageInstruction" in plain:
        (dosage,) = plain["dosageInstruction"]
        plain["dosageInstruction"] = [dosage["route"], _quantity(dosage["doseAndRate"][0]["doseQuantity"])]
    if "note" in plain:
        plain["note"] = " ".join(plain["note"][0]["text"].casefold().split()).strip(' ."')
    return plain


def _quantity(quantity: Resource) -> Resource:
    return {"value": float(quantity["value"]), "unit": quantity["unit"].casefold()}

"""The answers of ``patient_record``, worked out again: data frames over the resources, a second search."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd
import pytest
from evalkit_tasks.synthetic import fhir, patients, record_questions, record_scoring
from evalkit_tasks.synthetic.fhir import RecordError, Store

from evalkit import Sample

SAMPLES = list(record_questions.samples(7, 480, 60))
NOW = pd.Timestamp("2024-03-15T14:00:00Z")
DAY_AGO = NOW - pd.Timedelta(hours=24)


@pytest.fixture(scope="module")
def frames() -> dict[str, pd.DataFrame]:
    """The records as tables, made from the resources alone."""
    records = patients.records(7, 60)
    people = pd.DataFrame(
        {
            "id": one["id"],
            "name": f"{one['name'][0]['given'][0]} {one['name'][0]['family']}",
            "born": one["birthDate"],
        }
        for one in records["Patient"]
    )
    values = pd.DataFrame(
        {
            "patient": one["subject"]["reference"].removeprefix("Patient/"),
            "code": one["code"]["coding"][0]["code"],
            "time": pd.Timestamp(one["effectiveDateTime"]),
            "value": str(one["valueQuantity"]["value"]),
            "unit": one["valueQuantity"]["unit"],
        }
        for one in records["Observation"]
    )
    orders = pd.DataFrame(
        {
            "patient": one["subject"]["reference"].removeprefix("Patient/"),
            "code": one["medicationCodeableConcept"]["coding"][0]["code"],
            "status": one["status"],
            "dose": one["dosageInstruction"][0]["doseAndRate"][0]["doseQuantity"]["value"],
        }
        for one in records["MedicationRequest"]
    )
    problems = pd.DataFrame(
        {
            "patient": one["subject"]["reference"].removeprefix("Patient/"),
            "code": one["code"]["coding"][1]["code"],
            "onset": one["onsetDateTime"],
        }
        for one in records["Condition"]
    )
    return {"people": people, "values": values, "orders": orders, "problems": problems}


def recent(frames: dict[str, pd.DataFrame], patient: str, code: str) -> pd.DataFrame:
    values = frames["values"]
    chosen = values[(values.patient == patient) & (values.code == code) & (values.time >= DAY_AGO)]
    return chosen.sort_values("time")


def said(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    assert found, (pattern, text)
    return found[1]


def same(answer: str, expected: object) -> bool:
    return record_scoring.same_answer(answer, str(expected))


def asked(kind: str) -> list[Sample]:
    chosen = [sample for sample in SAMPLES if sample.slices["kind"] == kind]
    assert len(chosen) == 40
    return chosen


def of(sample: Sample) -> str:
    return said(r"\b(S\d{7})\b", sample.input)


def test_patients_are_found_by_name_and_date_of_birth(frames: dict[str, pd.DataFrame]) -> None:
    people = frames["people"]
    answers = set()
    for sample in asked("find"):
        name, born = re.search(r"patient (.+), born on (.+)\?", sample.input).groups()
        found = people[(people.name == name) & (people.born == born)].id.tolist()
        assert sample.target == (found[0] if found else "not found")
        answers.add(sample.target == "not found")
    assert answers == {True, False}


def test_ages(frames: dict[str, pd.DataFrame]) -> None:
    people = frames["people"].set_index("id")
    for sample in asked("age"):
        born = pd.Timestamp(people.born[of(sample)])
        birthday = (NOW.month, NOW.day) >= (born.month, born.day)
        assert int(sample.target) == NOW.year - born.year - (0 if birthday else 1)


def test_last_values_and_averages(frames: dict[str, pd.DataFrame]) -> None:
    for kind in ("last value", "average"):
        none = 0
        for sample in asked(kind):
            rows = recent(frames, of(sample), said(r"LOINC ([\d-]+)", sample.input))
            none += rows.empty
            if rows.empty:
                assert sample.target == "none"
            elif kind == "last value":
                assert same(sample.target, rows.value.iloc[-1])
                assert rows.unit.iloc[-1] == said(r"in (\S+)\?$", sample.input)
            else:
                digits = int(said(r"rounded to (\d)", sample.input))
                exact = rows.value.map(float).mean()
                assert abs(float(sample.target) - exact) <= 0.5 * 10**-digits + 1e-9
                assert len(sample.target.partition(".")[2]) == digits
        assert 0 < none < 20


def test_doses_and_onsets(frames: dict[str, pd.DataFrame]) -> None:
    orders, problems = frames["orders"], frames["problems"]
    for sample in asked("medicine"):
        code = said(r"RxNorm (\d+)", sample.input)
        rows = orders[(orders.patient == of(sample)) & (orders.code == code) & (orders.status == "active")]
        assert len(rows) <= 1
        assert same(sample.target, "none" if rows.empty else rows.dose.iloc[0])
    for sample in asked("onset"):
        code = said(r"ICD-10-CM (\S+)\)", sample.input)
        rows = problems[(problems.patient == of(sample)) & (problems.code == code)]
        assert sample.target == ("none" if rows.empty else rows.onset.iloc[0])


def written(sample: Sample) -> list[dict[str, Any]]:
    return sample.metadata["due"]


def test_replacement_below_a_threshold(frames: dict[str, pd.DataFrame]) -> None:
    due = 0
    for kind, code, low in (("magnesium", "19123-9", 1.8), ("potassium", "2823-3", 3.5)):
        for sample in asked(kind):
            rows = recent(frames, of(sample), code)
            assert same(sample.target, "none" if rows.empty else rows.value.iloc[-1])
            last = None if rows.empty else float(rows.value.iloc[-1])
            if last is None or last >= low:
                assert written(sample) == []
                continue
            due += 1
            medicine, *tests = written(sample)
            (dosage,) = medicine["dosageInstruction"]
            dose = dosage["doseAndRate"][0]["doseQuantity"]
            if kind == "magnesium":
                expected = 4 if last < 1.0 else 2 if last < 1.5 else 1
                assert (dose, dosage["route"]["text"], tests) == (
                    {"value": expected, "unit": "g"},
                    "intravenous",
                    [],
                )
            else:
                steps = round(35 - last * 10)
                assert dose == {"value": 10 * steps, "unit": "meq"}
                (test,) = tests
                assert test["code"]["coding"][0]["code"] == "LAB-K"
                assert test["occurrenceDateTime"] == "2024-03-16T08:00:00+00:00"
            assert medicine["subject"]["reference"] == f"Patient/{of(sample)}"
    assert 25 < due < 55


def test_a_test_is_due_again_after_a_year(frames: dict[str, pd.DataFrame]) -> None:
    values = frames["values"]
    for sample in asked("follow-up"):
        rows = values[(values.patient == of(sample)) & (values.code == "4548-4")].sort_values("time")
        assert same(sample.target, "none" if rows.empty else rows.value.iloc[-1])
        old = rows.empty or rows.time.iloc[-1] < NOW - pd.Timedelta(days=365)
        assert len(written(sample)) == int(old)


def test_what_is_to_be_recorded_is_what_the_request_says() -> None:
    for sample in asked("vital sign"):
        (entry,) = written(sample)
        value, unit = re.search(r"today: (\S+) (\S+)\. Record", sample.input).groups()
        assert entry["valueQuantity"] == {"value": float(value), "unit": unit, "system": fhir.UCUM}
        assert entry["effectiveDateTime"][11:16] == said(r"at (\d\d:\d\d) today", sample.input)
        assert entry["effectiveDateTime"][:10] == "2024-03-15"
        assert entry["code"]["coding"][0]["code"] == said(r"LOINC ([\d-]+)", sample.input)
    for sample in asked("referral"):
        (entry,) = written(sample)
        assert entry["note"][0]["text"] == said(r'note: "(.+)"', sample.input)
        assert f", {entry['priority']}, with" in sample.input
    for sample in asked("unknown patient"):
        assert (sample.target, written(sample)) == ("not found", [])
        assert of(sample) not in {one["id"] for one in patients.records(7, 60)["Patient"]}


# --- The store ----------------------------------------------------------------------------------------------


@pytest.fixture
def store() -> Store:
    return Store(patients.records(7, 60), patients.NOW)


@pytest.mark.parametrize("lab", ["potassium", "HbA1c", "glucose"])
def test_searches_find_what_a_table_has(frames: dict[str, pd.DataFrame], store: Store, lab: str) -> None:
    code = patients.LABS[lab].code
    values = frames["values"]
    for patient in frames["people"].id[:20]:
        for start, end in (
            ("2022-01-01", "2023-06-30"),
            ("2024-03-14T14:00:00+00:00", ""),
            ("", "2024-03-14"),
        ):
            rows = values[(values.patient == patient) & (values.code == code)]
            if start:
                rows = rows[rows.time >= pd.Timestamp(start if "T" in start else f"{start}T00:00Z")]
            if end:  # the whole last day
                rows = rows[rows.time < pd.Timestamp(end, tz="UTC") + pd.Timedelta(days=1)]
            bundle = store.search("Observation", patient=patient, code=code, date_from=start, date_to=end)
            times = [pd.Timestamp(one["resource"]["effectiveDateTime"]) for one in bundle["entry"]]
            assert times == sorted(rows.time, reverse=True)[:20]
            assert bundle["total"] == len(rows)


def test_searches_by_name_status_and_number(store: Store) -> None:
    person = patients.people(7, 60)[0]
    bundle = store.search("Patient", family=person.family.upper(), birthdate=person.born.isoformat())
    assert [one["resource"]["id"] for one in bundle["entry"]] == [person.id]
    active = store.search("MedicationRequest", status="active", count=500)
    assert len(active["entry"]) == fhir.MOST < active["total"]
    assert store.search("Observation", count=-3)["entry"] == []
    assert store.search("Condition", code="gout", patient=f"Patient/{person.id}")["total"] == 1
    assert store.read("Patient", person.id)["birthDate"] == person.born.isoformat()


@pytest.mark.parametrize(
    ("search", "problem"),
    [
        ({"resource": "Device"}, "no resource type 'Device'"),
        ({"resource": "Observation", "date_from": "yesterday"}, "'yesterday' is no date or time"),
    ],
)
def test_a_search_that_cannot_be_made_is_told(store: Store, search: dict[str, Any], problem: str) -> None:
    with pytest.raises(RecordError, match=problem):
        store.search(**search)

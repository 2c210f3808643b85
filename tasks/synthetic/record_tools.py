"""The tools of ``patient_record``: search and read the records, and three ways to write to them."""

from __future__ import annotations

from evalkit.agent import FunctionTool, tool

from .fhir import Priority, Resource, ResourceType, Route, Store
from .record_questions import new_medication_request, new_observation, new_service_request


def record_tools(store: Store) -> list[FunctionTool]:
    """Return the tools over one store. What a tool cannot do, it tells the model."""

    @tool
    async def search(
        resource: ResourceType,
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
        """Search the records. Return a FHIR Bundle, the newest entry first; total counts all matches.

        Args:
            resource: The type of resource.
            patient: The patient's id.
            code: A LOINC, SNOMED CT, ICD-10-CM or RxNorm code.
            family: A patient's family name.
            given: A patient's given name.
            birthdate: A patient's date of birth as YYYY-MM-DD.
            status: Such as active, stopped or resolved.
            date_from: The earliest date or time, such as 2024-03-14 or 2024-03-14T08:30:00+00:00.
            date_to: The latest date or time.
            count: The most entries to return, up to 50.
        """
        return store.search(
            resource,
            patient=patient,
            code=code,
            family=family,
            given=given,
            birthdate=birthdate,
            status=status,
            date_from=date_from,
            date_to=date_to,
            count=count,
        )

    @tool
    async def read(resource: ResourceType, id: str) -> Resource:
        """Return one resource by its id."""
        return store.read(resource, id)

    @tool
    async def record_observation(
        patient: str, code: str, value: float, unit: str, effective: str
    ) -> Resource:
        """Write a measured value to a patient's record.

        Args:
            patient: The patient's id.
            code: The LOINC code of what was measured.
            value: The value.
            unit: The unit as it was stated.
            effective: The time of the measurement, such as 2024-03-15T08:30:00+00:00.
        """
        return store.write(new_observation(patient, code, value, unit, effective))

    @tool
    async def order_medication(patient: str, code: str, dose: float, unit: str, route: Route) -> Resource:
        """Order a single dose of a medicine for a patient.

        Args:
            patient: The patient's id.
            code: The RxNorm code of the medicine.
            dose: The dose, a number.
            unit: The unit of the dose, such as mg, g or meq.
            route: The route.
        """
        return store.write(new_medication_request(patient, code, dose, unit, route))

    @tool
    async def order_service(
        patient: str, code: str, priority: Priority = "routine", occurrence: str = "", note: str = ""
    ) -> Resource:
        """Order a test or a referral for a patient.

        Args:
            patient: The patient's id.
            code: The code of the service.
            priority: The priority.
            occurrence: When it is to happen, such as 2024-03-16T08:00:00+00:00; empty if that was not said.
            note: A note for the one who receives the order; empty if there is none.
        """
        return store.write(new_service_request(patient, code, priority, occurrence, note))

    return [search, read, record_observation, order_medication, order_service]

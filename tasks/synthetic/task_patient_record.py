"""Patient record agent: answer questions about generated patients, and write orders, through FHIR tools.

The model searches an in-process store in the shapes of FHIR R4 (conditions, medicines, laboratory values over
three years) and writes observations, medication orders and service requests to it. Scored exactly, without a
judge: the answer, and the state of the store after the run; ``success`` needs both. Kinds (slice ``kind``)
follow MedAgentBench (Jiang et al. 2025, NEJM AI): look-ups, averages, a vital sign, replacement below a
threshold, follow-up, referral, a patient who is not there. Nothing runs outside evalkit: no server of
records, no Docker. Each sample begins with the store as generated.

``says_none`` is the share of replies with the answer *none*, and ``wrote_undue`` the share that writes
something where nothing is due.

    evalkit run patient_record --model sglang:NAME@http://127.0.0.1:30000
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from msgspec.structs import replace

from evalkit import Answer, Info, Message, Model, Requirements, Sample, Status, task
from evalkit.agent import converse
from evalkit.types import ToolCall

from . import patients, record_questions, record_scoring
from .fhir import Store
from .record_tools import record_tools

SYSTEM = (Path(__file__).parent / "prompts" / "patient_record.txt").read_text(encoding="utf-8").strip()


def samples(seed: int = 7, requests: int = 120, clinic: int = 60) -> Iterator[Sample]:
    return record_questions.samples(seed, requests, clinic)


@task(
    samples,
    metrics=record_scoring.EXACT,
    tags=["biomedical", "tools", "synthetic"],
    needs=Requirements(tools=True),
    version=record_questions.VERSION,
    info=Info(
        "generated from a seed",
        licence="Apache-2.0",
        size="120 requests about 60 patients; any number by -p requests=N -p clinic=N",
        ids="the request's number, from 0: 'record-00017'",
    ),
)
async def patient_record(
    sample: Sample, model: Model, seed: int = 7, clinic: int = 60, max_turns: int = 12
) -> Answer:
    """Answer a question about a patient, or carry an order out, through tools over FHIR records."""
    store = Store(patients.records(seed, clinic), patients.NOW)
    calls = [{"name": "search", "arguments": sample.metadata["search"]}, *sample.metadata["writes"]]
    perfect = [[ToolCall.of(call["name"], **call["arguments"])] for call in calls]
    conversation = await converse(
        model,
        [Message("system", SYSTEM), Message("user", sample.input)],
        tools=record_tools(store),
        max_turns=max_turns,
        max_tokens=512,
        reference=[*perfect, f"Answer: {sample.targets[0]}"],
    )
    answer = conversation.answer(metadata={"written": store.written})
    said = record_scoring.read_answer(answer.reply)
    if said is None:
        return replace(answer, status=answer.status or Status.UNPARSED)
    return replace(answer, text=said)

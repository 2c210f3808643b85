"""Stored answers, read again before they are scored again: an older evalkit kept reasoning in their text.

A reply whose reasoning never ended holds no answer, whatever was read out of it then. Where the reasoning
ended, the answer is what stands behind it; an option is read again by the extractor that read it then.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from evalkit.choice.extract import EXTRACTORS
from evalkit.reading.reasoning import Marks, split_reasoning
from evalkit.status import classify_answer
from evalkit.store.records import RunSpec, SampleRecord
from evalkit.types import Answer, Status


def reasoning_marks(spec: RunSpec) -> Marks | None:
    """Return the marks of reasoning that the run was made with, besides those that evalkit knows."""
    marks = spec.provenance.get("reasoning_marks")
    return (str(marks[0]), str(marks[1])) if isinstance(marks, list | tuple) and len(marks) == 2 else None


def reread(record: SampleRecord, marks: Marks | None = None) -> SampleRecord:
    """Return a stored sample with its answer apart from the reasoning; the same record if nothing changes."""
    answer = record.answer
    if answer is None:
        return record
    reply = answer.response.text if answer.response else ""
    reasoning, text = split_reasoning(reply or answer.reply, marks)
    own = split_reasoning(answer.reply, marks)[1]  # the task may have taken its answer out of the reply
    drawn = _without_reasoning(resps := answer.metadata.get("resps"), marks)  # of a task of lm-eval
    if text == (reply or answer.reply) and own == answer.reply and drawn == resps:
        return record
    response = answer.response
    if response is not None and text != reply:
        reasoning = "\n\n".join(part for part in (response.reasoning, reasoning) if part)
        response = replace(response, text=text, reasoning=reasoning)
    if not text:
        read: dict[str, Any] = {"text": "", "choice": None}
    else:
        read = {"text": own, "choice": _choice(answer, record, own)}
    unread = bool(text) and read["choice"] is None and record.sample.choices
    if drawn != resps:
        read["metadata"] = answer.metadata | {"resps": drawn}
    again = replace(answer, response=response, status=Status.UNPARSED if unread else None, **read)
    return replace(record, answer=again, status=classify_answer(again))


def _without_reasoning(value: Any, marks: Marks | None) -> Any:
    if isinstance(value, str):
        return split_reasoning(value, marks)[1]
    return [_without_reasoning(item, marks) for item in value] if isinstance(value, list) else value


def _choice(answer: Answer, record: SampleRecord, text: str) -> int | None:
    """Return the option that ``text`` names, by the answer's own extractor; the stored one without that."""
    read, order = EXTRACTORS.get(str(answer.metadata.get("extractor"))), answer.metadata.get("order")
    choices = record.sample.choices
    if read is None or not isinstance(order, list | tuple) or sorted(order) != list(range(len(choices))):
        return answer.choice
    place = read(text, [choices[index] for index in order]).choice
    return None if place is None else int(order[place])

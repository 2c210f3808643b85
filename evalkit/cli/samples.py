"""Samples of a run as ``evalkit show`` prints them: a list, or one sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from evalkit.cli.output import command, echo, print_json
from evalkit.errors import UsageError, did_you_mean
from evalkit.requests import encoded
from evalkit.store.records import Run, SampleRecord
from evalkit.store.turns import Turn, talks
from evalkit.util.money import dollars
from evalkit.util.printable import one_line
from evalkit.util.spreadsheet import to_csv

LISTED = 20  # samples in a list
SHOWN = 100  # characters of a question, a reply or an error in a list


def list_samples(
    store: Any, run: Run, statuses: Sequence[str], at_most: str | None, limit: int | None, form: str
) -> None:
    """Print the first ``limit`` samples with one of ``statuses`` and a score ``at_most`` METRIC=VALUE.

    ``form`` is ``text``, where questions and replies are cut, ``json``, or ``csv`` (by default all samples).
    """
    names = [info.name for info in run.spec.metrics]
    metric, most = _limit(at_most, names)
    limit = limit or (run.n if form == "csv" else LISTED)
    whole = form != "text"
    page = store.board.page(run.id, status=statuses, metric=metric, at_most=most, limit=limit, whole=whole)
    if form == "json":
        print_json({"run": run.id, "total": page.total, "samples": page.rows})
        return
    if form == "csv":
        echo(to_csv(*page.table()), nl=False)
        return
    metric = metric or next(iter(names), None)
    print_title(run)
    for row in page.rows:
        scored = "" if metric is None else f"  {metric}={_number(row.scores.get(metric))}"
        repeat = f", repeat {row.repeat}" if run.spec.repeats > 1 else ""
        head = f"#{row.sequence} {row.sample_id}{repeat}  {row.status.value}{scored}"
        echo(one_line(head), bold=True)
        for text in (row.question, row.error or row.reply):
            echo(f"  {_beginning(text)}")
    echo(
        f"{len(page.rows):,} of {page.total:,} samples that match, of {run.n:,}. "
        f"Long texts are cut here. Show one whole: {command()} show {run.id} --sample ID, all: --format csv"
    )


def print_title(run: Run) -> None:
    """Print which run the samples below are of: ``latest`` does not say."""
    echo(one_line(f"{run.spec.task}, {run.spec.model}, run {run.id}") + "\n", bold=True)


def _limit(text: str | None, names: Sequence[str]) -> tuple[str | None, float | None]:
    """Return the metric and the value of ``METRIC=VALUE``; a metric's name may contain ``=``."""
    if text is None:
        return None, None
    metric, _, value = text.rpartition("=")
    if metric not in names:
        raise UsageError(
            f"--at-most {text!r}: write METRIC=VALUE, such as {names[0] if names else 'exact_match'}=0."
            f"{did_you_mean(metric, names)} The run's metrics: {', '.join(names)}"
        )
    try:
        return metric, float(value)
    except ValueError:
        raise UsageError(f"--at-most {text!r}: {value!r} is not a number") from None


def _pictures(record: SampleRecord) -> list[str]:
    """Return a line for each picture of a sample's requests: how it was made from the original, if it was."""
    contents = [m["content"] for request in record.requests for m in request.get("messages", ())]
    parts = [part for content in contents if isinstance(content, list) for part in content]
    pictures = [part for part in parts if part.get("type") == "image"]
    return [part.get("made") or f"{part['media_type']}, as it is" for part in pictures]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _beginning(text: str | None) -> str:
    line = " ".join((text or "").split())
    return line if len(line) <= SHOWN else f"{line[:SHOWN]}…"


def find_sample(store: Any, run: Run, name: str) -> SampleRecord:
    """Return the sample with the id ``name``, or at ``#SEQUENCE``. Raises ``UsageError``."""
    if name.startswith("#") and name[1:].isdigit():
        sample: SampleRecord = store.samples.get(run.id, int(name[1:]))
        return sample
    for record in store.samples.records(run.id):
        if record.sample.id == name:
            return msgspec.convert(record, SampleRecord)
    raise UsageError(
        f"run {run.id} has no sample {name!r}. List its samples: {command()} show {run.id} --samples"
    )


def _notes(record: SampleRecord) -> tuple[str, ...]:
    response = record.answer.response if record.answer else None
    return response.notes if response else ()


def _turn(turn: Turn) -> str:
    """Return a turn of a conversation as text: its words, the calls in it, or the result of one."""
    problem = f" ({turn.use.problem})" if turn.use and turn.use.problem else ""
    calls = [f"→ {name} {_arguments(arguments)}" for name, arguments in turn.calls]
    body = "\n".join([*([turn.text] if turn.text else []), *calls]).replace("\n", "\n  ")
    reasoning = turn.reasoning.strip().replace("\n", "\n  ")
    thought = f"{turn.role} thinks: {reasoning}\n" if reasoning else ""
    return f"{thought}{turn.role}{f' {turn.tool}' if turn.tool else ''}{problem}: {body}"


def _arguments(arguments: Any) -> str:
    return arguments if isinstance(arguments, str) else encoded(arguments).decode()


def _identity(record: SampleRecord, repeats: int) -> str:
    """Return the sample's id, number and status; of several repeats, also how to show the others."""
    if repeats == 1:
        return f"{record.sample.id} (#{record.sequence}), {record.status.value}"
    first = record.sequence - record.repeat
    return (
        f"{record.sample.id} (#{record.sequence}, repeat {record.repeat}), {record.status.value}\n"
        f"All {repeats} repeats: --sample '#{first}' to '#{first + repeats - 1}'"
    )


def _answer(record: SampleRecord) -> str:
    if record.answer is None:
        return record.error or ""
    return record.answer.reply or record.no_answer * (record.answer.response is not None)


def _tokens(record: SampleRecord) -> str:
    tokens = record.tokens
    thought = f", {tokens.reasoning:,} of them reasoning" if tokens.reasoning else ""
    calls = f"{record.calls:,} call{'s' * (record.calls != 1)}"
    return f"{tokens.prompt:,} in, {tokens.completion:,} out{thought}; {calls}"


def print_sample(record: SampleRecord, repeats: int = 1) -> None:
    """Print a sample as plain text, with control characters escaped. ``repeats``: those of its run."""
    answer, conversations = record.answer, talks(record)
    reasoning = answer.response.reasoning if answer and answer.response and not conversations else ""
    parts = [
        ("sample", _identity(record, repeats)),
        ("question", record.sample.input),
        ("target", "\n".join(record.sample.targets)),
        *([("reasoning", reasoning.strip())] if reasoning else []),
        ("answer", _answer(record)),
        *([("notes", "\n".join(notes))] if (notes := _notes(record)) else []),
        (
            "scores",
            "\n".join(f"{s.metric} = {s.value if s.error is None else s.error}" for s in record.scores),
        ),
    ]
    for talk in conversations:
        ended = f", ended by: {talk.facts.stopped}" if talk.facts else ""
        parts.append((f"conversation{ended}", "\n".join(map(_turn, talk.turns))))
    if record.calls:
        judge = f", judge {dollars(record.judge_cost)}" if record.judge_cost else ""
        parts.append(("tokens", _tokens(record)))
        parts.append(("cost", dollars(record.cost) + judge))
    if pictures := _pictures(record):
        parts.append(("pictures sent", "\n".join(pictures)))
    if ranked := answer.ranked if answer else None:
        ranks = {document: rank for rank, document in enumerate(ranked, 1)}
        relevant = [name for name, grade in record.sample.relevance.items() if grade > 0]
        lines = [f"{name}: {ranks.get(name, f'not among {len(ranked)}')}" for name in relevant]
        parts.append(("ranks of the relevant documents", "\n".join(lines)))
    for number, passage in enumerate((answer.passages if answer else None) or (), 1):
        gold = " gold" if record.sample.relevance.get(passage.document, 0) > 0 else ""
        parts.append((f"[{number}] {passage.id}{gold}", f"{passage.title}\n{passage.text}".strip()))
    for title, text in parts:
        echo(title, bold=True)
        echo("  " + text.replace("\n", "\n  ") + "\n")

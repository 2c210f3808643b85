"""What an answer says, as a name that is equal for answers that say the same: the unit of a majority vote."""

from __future__ import annotations

from typing import Literal, NamedTuple

from evalkit.metrics.text import normalize
from evalkit.metrics.vision import read_math
from evalkit.reading.answers import read_label, read_number
from evalkit.reading.numbers import quantity
from evalkit.types import Answer, Sample

LABELS = ("yes", "no", "maybe")


class Vote(NamedTuple):
    """An answer's vote: what was read of the answer, and its name."""

    kind: Literal["choice", "exact answer", "number", "label", "text"]
    name: str


def vote(sample: Sample, answer: Answer | None) -> Vote | None:
    """Return what an answer votes for; None for a failed reply, which has no vote. The first that applies:

    the choice that the task read; the first exact answer that the task read
    (``answer.metadata["exact_answer"]``); where all targets are numbers, the number in the reply; where they
    are yes, no or maybe, the label in the reply; the reply's text after ``normalize``. Of a reply with a
    ``\\\\boxed{}``, only the content of the last one is read.
    """
    if answer is None or answer.failed:
        return None
    if answer.choice is not None:
        return Vote("choice", str(answer.choice))
    if (exact := answer.metadata.get("exact_answer")) is not None:
        names = exact if isinstance(exact, list | tuple) else [exact]
        return Vote("exact answer", normalize(str(names[0]))) if names else None
    reply = answer.reply
    if "\\boxed{" in reply:
        reply = read_math(reply) or ""
    targets = [target.strip().lower() for target in sample.targets]
    if not targets:
        return Vote("text", normalize(reply))
    if all(target in LABELS for target in targets) and (label := read_label(reply, LABELS, sample.input)):
        return Vote("label", label)
    if all(quantity(target) is not None for target in targets):
        number = read_number(reply, sample.input)
        return Vote("text", normalize(reply)) if number is None else Vote("number", f"{number.normalize():f}")
    return Vote("text", normalize(reply))

"""Multiple choice: accuracy of the options that the task read out of the replies."""

from __future__ import annotations

from evalkit.errors import MetricError
from evalkit.facts import Chosen, read
from evalkit.metric import Metric
from evalkit.types import Answer, Sample


def accuracy() -> Metric:
    """Return ``accuracy``: 1 where ``answer.choice`` (an index into ``sample.choices``) is right, else 0.

    Where the options were shown in every rotation (``answer_choice(circular=True)``), the score is 1 only if
    every pick is right. Each target names a right option. A target is read, in this order, as the exact text
    of an option, as its capital letter (``"A"`` is the first), as its index (``"0"`` is the first).
    A reply from which no choice could be read scores 0: a choice is never guessed.
    Raises ``MetricError`` where the sample has no choices or the target names none of them.
    """
    return Metric("accuracy", _accuracy, help="1 if the chosen option is the right one")


def _accuracy(sample: Sample, answer: Answer) -> float:
    right = right_options(sample)
    picks = read(answer, Chosen).picks or [answer.choice]
    return float(all(choice in right for choice in picks))


def right_options(sample: Sample) -> set[int]:
    """Return the indices of the right options, as ``accuracy`` reads the targets. Raises ``MetricError``."""
    return {index for target in sample.targets for index in _options(sample, target)}


def _options(sample: Sample, target: str) -> list[int]:
    """Return the options that a target names: several only where options have the same text."""
    choices = sample.choices
    if target in choices:
        return [i for i, choice in enumerate(choices) if choice == target]
    if len(target) == 1 and 0 <= (letter := ord(target) - ord("A")) < min(len(choices), 26):
        return [letter]
    if target.isascii() and target.isdigit() and len(target) < 5 and int(target) < len(choices):
        return [int(target)]
    raise MetricError(
        f"sample {sample.id!r}: the target {target!r} is not one of its choices {list(choices)}; "
        "give the option's text, its letter or its index"
    )

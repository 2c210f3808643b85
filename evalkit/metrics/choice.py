"""Multiple choice: accuracy of the options that the task read out of the replies."""

from __future__ import annotations

from evalkit.errors import MetricError
from evalkit.facts import Chosen, read
from evalkit.metric import Metric
from evalkit.types import Answer, Sample


def accuracy() -> Metric:
    """Return ``accuracy``: 1 where ``answer.choice`` (an index into ``sample.choices``) is right, else 0.

    Where the options were shown in every rotation (``answer_choice(circular=True)``), the score is 1 only if
    every pick is right. ``right_options`` says which options are right. A reply from which no choice could be
    read scores 0: a choice is never guessed. Of two options with the same text only the right one counts, as
    in the official scores of MedMCQA.
    Raises ``MetricError`` where ``right_options`` does, before the run begins.
    """
    return Metric(
        "accuracy",
        _accuracy,
        help="1 if the chosen option is the right one",
        check_sample=right_options,
        version=2,
    )


def _accuracy(sample: Sample, answer: Answer) -> float:
    right = right_options(sample)
    picks = read(answer, Chosen).picks or [answer.choice]
    return float(all(choice in right for choice in picks))


def right_options(sample: Sample) -> set[int]:
    """Return the indices of the right options: ``sample.answer``, else those that the targets name.

    A target names an option by its exact text, its capital letter (``"A"`` is the first) or its index
    (``"0"`` is the first). Raises ``MetricError`` where it names none, or where these ways name different
    options (the target "A" of the choices "B", "A"; the target "same" of two choices with this text).
    """
    choices = sample.choices
    if len(choices) == 1:
        raise MetricError(f"sample {sample.id!r} has one choice, {choices[0]!r}; give at least two")
    if sample.answers:
        if all(isinstance(i, int) and 0 <= i < len(choices) for i in sample.answers):
            return set(sample.answers)
        raise MetricError(
            f"sample {sample.id!r}: answer={sample.answer!r} is no index of its {len(choices)} choices; "
            "the first is 0"
        )
    return {_option(sample, target) for target in sample.targets}


def _option(sample: Sample, target: str) -> int:
    """Return the only option that a target names."""
    choices = sample.choices
    named = [i for i, choice in enumerate(choices) if choice == target]
    if len(target) == 1 and 0 <= (letter := ord(target) - ord("A")) < min(len(choices), 26):
        named.append(letter)
    if target.isascii() and target.isdigit() and len(target) < 5 and int(target) < len(choices):
        named.append(int(target))
    if not named:
        raise MetricError(
            f"sample {sample.id!r}: the target {target!r} is not one of its choices {list(choices)}; "
            "give the index of the right option, as in answer=0 for the first"
        )
    if len(set(named)) > 1:
        first, second = sorted(set(named))[:2]
        raise MetricError(
            f"sample {sample.id!r}: the target {target!r} can mean choice {first} or choice {second} of "
            f"{list(choices)}; give answer={first} or answer={second} instead"
        )
    return named[0]

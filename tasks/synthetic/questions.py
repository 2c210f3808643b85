"""The samples and the corpus: question, graded abstracts, reference summary and gold facts of each topic."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from evalkit import Sample
from evalkit.metrics.abstaining import ABSTENTION
from evalkit.metrics.mentions import numbers
from evalkit.util.paths import write_whole

from .chance import Chance
from .kinds import Difficulty, contradicted, grow
from .literature import GRADES, Topic, Trial
from .reading import COUNTS
from .render import abstract, the, title

VERSION = 2  # increase when a seed no longer gives the same bytes

_QUESTIONS = (
    "In adults with {condition}, does {drug} compared with {control} {change} {outcome}?",
    "Does {drug} {change} {outcome} in adults with {condition}, compared with {control}?",
    "Should adults with {condition} be given {drug} rather than {control} to {change} {outcome}?",
    "What is known from randomised trials about {drug} versus {control} for {outcome} in {condition}?",
    "How does {drug} affect {outcome} in patients with {condition} when compared with {control}?",
)
_INDIRECT = (
    "In adults with {condition}, is {drug} better than {control} for {outcome}?",
    "How does {drug} compare with {control} for {outcome} in {condition}?",
    "Which does more for {outcome} in adults with {condition}, {drug} or {control}?",
)
_VERDICTS = {
    "favours treatment": "the evidence favours {drug}",
    "favours control": "the evidence favours {control}",
    "no clear difference": "there is no clear difference between {drug} and {control}",
    "conflicting": "the evidence is conflicting",
}


def question(topic: Topic) -> str:
    """Return the topic as a clinician's question."""
    chance = Chance(topic.drug, topic.condition, "question")
    return chance.choice(_INDIRECT if topic.kind == "indirect" else _QUESTIONS).format(
        drug=topic.drug,
        control=topic.control,
        condition=topic.condition,
        outcome=the(chance.choice((topic.outcome.name, topic.outcome.synonym)), topic.measure),
        change="increase" if topic.outcome.desirable else "reduce",
    )


def relevance(topic: Topic) -> dict[str, int]:
    """Return grades by trial id: 2 answers the question; 1 is an interim report or has another outcome."""
    grades = {trial.id: GRADES.get(trial.relation, 0) for trial in topic.trials}
    return {name: grade for name, grade in grades.items() if grade}


def facts(topic: Topic) -> dict[str, str]:
    """Return the gold facts by name; numbers as printed, an interval as ``0.60 to 0.84``."""
    pooled, trials = topic.pooled, topic.answering
    conflict = {"conflict": "yes" if topic.conflict else "no"}
    return {
        "direction": topic.direction,
        "trials": str(len(trials)),
        "participants": str(sum(trial.participants for trial in trials)),
        "pooled": str(pooled.value),
        "interval": f"{pooled.low} to {pooled.high}",
        **({"comparator": topic.comparator} if topic.kind == "indirect" else conflict),
        **{f"estimate {trial.id}": str(trial.effect.value) for trial in trials},
    }


def reference(topic: Topic, cite: bool = True) -> str:
    """Return the reference summary: three or four sentences that cite trials by id."""
    trials, pooled, known = topic.answering, topic.pooled, facts(topic)
    drug, control = topic.drug, topic.control
    marks = [f" [{trial.id}]" if cite else "" for trial in trials]
    cited = "".join(marks).replace("] [", "][")
    estimates = [f"{trial.effect.value}{mark}" for trial, mark in zip(trials, marks, strict=True)]
    people = f"{int(known['participants']):,} participants"
    verdict = _VERDICTS[topic.direction].format(drug=drug, control=control)
    single = f"The single estimates were {', '.join(estimates[:-1])} and {estimates[-1]}."
    number = COUNTS[len(trials)]
    if topic.kind == "indirect":
        return (
            f"No trial compared {drug} with {control} directly; {number} trials with {people} compared one "
            f"of them with {topic.comparator} in {topic.condition}{cited}. "
            f"The pooled indirect {topic.measure} of {drug} against {control} for {topic.outcome.name} was "
            f"{pooled.value} (95% CI {known['interval']}), and {verdict}{cited}. {single}"
        )
    agreement = f"conflict: one favours it, another {control}" if topic.conflict else "do not conflict"
    return (
        f"{number.capitalize()} trials with {people} compared {drug} with {control} "
        f"in {topic.condition}{cited}. "
        f"The pooled {topic.measure} for {topic.outcome.name} was {pooled.value} "
        f"(95% CI {known['interval']}), and {verdict}{cited}. "
        f"{single} "
        f"These trials of {drug} {agreement}{cited}."
    )


def digest(trial: Trial) -> str:
    """Return the names and numbers of a trial's abstract, to check citations of a trial not shown."""
    written = " ".join(map(str, numbers(abstract(trial))))
    return f"{trial.drug}, {trial.control}, {trial.condition}: {written}"


def derived(topic: Topic) -> list[str]:
    """Return the numbers that are in no abstract but follow from the trials that answer the question."""
    known, pooled = facts(topic), topic.pooled
    change = [] if topic.measure == "mean difference" else [abs(100 * pooled.value - 100)]
    steps = (
        [topic.pooled_of(drug) for drug in (topic.drug, topic.control)] if topic.kind == "indirect" else []
    )
    return [
        known["trials"],
        known["participants"],
        *map(str, (pooled.value, pooled.low, pooled.high, *change)),
        *(str(x) for step in steps for x in (step.value, step.low, step.high)),
    ]


def sample(topic: Topic) -> Sample:
    """Return the topic as a sample; the second target is the summary without its citations."""
    direction = {} if topic.kind == "missing" else {"direction": topic.direction}
    slices = {"measure": topic.measure, **direction, "control": _kind(topic.control)}
    if topic.kind is not None:
        slices["kind"] = topic.kind
    if topic.kind == "missing":
        known = {**_about(topic), "trials": {}, "derived": [], "answerable": False}
        return Sample(_name(topic), question(topic), ABSTENTION, slices=slices, metadata=known)
    return Sample(
        id=_name(topic),
        input=question(topic),
        target=(reference(topic), reference(topic, cite=False)),
        relevance=relevance(topic),
        slices=slices,
        metadata=_metadata(topic),
    )


def _name(topic: Topic) -> str:
    return f"topic-{topic.number:06d}"


def _kind(control: str) -> str:
    return "placebo" if control == "placebo" else "active"


def _about(topic: Topic) -> dict[str, Any]:
    return {
        "drug": topic.drug,
        "control": topic.control,
        "condition": topic.condition,
        "desirable": topic.outcome.desirable,
    }


def _metadata(topic: Topic) -> dict[str, Any]:
    retracted = {trial.id: str(trial.effect.value) for trial in topic.trials if trial.retracted}
    return {
        **_about(topic),
        "facts": facts(topic),
        "derived": derived(topic),
        "trials": {trial.id: digest(trial) for trial in topic.answering},
        **({"retracted": retracted} if retracted else {}),
    }


def samples(seed: int, topics: int, difficulty: Difficulty = "standard") -> Iterator[Sample]:
    """Yield all questions of a literature."""
    return map(sample, grow(seed, topics, difficulty))


def contradicted_samples(seed: int, topics: int, difficulty: Difficulty = "standard") -> Iterator[Sample]:
    """Yield the questions with added trials that make the evidence conflict, as documents in the metadata."""
    for topic, grown in contradicted(seed, topics, difficulty):
        added = [document(trial, topic) for trial in grown.trials[len(topic.trials) :]]
        question = sample(grown)
        yield replace(question, metadata=question.metadata | {"contradicting": added})


def documents(seed: int, topics: int, difficulty: Difficulty = "standard") -> Iterator[dict[str, Any]]:
    """Yield all abstracts of a literature as lines of a corpus."""
    for topic in grow(seed, topics, difficulty):
        for trial in topic.trials:
            yield document(trial, topic)


def document(trial: Trial, topic: Topic) -> dict[str, Any]:
    """Return a trial's report as a line of a corpus."""
    return {
        "id": trial.id,
        "title": title(trial),
        "text": abstract(trial),
        "year": trial.year,
        "registration": trial.registration,
        "relation": trial.relation,
        "topic": topic.number,
    }


def write_corpus(folder: Path, seed: int, topics: int, difficulty: Difficulty = "standard") -> Path:
    """Write the corpus to a JSON Lines file in ``folder``, atomically and only once; return its path."""
    level = "" if difficulty == "standard" else f"-{difficulty}"
    path = folder / f"fictional-trials-v{VERSION}-seed{seed}-topics{topics}{level}.jsonl"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        lines = (msgspec.json.encode(line) + b"\n" for line in documents(seed, topics, difficulty))
        write_whole(path, b"".join(lines))
    return path

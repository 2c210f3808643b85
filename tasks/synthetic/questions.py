"""From the facts of a topic: the question, grades of its abstracts, reference summary, gold facts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from evalkit.types import Sample

from .chance import Chance
from .literature import GRADES, Topic, Trial, generate
from .reading import COUNTS, numbers
from .render import abstract, the, title

VERSION = 2  # raise it whenever a seed no longer gives the same bytes

_QUESTIONS = (
    "In adults with {condition}, does {drug} compared with {control} {change} {outcome}?",
    "Does {drug} {change} {outcome} in adults with {condition}, compared with {control}?",
    "Should adults with {condition} be given {drug} rather than {control} to {change} {outcome}?",
    "What is known from randomised trials about {drug} versus {control} for {outcome} in {condition}?",
    "How does {drug} affect {outcome} in patients with {condition} when compared with {control}?",
)
_VERDICTS = {
    "favours treatment": "the evidence favours {drug}",
    "favours control": "the evidence favours {control}",
    "no clear difference": "there is no clear difference between {drug} and {control}",
    "conflicting": "the evidence is conflicting",
}


def question(topic: Topic) -> str:
    """The topic as a clinician would ask it."""
    chance = Chance(topic.drug, topic.condition, "question")
    return chance.choice(_QUESTIONS).format(
        drug=topic.drug,
        control=topic.control,
        condition=topic.condition,
        outcome=the(chance.choice((topic.outcome.name, topic.outcome.synonym)), topic.measure),
        change="increase" if topic.outcome.desirable else "reduce",
    )


def relevance(topic: Topic) -> dict[str, int]:
    """Grades by trial id: 2 answers the question, 1 is an interim report or has another outcome."""
    grades = {trial.id: GRADES.get(trial.relation, 0) for trial in topic.trials}
    return {name: grade for name, grade in grades.items() if grade}


def facts(topic: Topic) -> dict[str, str]:
    """What a good summary says, by name; numbers as they are printed, an interval as ``0.60 to 0.84``."""
    pooled, trials = topic.pooled, topic.answering
    return {
        "direction": topic.direction,
        "trials": str(len(trials)),
        "participants": str(sum(trial.participants for trial in trials)),
        "pooled": str(pooled.value),
        "interval": f"{pooled.low} to {pooled.high}",
        "conflict": "yes" if topic.conflict else "no",
        **{f"estimate {trial.id}": str(trial.effect.value) for trial in trials},
    }


def reference(topic: Topic, cite: bool = True) -> str:
    """The reference summary: four sentences, citing trials by their ids."""
    trials, pooled, known = topic.answering, topic.pooled, facts(topic)
    drug, control = topic.drug, topic.control
    marks = [f" [{trial.id}]" if cite else "" for trial in trials]
    cited = "".join(marks).replace("] [", "][")
    estimates = [f"{trial.effect.value}{mark}" for trial, mark in zip(trials, marks, strict=True)]
    people = f"{int(known['participants']):,} participants"
    verdict = _VERDICTS[topic.direction].format(drug=drug, control=control)
    agreement = f"conflict: one favours it, another {control}" if topic.conflict else "do not conflict"
    return (
        f"{COUNTS[len(trials)].capitalize()} trials with {people} compared {drug} with {control} "
        f"in {topic.condition}{cited}. "
        f"The pooled {topic.measure} for {topic.outcome.name} was {pooled.value} "
        f"(95% CI {known['interval']}), and {verdict}{cited}. "
        f"The single estimates were {', '.join(estimates[:-1])} and {estimates[-1]}. "
        f"These trials of {drug} {agreement}{cited}."
    )


def digest(trial: Trial) -> str:
    """The names and numbers in the trial's abstract: checks a citation by id where it was not shown."""
    written = " ".join(map(str, numbers(abstract(trial))))
    return f"{trial.drug}, {trial.control}, {trial.condition}: {written}"


def derived(topic: Topic) -> list[str]:
    """Numbers that stand in no abstract but follow from those that answer the question."""
    known, pooled = facts(topic), topic.pooled
    change = [] if topic.measure == "mean difference" else [abs(100 * pooled.value - 100)]
    return [
        known["trials"],
        known["participants"],
        *map(str, (pooled.value, pooled.low, pooled.high, *change)),
    ]


def sample(topic: Topic) -> Sample:
    """The topic as one item of the benchmark. The second target is the summary without its citations."""
    return Sample(
        id=f"topic-{topic.number:06d}",
        input=question(topic),
        target=(reference(topic), reference(topic, cite=False)),
        relevance=relevance(topic),
        slices={"measure": topic.measure, "direction": topic.direction, "control": _kind(topic.control)},
        metadata=_metadata(topic),
    )


def _kind(control: str) -> str:
    return "placebo" if control == "placebo" else "active"


def _metadata(topic: Topic) -> dict[str, Any]:
    return {
        "drug": topic.drug,
        "control": topic.control,
        "condition": topic.condition,
        "desirable": topic.outcome.desirable,
        "facts": facts(topic),
        "derived": derived(topic),
        "trials": {trial.id: digest(trial) for trial in topic.answering},
    }


def samples(seed: int, topics: int) -> Iterator[Sample]:
    """All questions of a literature, lazily."""
    return map(sample, generate(seed, topics))


def documents(seed: int, topics: int) -> Iterator[dict[str, Any]]:
    """All abstracts of a literature, lazily, as lines of a corpus."""
    for topic in generate(seed, topics):
        for trial in topic.trials:
            yield {
                "id": trial.id,
                "title": title(trial),
                "text": abstract(trial),
                "year": trial.year,
                "registration": trial.registration,
                "relation": trial.relation,
                "topic": topic.number,
            }


def write_corpus(folder: Path, seed: int, topics: int) -> Path:
    """The corpus as a JSONL file in ``folder``: written whole or not at all, and only once."""
    path = folder / f"fictional-trials-v{VERSION}-seed{seed}-topics{topics}.jsonl"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.part")
        with part.open("wb") as file:
            for document in documents(seed, topics):
                file.write(msgspec.json.encode(document) + b"\n")
        part.replace(path)
    return path

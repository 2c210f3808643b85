"""Easier and harder literatures, and contradicting evidence, derived from the standard topics.

They draw from their own random streams, so that the standard literature of a seed stays the same, byte for
byte. A hard literature adds three kinds of questions: ``retracted`` (a retracted trial among those that
answer would change the answer), ``missing`` (the pool has no answer; the right reply is to abstain) and
``indirect`` (no trial compares the two drugs; both were compared with the same control).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Literal

from msgspec.structs import replace

from .chance import Chance
from .effects import Direction
from .literature import ANSWERING, Kind, Relation, Topic, Trial, Writer, generate, recognizable, writers

Difficulty = Literal["easy", "standard", "hard"]

_KINDS: tuple[Kind, ...] = ("pooled", "pooled", "retracted", "missing", "indirect")
_MISLEADING = frozenset({"other outcome", "other drug", "head to head"})
_SIDES: tuple[Direction, ...] = ("favours treatment", "favours control")
_ALL: tuple[Direction, ...] = (*_SIDES, "no clear difference")
_RETRACTED, _CONTRADICTING = 12, 13  # trial numbers that no standard topic takes


def grow(seed: int, topics: int, difficulty: Difficulty = "standard") -> Iterator[Topic]:
    """Yield the topics of a literature; topic *n* is the same in a small literature and in a large one."""
    if difficulty == "standard":
        yield from generate(seed, topics)
    for writer in writers(seed, topics) if difficulty != "standard" else ():
        yield _easy(writer.topic()) if difficulty == "easy" else _hard(writer)


def contradicted(
    seed: int, topics: int, difficulty: Difficulty = "standard"
) -> Iterator[tuple[Topic, Topic]]:
    """Yield topics, each also with one or two added trials of the same question that make trials conflict.

    The added trials are in no corpus. The kinds ``missing`` and ``indirect`` are left out.
    """
    for topic, writer in zip(grow(seed, topics, difficulty), writers(seed, topics), strict=True):
        if topic.kind not in ("missing", "indirect"):
            yield topic, _contradict(writer, topic)


def _easy(topic: Topic) -> Topic:
    """Return the topic without the trials that mislead most."""
    return replace(topic, trials=tuple(t for t in topic.trials if t.relation not in _MISLEADING))


def _hard(writer: Writer) -> Topic:
    kind = Chance(writer.seed, "kind", writer.number).choice(_KINDS)
    if kind == "indirect":
        return _indirect(writer)
    topic = replace(writer.topic(), kind=kind)
    if kind == "retracted":
        return _with_retracted(writer, topic)
    if kind == "missing":
        kept = tuple(t for t in topic.trials if t.relation not in ANSWERING and t.relation != "interim")
        return replace(topic, trials=kept)
    return topic


def _with_retracted(writer: Writer, topic: Topic) -> Topic:
    """Return the topic with a retracted trial of the same question and another direction."""
    writer.restart(at=_RETRACTED)
    writer.chance = chance = Chance(writer.seed, "retracted", writer.number)
    aim = chance.choice([aim for aim in _ALL if aim != topic.direction])

    def fits(trial: Trial) -> bool:
        return trial.direction == aim and _new(topic, trial)

    drawn = _until(fits, writer, "retracted", aim)
    return replace(topic, trials=(*topic.trials, replace(drawn, retracted=drawn.year + chance.integer(1, 4))))


def _contradict(writer: Writer, topic: Topic) -> Topic:
    writer.chance = Chance(writer.seed, "contradiction", writer.number)
    directions = {trial.direction for trial in topic.answering}
    aims = [aim for aim in _SIDES if aim not in directions] or list(_SIDES[1:])
    for number, aim in enumerate(aims, _CONTRADICTING):
        writer.restart(at=number)
        added = _until(partial(_contradicts, topic, aim), writer, "contradicting", aim)
        topic = replace(topic, trials=(*topic.trials, added))
    return topic


def _contradicts(topic: Topic, aim: Direction, trial: Trial) -> bool:
    grown = replace(topic, trials=(*topic.trials, trial))
    return trial.direction == aim and _new(topic, trial) and recognizable(grown)


def _until(fits: Callable[[Trial], bool], writer: Writer, relation: Relation, aim: Direction) -> Trial:
    """Draw trials until one fits; return its results with the number of the first draw."""
    first = drawn = writer.trial(relation, aim, writer.chance.integer(2005, 2024))
    while not fits(drawn):
        drawn = writer.trial(relation, aim, first.year)
    return replace(drawn, id=first.id, registration=first.registration)


def _new(topic: Topic, trial: Trial) -> bool:
    """Return whether the trial's estimate is unique in the topic, so that a reply with it used the trial."""
    pooled = topic.pooled
    stated = {pooled.value, pooled.low, pooled.high}
    stated |= {x for t in topic.trials for x in (t.effect.value, t.effect.low, t.effect.high)}
    return abs(trial.effect.value) not in {abs(x) for x in stated}


def _indirect(writer: Writer) -> Topic:
    """Return a topic of two drugs that trials compare with the same control, never with each other."""
    writer.chance = chance = Chance(writer.seed, "indirect", writer.number)
    scenario = chance.choice(_ALL)
    while True:  # a random draw may miss its scenario: a few attempts
        writer.restart()
        sides = ((writer.drug, "favours treatment"), (writer.rival, "favours control"))
        trials = [trial for drug, side in sides for trial in _versus_common(writer, drug, scenario, side)]
        roles = {"control": writer.rival, "comparator": writer.control, "kind": "indirect"}
        topic = replace(writer.asking(trials), **roles)
        if topic.direction == scenario and recognizable(topic):
            return replace(topic, trials=(*topic.trials, *_elsewhere(writer)))


def _versus_common(writer: Writer, drug: str, scenario: Direction, side: str) -> Iterator[Trial]:
    """Yield one or two trials of a drug, which is effective if the scenario favours its side or no side."""
    chance, effective = writer.chance, scenario in (side, "no clear difference")
    aim: Direction = "favours treatment" if effective else "no clear difference"
    years = sorted(chance.integer(2001, 2024) for _ in range(chance.integer(1, 2)))
    for year in years:
        yield replace(writer.trial("versus common", aim, year), drug=drug)


def _elsewhere(writer: Writer) -> Iterator[Trial]:
    """Yield trials of both drugs in the other condition, and maybe one for another outcome."""
    chance = writer.chance
    for drug in (writer.drug, writer.rival):
        trial = writer.trial("other condition", chance.choice(_ALL), chance.integer(2001, 2024))
        yield replace(trial, drug=drug, condition=writer.elsewhere)
    if chance.happens(0.6):
        yield writer.trial("other outcome", chance.choice(_ALL), chance.integer(2001, 2024))

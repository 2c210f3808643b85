"""A medical literature that nobody has read: drugs, conditions and trials, invented from a seed.

``generate(seed, topics)`` yields topics one by one. Each has its own random stream, so that topic 3 is the
same in a literature of 10 and of 100,000. A topic is a clinical question with its trials: those that answer
it, interim reports that they supersede, and trials that only seem to answer it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from math import sqrt
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from . import effects
from .chance import Chance
from .effects import HUNDREDTH, Direction, Effect, Measure
from .names import Names, Scatter

Relation = Literal[
    "original",
    "replication",
    "contradicting",
    "interim",  # superseded by its final report, one of the three above
    "other outcome",
    "other condition",
    "other drug",
    "head to head",  # another drug, with the topic's drug as control
    "versus common",  # one of two drugs that no trial compares, against their common control
    "retracted",
]
Kind = Literal["pooled", "retracted", "missing", "indirect"]
"""The kind of a hard question (see ``kinds``); questions of the standard literature have none."""

ANSWERING = frozenset({"original", "replication", "contradicting", "versus common"})
GRADES = {**dict.fromkeys(ANSWERING, 2), "interim": 1, "other outcome": 1}
SLOTS = 16  # trial numbers reserved for each topic
_ID_SPACE = 10_000_000


class Outcome(Struct, frozen=True):
    """The outcome of a trial, with a synonym. ``desirable``: more is better for the patient."""

    name: str
    synonym: str
    desirable: bool = False


class Arm(Struct, frozen=True):
    """One group of patients: ``events`` for ratios, ``mean`` and ``sd`` for mean differences."""

    n: int
    adverse: int
    events: int = 0
    mean: Decimal = Decimal(0)
    sd: Decimal = Decimal(0)


class Trial(Struct, frozen=True, kw_only=True):
    """The report of a randomized trial with two arms.

    ``supersedes`` is the year of the interim report that a final report replaces; ``mentions`` a drug that
    the background names but the trial does not test; ``retracted`` the year of the retraction.
    """

    id: str
    registration: str
    relation: Relation
    drug: str
    control: str
    condition: str
    outcome: Outcome
    measure: Measure
    effect: Effect
    treated: Arm
    controls: Arm
    year: int
    blinding: str
    country: str
    centres: int
    weeks: int
    adverse_event: str
    supersedes: int | None = None
    mentions: str = ""
    retracted: int | None = None

    @property
    def participants(self) -> int:
        return self.treated.n + self.controls.n

    @property
    def direction(self) -> Direction:
        return self.effect.direction(self.measure, self.outcome.desirable)


class Topic(Struct, frozen=True, kw_only=True):
    """A question and all its trials, in the order of their numbers.

    In the kind ``indirect``, ``control`` is the drug that ``drug`` is compared with through ``comparator``.
    """

    number: int
    drug: str
    control: str
    condition: str
    outcome: Outcome
    measure: Measure
    trials: tuple[Trial, ...]
    kind: Kind | None = None
    comparator: str = ""

    @property
    def answering(self) -> tuple[Trial, ...]:
        """The final reports of the trials of this question, which are pooled."""
        return tuple(t for t in self.trials if t.relation in ANSWERING)

    @property
    def pooled(self) -> Effect:
        if self.kind == "indirect":
            return effects.indirect(self.pooled_of(self.drug), self.pooled_of(self.control), self.measure)
        return effects.pool([t.effect for t in self.answering], self.measure)

    def pooled_of(self, drug: str) -> Effect:
        """Return the pooled effect of the trials of one drug."""
        return effects.pool([t.effect for t in self.answering if t.drug == drug], self.measure)

    @property
    def conflict(self) -> bool:
        """Whether one trial's interval favours the treatment and another's the control."""
        return self.kind != "indirect" and {"favours treatment", "favours control"} <= {
            t.direction for t in self.answering
        }

    @property
    def direction(self) -> Direction:
        """The direction of the evidence by the pooled interval; ``conflicting`` if the trials conflict."""
        return "conflicting" if self.conflict else self.pooled.direction(self.measure, self.outcome.desirable)


EVENTS = (
    Outcome("relapse", "recurrence"),
    Outcome("hospital admission", "inpatient stay"),
    Outcome("death from any cause", "overall mortality"),
    Outcome("acute flare", "sudden exacerbation"),
    Outcome("loss of vision", "blindness"),
    Outcome("clinical remission", "absence of symptoms", desirable=True),
    Outcome("return to work", "resumption of employment", desirable=True),
    Outcome("independent walking", "unaided gait", desirable=True),
)
SCORES = (
    Outcome("pain score", "pain rating"),
    Outcome("fatigue score", "tiredness rating"),
    Outcome("symptom severity score", "disease burden index"),
    Outcome("quality-of-life score", "wellbeing index", desirable=True),
    Outcome("walking distance", "distance walked", desirable=True),
)
_BLINDING = ("double-blind", "double-blind", "assessor-blinded", "open-label")
_COUNTRIES = ("Norway", "Portugal", "Canada", "Japan", "Chile", "Kenya", "Poland", "Vietnam", "Mexico")
_ADVERSE = ("headache", "nausea", "dizziness", "rash", "insomnia", "dry mouth", "diarrhoea", "fatigue")
_SCENARIOS: tuple[tuple[Direction, int], ...] = (
    ("favours treatment", 4),
    ("no clear difference", 3),
    ("favours control", 2),
    ("conflicting", 3),
)


def generate(seed: int, topics: int) -> Iterator[Topic]:
    """Yield ``topics`` topics. Raises ``UsageError`` where invented names run out (180,000 topics)."""
    return (writer.topic() for writer in writers(seed, topics))


def writers(seed: int, topics: int) -> Iterator[Writer]:
    """Yield a writer for each topic of a literature. Raises ``UsageError`` as ``generate`` does."""
    names = Names(seed)
    ids, registrations = Scatter(_ID_SPACE, seed, "ids"), Scatter(_ID_SPACE * 10, seed, "registrations")
    for number in range(topics):
        yield Writer(seed, number, names, ids, registrations)


class Writer:
    """Draws one topic from the random stream ``chance``."""

    def __init__(self, seed: int, number: int, names: Names, ids: Scatter, registrations: Scatter) -> None:
        self.chance = chance = Chance(seed, "topic", number)
        self.seed, self.number, self._used = seed, number, 0
        self._ids, self._registrations = ids, registrations
        self.drug, self.rival, active = (names.drug(3 * number + i) for i in range(3))
        self.control = "placebo" if chance.happens(0.7) else active
        self.condition, self.elsewhere = names.condition(number * 2), names.condition(number * 2 + 1)
        self.measure: Measure = chance.choice(("risk ratio", "risk ratio", "hazard ratio", "mean difference"))
        self.outcomes = SCORES if self.measure == "mean difference" else EVENTS
        self.outcome = chance.choice(self.outcomes)
        self.scenario = chance.choice([aim for aim, weight in _SCENARIOS for _ in range(weight)])

    def restart(self, at: int = 0) -> None:
        """Continue with trial number ``at`` of the topic; a topic of the standard kind takes at most 12."""
        self._used = at

    def asking(self, trials: Iterable[Trial]) -> Topic:
        """Return the writer's question with these trials."""
        return Topic(
            number=self.number,
            drug=self.drug,
            control=self.control,
            condition=self.condition,
            outcome=self.outcome,
            measure=self.measure,
            trials=tuple(trials),
        )

    def topic(self) -> Topic:
        """Return the topic of the standard literature."""
        while True:  # a random draw may miss its scenario: a few attempts
            self.restart()
            topic = self.asking(self._answering())
            if topic.direction == self.scenario and recognizable(topic):
                reports = self._with_interim(list(topic.trials))
                return replace(topic, trials=(*reports, *self._distractors()))

    def _answering(self) -> Iterator[Trial]:
        chance = self.chance
        conflicting = self.scenario == "conflicting"
        count = chance.integer(2, 4)
        against = chance.integer(1, count - 1) if conflicting else 0
        years = sorted(chance.integer(2001, 2024) for _ in range(count))
        usual: Direction = "favours treatment" if conflicting else self.scenario
        for place, year in enumerate(years):
            contradicting = place >= count - against
            aim: Direction = "favours control" if contradicting else usual
            relation: Relation = "contradicting" if contradicting else "replication" if place else "original"
            yield self.trial(relation, aim, year)

    def _with_interim(self, trials: list[Trial]) -> list[Trial]:
        """Return the trials; in half of the topics, with an interim report that the final report mentions."""
        chance = self.chance
        if not chance.happens(0.5):
            return trials
        place = chance.integer(0, len(trials) - 1)
        final, earlier = trials[place], chance.integer(1, 3)
        interim = self.trial("interim", final.direction, final.year - earlier, size=final.treated.n // 2)
        same = ("registration", "blinding", "country", "centres", "weeks", "adverse_event")
        trials[place] = replace(final, supersedes=interim.year)
        return [*trials, replace(interim, **{name: getattr(final, name) for name in same})]

    def _distractors(self) -> Iterator[Trial]:
        chance = self.chance
        aims: tuple[Direction, ...] = ("favours treatment", "favours control", "no clear difference")

        def trial(relation: Relation, **changes: str) -> Trial:
            return replace(self.trial(relation, chance.choice(aims), chance.integer(2001, 2024)), **changes)

        if chance.happens(0.6):
            yield trial("other outcome")
        for _ in range(chance.integer(1, 2)):
            yield trial("other condition", condition=self.elsewhere)
        for _ in range(chance.integer(0, 2)):
            yield trial("other drug", drug=self.rival, mentions=self.drug)
        for _ in range(chance.integer(1, 2)):
            yield trial("head to head", drug=self.rival, control=self.drug)

    def trial(self, relation: Relation, aim: Direction, year: int, size: int = 0) -> Trial:
        """Return a trial of the topic's question, varied by ``relation``, with the next number."""
        chance = self.chance
        number = self.number * SLOTS + self._used
        self._used += 1
        outcome = self.outcome
        if relation == "other outcome":
            outcome = chance.choice([o for o in self.outcomes if o != outcome])
        size = size or chance.integer(140, 620)
        n, n0 = size + chance.integer(-6, 6), size + chance.integer(-6, 6)
        effect, treated, controls = self._result(aim, outcome, n, n0)
        return Trial(
            id=f"FT-{self._ids[number]:07d}",
            registration=f"VRN-{self._registrations[number]:08d}",
            relation=relation,
            drug=self.drug,
            control=self.control,
            condition=self.condition,
            outcome=outcome,
            measure=self.measure,
            effect=effect,
            treated=treated,
            controls=controls,
            year=year,
            blinding=chance.choice(_BLINDING),
            country=chance.choice(_COUNTRIES),
            centres=chance.integer(2, 48),
            weeks=chance.choice((12, 16, 24, 26, 36, 52, 78, 104)),
            adverse_event=chance.choice(_ADVERSE),
        )

    def _result(self, aim: Direction, outcome: Outcome, n: int, n0: int) -> tuple[Effect, Arm, Arm]:
        """Return the result of a trial of this size: an effect drawn around the true one for ``aim``."""
        chance = self.chance
        adverse, adverse0 = n * chance.integer(6, 26) // 100, n0 * chance.integer(4, 18) // 100
        upwards = (aim == "favours treatment") == outcome.desirable
        if self.measure == "mean difference":
            size = 0 if aim == "no clear difference" else chance.integer(300, 700)
            sd, sd0 = _hundredths(chance.integer(1100, 1900)), _hundredths(chance.integer(1100, 1900))
            mean0 = _hundredths(chance.integer(3600, 5600))
            noise = int(chance.normal() * 100 * sqrt(sd * sd / n + sd0 * sd0 / n0))
            mean = mean0 + _hundredths((size if upwards else -size) + noise)
            effect = effects.mean_difference(mean, sd, n, (mean0, sd0, n0))
            return effect, Arm(n, adverse, mean=mean, sd=sd), Arm(n0, adverse0, mean=mean0, sd=sd0)
        low, high = (95, 105) if aim == "no clear difference" else (135, 170) if upwards else (52, 76)
        true = chance.integer(low, high)
        risk0 = chance.integer(24, 46) / 100
        events0 = _binomial(chance, n0, risk0)
        if self.measure == "risk ratio":
            events = _binomial(chance, n, risk0 * true / 100)
            effect = effects.risk_ratio(events, n, events0, n0)
        else:
            events = min(n * events0 * true // (n0 * 100), n - 2)
            effect = effects.hazard_ratio(_hundredths(true), chance.normal(), events + events0)
        return effect, Arm(n, adverse, events), Arm(n0, adverse0, events0)


def _hundredths(number: int) -> Decimal:
    return number * HUNDREDTH


def _binomial(chance: Chance, n: int, p: float) -> int:
    """Return events among ``n`` patients at risk ``p``, by the normal approximation: 2 to n − 2."""
    return max(2, min(n - 2, round(n * p + chance.normal() * sqrt(n * p * (1 - p)))))


def recognizable(topic: Topic) -> bool:
    """Return whether no trial states the pooled figures, so that only pooling gives them."""
    pooled = {abs(x) for x in _figures(topic.pooled)}
    printed = {abs(x) for trial in topic.trials for x in _figures(trial.effect)}
    return len(pooled) == 3 and not pooled & printed


def _figures(effect: Effect) -> tuple[Decimal, Decimal, Decimal]:
    return effect.value, effect.low, effect.high

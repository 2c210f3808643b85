"""Write a trial as a structured abstract, in one of many wordings.

The trial's own random stream draws the wording, so that a changed template changes no fact. The text contains
every number of the trial, in digits.
"""

from __future__ import annotations

from decimal import Decimal

from .chance import Chance
from .effects import Measure
from .literature import Arm, Trial

_TITLES = (
    "{drug} versus {control} for {condition}: {a} {blinding} randomised trial",
    "Effect of {drug} on {the_outcome} in adults with {condition}",
    "{drug} compared with {control} in {condition}",
    "{outcome} in {condition}: a randomised comparison of {drug} and {control}",
    "{Blinding}, multicentre trial of {drug} in patients with {condition}",
)
_INTERIM_TITLE = "{drug} for {condition}: interim results of {a} {blinding} randomised trial"
_BACKGROUNDS = (
    "{condition} is a long-term disorder for which few treatments are known to work.",
    "Whether {drug} helps adults with {condition} is uncertain.",
    "{drug} was developed for {condition} after promising laboratory work.",
    "Adults with {condition} carry a heavy burden of illness, and the place of {drug} in their care is "
    "debated.",
    "Clinicians who look after people with {condition} have asked for better evidence on {drug}.",
)
_MENTIONS = (
    "Many patients are now given {mentions}, but not all of them tolerate it.",
    "{mentions} is often prescribed in this setting, and alternatives are wanted.",
    "Unlike {mentions}, {drug} can be taken once a day.",
)
_AIMS = {
    "original": ("This was the first randomised trial of the drug for this purpose.", ""),
    "replication": ("We set out to repeat an earlier trial in another population.", ""),
    "contradicting": ("Enthusiasm after earlier trials called for an independent test.", ""),
    "interim": ("This is a planned interim report; the final report of trial {registration} will follow.",),
}
_RETRACTION = (
    "This article was retracted in {retracted}: the trial's records could not be produced on request.",
    "The editors retracted this report in {retracted}, as its data could not be verified.",
    "Retracted in {retracted} after an inquiry found that patients had been invented.",
)
_FINAL = "This final report of trial {registration} replaces the interim report of {supersedes}."
_METHODS = (
    "In this {blinding} trial at {centres} centres in {country}, adults with {condition} were assigned "
    "at random to {drug} (n = {n}) or {control} (n = {n0}). The primary outcome was {outcome} at {weeks} "
    "weeks.",
    "We randomly allocated {total} adults with {condition}, recruited at {centres} sites in {country}, to "
    "{drug} ({n} patients) or {control} ({n0} patients) in {a} {blinding} design. {Outcome} over {weeks} "
    "weeks was the primary outcome.",
    "{Blinding} randomised trial, {centres} hospitals, {country}. Participants had {condition} and received "
    "{drug} ({n}) or {control} ({n0}). Follow-up lasted {weeks} weeks; the main endpoint was {outcome}.",
)
_REGISTERED = (
    "Trial registration: {registration}.",
    "Registered as {registration}.",
    "Registry number {registration}.",
)
_ENROLLED = (
    "{total} patients underwent randomisation in the years up to {year} and were analysed.",
    "All {total} randomised participants entered the analysis, which was closed in {year}.",
    "Analysis in {year} included {total} participants.",
)
_EVENTS = (
    "{outcome} occurred in {events} of {n} patients ({share}%) given {drug} and in {events0} of {n0} "
    "({share0}%) given {control} ({measure} {value}, {interval}).",
    "{outcome} was recorded in {events}/{n} ({share}%) in the {drug} group and {events0}/{n0} "
    "({share0}%) in the {control} group, for a {measure} of {value} ({interval}).",
    "The {measure} for {outcome} was {value} ({interval}), with events in {events} of {n} ({share}%) on "
    "{drug} and {events0} of {n0} ({share0}%) on {control}.",
)
_SCORES = (
    "Mean {outcome} at the end was {mean} (SD {sd}) with {drug} and {mean0} (SD {sd0}) with {control}: mean "
    "difference {value} ({interval}).",
    "At {weeks} weeks the {outcome} averaged {mean} (SD {sd}) in the {drug} group against {mean0} (SD "
    "{sd0}) in the {control} group, a mean difference of {value} ({interval}).",
    "The mean difference in {outcome} was {value} ({interval}); group means were {mean} (SD {sd}) for "
    "{drug} and {mean0} (SD {sd0}) for {control}.",
)
_INTERVALS = (
    "95% CI {low} to {high}",
    "95% CI, {low} to {high}",
    "95% confidence interval {low} to {high}",
    "{low} to {high}, 95% CI",
)
_SAFETY = (
    "{adverse_event} was reported by {adverse_share}% of patients on {drug} and {adverse_share0}% on "
    "{control}.",
    "The commonest adverse event was {adverse_event} ({adverse}/{n} with {drug}, {adverse0}/{n0} with "
    "{control}).",
    "Adverse events, mainly {adverse_event}, affected {adverse} patients in the {drug} group and "
    "{adverse0} in the {control} group.",
)
_CHANGED = (
    "In adults with {condition}, {drug} {verb} {the_outcome} compared with {control}.",
    "{drug} {verb} {the_outcome} in patients with {condition}.",
    "Compared with {control}, {drug} {verb} {the_outcome} in {condition}.",
)
_UNCHANGED = (
    "There was no clear difference in {the_outcome} between {drug} and {control} in adults with {condition}.",
    "{drug} did not change {the_outcome} in {condition} compared with {control}.",
    "We found no significant effect of {drug} on {the_outcome} in patients with {condition}.",
)
_INCREASING, _DECREASING = ("increased", "raised"), ("reduced", "lowered")


def title(trial: Trial) -> str:
    """Return the abstract's title."""
    chance = Chance(trial.id, "title")
    text = _fill(_INTERIM_TITLE if trial.relation == "interim" else chance.choice(_TITLES), _words(trial))
    return f"RETRACTED: {text}" if trial.retracted else text


def abstract(trial: Trial) -> str:
    """Return the abstract's text, in labelled sections on one line."""
    chance, words = Chance(trial.id, "text"), _words(trial)
    words["interval"] = chance.choice(_INTERVALS).format(**words)
    if chance.happens(0.5):
        words["total"] = str(trial.participants)  # 1204 beside 1,204
    background = [
        chance.choice(_BACKGROUNDS),
        chance.choice(_MENTIONS) if trial.mentions else "",
        _aim(trial, chance),
    ]
    methods = [chance.choice(_METHODS), chance.choice(_REGISTERED)]
    finding = _SCORES if trial.measure == "mean difference" else _EVENTS
    results = [chance.choice(_ENROLLED), chance.choice(finding), chance.choice(_SAFETY)]
    sections = {
        "BACKGROUND": background,
        "METHODS": methods,
        "RESULTS": results,
        "CONCLUSIONS": [_conclusion(trial, chance)],
    }
    if trial.retracted:
        sections["RETRACTION"] = [chance.choice(_RETRACTION)]
    return " ".join(
        f"{label}: " + " ".join(_fill(sentence, words) for sentence in sentences if sentence)
        for label, sentences in sections.items()
    )


def _aim(trial: Trial, chance: Chance) -> str:
    if trial.supersedes:
        return _FINAL
    return chance.choice(_AIMS.get(trial.relation, ("",)))


def _conclusion(trial: Trial, chance: Chance) -> str:
    if trial.direction == "no clear difference":
        return chance.choice(_UNCHANGED)
    upwards = (trial.direction == "favours treatment") == trial.outcome.desirable
    return chance.choice(_CHANGED).replace("{verb}", chance.choice(_INCREASING if upwards else _DECREASING))


def the(outcome: str, measure: Measure) -> str:
    """Return an outcome as inside a sentence: ``the pain score``, but ``relapse``."""
    return f"the {outcome}" if measure == "mean difference" else outcome


def percent(part: int, whole: int) -> str:
    """Return ``part`` in percent of ``whole``, with one decimal, in decimal arithmetic."""
    return str((Decimal(part * 100) / whole).quantize(Decimal("0.1")))


def _words(trial: Trial) -> dict[str, str]:
    """Return the values of the templates' fields."""
    outcome = Chance(trial.id, "outcome").choice((trial.outcome.name, trial.outcome.synonym))
    return {
        "drug": trial.drug,
        "control": trial.control,
        "condition": trial.condition,
        "outcome": outcome,
        "Outcome": outcome.capitalize(),
        "the_outcome": the(outcome, trial.measure),
        "blinding": trial.blinding,
        "Blinding": trial.blinding.capitalize(),
        "a": "an" if trial.blinding[0] in "aeiou" else "a",
        "country": trial.country,
        "mentions": trial.mentions,
        "registration": trial.registration,
        "supersedes": str(trial.supersedes),
        "retracted": str(trial.retracted),
        "year": str(trial.year),
        "centres": str(trial.centres),
        "weeks": str(trial.weeks),
        "total": f"{trial.participants:,}",
        "measure": trial.measure,
        "value": str(trial.effect.value),
        "low": str(trial.effect.low),
        "high": str(trial.effect.high),
        "adverse_event": trial.adverse_event,
        **_arm(trial.treated, trial.measure, ""),
        **_arm(trial.controls, trial.measure, "0"),
    }


def _arm(arm: Arm, measure: Measure, suffix: str) -> dict[str, str]:
    words = {"n": str(arm.n), "adverse": str(arm.adverse), "adverse_share": percent(arm.adverse, arm.n)}
    if measure == "mean difference":
        words |= {"mean": str(arm.mean), "sd": str(arm.sd)}
    else:
        words |= {"events": str(arm.events), "share": percent(arm.events, arm.n)}
    return {name + suffix: word for name, word in words.items()}


def _fill(template: str, words: dict[str, str]) -> str:
    """Return the filled template with a capital first letter."""
    text = template.format(**words)
    return text[0].upper() + text[1:]

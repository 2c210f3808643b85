"""The invented literature: the same bytes everywhere, right statistics, every fact in its abstract."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from evalkit_tasks.synthetic import questions
from evalkit_tasks.synthetic.effects import Effect, hazard_ratio, mean_difference, pool, risk_ratio
from evalkit_tasks.synthetic.literature import Topic, generate
from evalkit_tasks.synthetic.names import Names
from evalkit_tasks.synthetic.reading import direction
from evalkit_tasks.synthetic.render import abstract, title

from evalkit.errors import UsageError
from evalkit.metrics.mentions import numbers

# Changed on purpose? Then raise questions.VERSION with it.
CORPUS_OF_SEED_7 = "7a17342df29f052c0b9f06a47870ee30f67bb8d87838bd043a818e24a4fdd3b3"
SAMPLES_OF_SEED_7 = "99453011ed0711ad5c1003dcf0b07f880eca87bec963718a6820fb92fc36b3cc"


@pytest.fixture(scope="module")
def topics() -> list[Topic]:
    return list(generate(7, 300))


def digest(values) -> str:
    return hashlib.sha256(b"\n".join(msgspec.json.encode(v) for v in values)).hexdigest()


def test_the_same_seed_gives_the_same_bytes_everywhere() -> None:
    assert questions.VERSION == 2
    assert digest(questions.documents(7, 40)) == CORPUS_OF_SEED_7
    assert digest(questions.samples(7, 40)) == SAMPLES_OF_SEED_7


def test_another_seed_shares_no_name_and_no_abstract(topics: list[Topic]) -> None:
    others = list(generate(8, 300))
    assert not {t.drug for t in topics} & {t.drug for t in others}
    assert not {t.condition for t in topics} & {t.condition for t in others}
    abstracts = [{abstract(trial) for topic in made for trial in topic.trials} for made in (topics, others)]
    assert not abstracts[0] & abstracts[1]


def test_a_topic_is_the_same_in_a_larger_literature(topics: list[Topic]) -> None:
    assert list(generate(7, 5)) == topics[:5]


def test_no_invented_name_collides() -> None:
    names = Names(7)
    drugs = {names.drug(i) for i in range(60_000)}
    eponyms = {names.condition(i).split()[0].lower() for i in range(40_000)}
    assert (len(drugs), len(eponyms)) == (60_000, 40_000)
    assert not drugs & eponyms


def test_a_literature_too_large_for_its_names_is_refused() -> None:
    with pytest.raises(UsageError, match="ask for fewer topics"):
        Names(7).condition(1_000_000)


def test_trials_are_unique_but_for_the_registration_of_an_interim_report(topics: list[Topic]) -> None:
    trials = [trial for topic in topics for trial in topic.trials]
    assert len({t.id for t in trials}) == len(trials)
    for topic in topics:
        interim = [t for t in topic.trials if t.relation == "interim"]
        final = [t for t in topic.answering if t.supersedes]
        assert [t.registration for t in interim] == [t.registration for t in final]
        assert [t.year for t in interim] == [t.supersedes for t in final]
        assert all(i.participants < f.participants for i, f in zip(interim, final, strict=True))
        assert all(i.registration in abstract(f) for i, f in zip(interim, final, strict=True))
    registered = [t.registration for t in trials if t.relation != "interim"]
    assert len(set(registered)) == len(registered)


def test_risk_ratio_by_the_log_method_worked_by_hand() -> None:
    # 15/100 against 30/100: ln 0.5 = -0.6931; SE = sqrt(1/15 - 1/100 + 1/30 - 1/100) = sqrt(0.08) = 0.28284;
    # exp(-0.6931 -+ 1.96 * 0.28284) = exp(-1.2475), exp(-0.1388)
    assert risk_ratio(15, 100, 30, 100) == Effect(Decimal("0.50"), Decimal("0.29"), Decimal("0.87"))


def test_hazard_ratio_worked_by_hand() -> None:
    # no noise, 100 events: SE = 2/10; exp(ln 0.8 -+ 0.392) = 0.8 * 0.67570, 0.8 * 1.47994
    assert hazard_ratio(Decimal("0.8"), 0.0, 100) == Effect(Decimal("0.80"), Decimal("0.54"), Decimal("1.18"))


def test_mean_difference_worked_by_hand() -> None:
    # 40 - 45 with SD 10, 12 and n 100, 144: SE = sqrt(1 + 1) = 1.41421; -5 -+ 2.77186
    found = mean_difference(Decimal(40), Decimal(10), 100, (Decimal(45), Decimal(12), 144))
    assert found == Effect(Decimal("-5.00"), Decimal("-7.77"), Decimal("-2.23"))


def test_pooling_two_ratios_worked_by_hand() -> None:
    # ln 0.60 = -0.51083, SE (ln 0.80 - ln 0.45)/3.92 = 0.14678, weight 46.418
    # ln 0.90 = -0.10536, SE (ln 1.20 - ln 0.68)/3.92 = 0.14489, weight 47.632
    # mean -0.30548, SE 1/sqrt(94.050) = 0.10311: exp(-0.30548) = 0.7368; exp(-0.50759), exp(-0.10337)
    effects = [Effect(*map(Decimal, e)) for e in (("0.60", "0.45", "0.80"), ("0.90", "0.68", "1.20"))]
    assert pool(effects, "risk ratio") == Effect(Decimal("0.74"), Decimal("0.60"), Decimal("0.90"))


def test_pooled_effects_equal_an_independent_calculation_in_floats(topics: list[Topic]) -> None:
    for topic in topics:
        ratio = topic.measure != "mean difference"
        to, back = (math.log, math.exp) if ratio else (float, float)
        rows = [tuple(map(to, (e.value, e.low, e.high))) for e in (t.effect for t in topic.answering)]
        weights = [(2 * 1.96 / (high - low)) ** 2 for _, low, high in rows]
        mean = math.fsum(w * row[0] for w, row in zip(weights, rows, strict=True)) / math.fsum(weights)
        half = 1.96 / math.sqrt(math.fsum(weights))
        pooled = topic.pooled
        found = [float(x) for x in (pooled.value, pooled.low, pooled.high)]
        assert found == pytest.approx([back(mean), back(mean - half), back(mean + half)], abs=0.00501)


def test_event_counts_give_the_printed_risk_ratio(topics: list[Topic]) -> None:
    trials = [t for topic in topics for t in topic.trials if t.measure == "risk ratio"]
    for trial in trials:
        a, c = trial.treated, trial.controls
        log = math.log((a.events / a.n) / (c.events / c.n))
        error = math.sqrt(1 / a.events - 1 / a.n + 1 / c.events - 1 / c.n)
        found = [float(x) for x in (trial.effect.value, trial.effect.low, trial.effect.high)]
        hand = [math.exp(log), math.exp(log - 1.96 * error), math.exp(log + 1.96 * error)]
        assert found == pytest.approx(hand, abs=0.00501)
    assert len(trials) > 500


def test_every_number_of_a_trial_stands_in_its_abstract(topics: list[Topic]) -> None:
    for trial in itertools.chain.from_iterable(t.trials for t in topics):
        text = abstract(trial)
        written = set(numbers(text))
        arms = (trial.treated, trial.controls)
        facts = [trial.participants, trial.year, trial.weeks, trial.centres, *(arm.n for arm in arms)]
        facts += [abs(x) for x in (trial.effect.value, trial.effect.low, trial.effect.high)]
        if trial.measure == "mean difference":
            facts += [x for arm in arms for x in (arm.mean, arm.sd)]
        else:
            facts += [arm.events for arm in arms]
        assert written >= {Decimal(x) for x in facts}
        assert all(name in text for name in (trial.control, trial.condition, trial.registration))
        assert trial.drug in text.lower()
        assert "{" not in text + title(trial)
        assert len(text.split()) <= 250


def test_conclusions_read_as_the_direction_of_their_trial(topics: list[Topic]) -> None:
    for trial in itertools.chain.from_iterable(t.trials for t in topics):
        said = abstract(trial).split("CONCLUSIONS: ")[1]
        assert direction(said, trial.drug, trial.control, trial.outcome.desirable) == trial.direction


def test_wordings_vary(topics: list[Topic]) -> None:
    conclusions = set()
    for trial in itertools.chain.from_iterable(t.trials for t in topics):
        text = abstract(trial).split("CONCLUSIONS: ")[1].lower()
        for name in (
            trial.drug,
            trial.control,
            trial.condition.lower(),
            trial.outcome.name,
            trial.outcome.synonym,
        ):
            text = text.replace(name, "X")
        conclusions.add(text)
    assert len(conclusions) >= 15


def test_every_direction_and_measure_is_asked_for(topics: list[Topic]) -> None:
    directions = [t.direction for t in topics]
    for name in ("favours treatment", "favours control", "no clear difference", "conflicting"):
        assert directions.count(name) >= 30
    assert {t.measure for t in topics} == {"risk ratio", "hazard ratio", "mean difference"}
    assert {t.conflict for t in topics if t.direction == "conflicting"} == {True}


def test_superseded_and_other_trials_are_not_pooled(topics: list[Topic]) -> None:
    for topic in topics:
        pooled = topic.answering
        assert 2 <= len(pooled) <= 4
        assert {(t.drug, t.control, t.condition, t.outcome) for t in pooled} == {
            (topic.drug, topic.control, topic.condition, topic.outcome)
        }
        assert all("interim results" not in title(t) for t in pooled)
        assert set(questions.relevance(topic).values()) <= {1, 2}
        assert sum(g == 2 for g in questions.relevance(topic).values()) == len(pooled)


def test_pooled_figures_stand_in_none_of_the_trials_pooled(topics: list[Topic]) -> None:
    """So that only who pools can state them."""
    for topic in topics:
        effects = {abs(x) for t in topic.answering for x in (t.effect.value, t.effect.low, t.effect.high)}
        assert not effects & {abs(x) for x in (topic.pooled.value, topic.pooled.low, topic.pooled.high)}


def test_every_number_of_a_reference_is_derivable(topics: list[Topic]) -> None:
    for topic in topics:
        known = {abs(Decimal(n)) for n in questions.derived(topic)}
        known |= {abs(t.effect.value) for t in topic.answering}
        assert set(numbers(questions.reference(topic))) <= known


def test_the_corpus_file_is_written_once_and_whole(tmp_path: Path) -> None:
    path = questions.write_corpus(tmp_path, 7, 5)
    before = path.stat().st_mtime_ns
    assert questions.write_corpus(tmp_path, 7, 5) == path
    assert path.stat().st_mtime_ns == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    rows = [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]
    assert rows == list(questions.documents(7, 5))
    assert {row["id"] for row in rows} >= {d for s in questions.samples(7, 5) for d in s.relevance}
    assert questions.write_corpus(tmp_path, 8, 5) != path


def test_bm25_finds_most_trials_but_is_led_astray() -> None:
    bm25s = pytest.importorskip("bm25s")
    documents, samples = list(questions.documents(7, 40)), list(questions.samples(7, 40))
    index = bm25s.BM25()
    texts = [f"{d['title']} {d['text']}" for d in documents]
    index.index(bm25s.tokenize(texts, show_progress=False), show_progress=False)
    asked = bm25s.tokenize([s.input for s in samples], show_progress=False)
    found, _ = index.retrieve(asked, k=5, show_progress=False)
    shares = []
    for sample, row in zip(samples, found, strict=True):
        gold = {name for name, grade in sample.relevance.items() if grade == 2}
        shares.append(len(gold & {documents[i]["id"] for i in row}) / len(gold))
    assert 0.6 < sum(shares) / len(shares) < 0.95


def test_the_example_in_the_documentation_is_what_the_generator_makes() -> None:
    page = (Path(__file__).parents[2] / "docs" / "fictional-trials.md").read_text(encoding="utf-8")
    topic = list(generate(7, 7))[6]
    sample = questions.sample(topic)
    final = next(trial for trial in topic.answering if trial.supersedes)
    for shown in (sample.input, f"**{title(final)}**", abstract(final), sample.targets[0]):
        assert f"\n> {shown}\n" in page
    blocks = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", page, re.DOTALL)]
    assert blocks == [sample.relevance, sample.metadata["facts"]]

"""Hard questions, and evidence that contradicts: right statistics, and full marks for what is right alone."""

from __future__ import annotations

import math
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest
from evalkit_tasks.synthetic import questions
from evalkit_tasks.synthetic.effects import Effect, indirect
from evalkit_tasks.synthetic.kinds import contradicted, grow
from evalkit_tasks.synthetic.literature import Topic, generate
from evalkit_tasks.synthetic.metrics import EXACT, HARD
from evalkit_tasks.synthetic.render import abstract, title

from evalkit import Answer, Passage, Sample
from evalkit.metrics.abstaining import ABSTENTION, where_answerable

TOPICS = 200


@pytest.fixture(scope="module")
def hard() -> list[Topic]:
    return list(grow(7, TOPICS, "hard"))


def passages(topic: Topic) -> tuple[Passage, ...]:
    return tuple(Passage(t.id, abstract(t), title(t)) for t in topic.trials)


def test_an_indirect_comparison_worked_by_hand() -> None:
    # ln 0.60 = -0.51083, SE 0.14678; ln 0.90 = -0.10536, SE 0.14489 (as in the test of pooling)
    # difference -0.40547, SE sqrt(0.021545 + 0.020994) = 0.20625: exp(-0.40547) = 0.67;
    # exp(-0.40547 -+ 0.40425) = exp(-0.80972), exp(-0.00122)
    first, second = (Effect(*map(Decimal, e)) for e in (("0.60", "0.45", "0.80"), ("0.90", "0.68", "1.20")))
    assert indirect(first, second, "risk ratio") == Effect(Decimal("0.67"), Decimal("0.44"), Decimal("1.00"))
    # -5 less -1, SEs 2.77186/1.96 and 1.4142 alike: -4 -+ 1.96 * 2
    first, second = (Effect(*map(Decimal, e)) for e in (("-5", "-7.77", "-2.23"), ("-1", "-3.77", "1.77")))
    assert indirect(first, second, "mean difference").value == Decimal("-4.00")
    assert indirect(first, second, "mean difference").low == pytest.approx(
        Decimal("-7.92"), abs=Decimal("0.01")
    )


def test_every_kind_is_asked_for_and_every_trial_has_its_own_id(hard: list[Topic]) -> None:
    kinds = Counter(topic.kind for topic in hard)
    assert set(kinds) == {"pooled", "retracted", "missing", "indirect"}
    assert min(kinds.values()) > TOPICS / 10
    ids = [trial.id for topic in hard for trial in topic.trials]
    for topic, grown in contradicted(7, TOPICS, "hard"):
        ids += [trial.id for trial in grown.trials[len(topic.trials) :]]
    assert len(set(ids)) == len(ids)


def test_a_harder_literature_has_the_same_questions_but_for_the_indirect_ones(hard: list[Topic]) -> None:
    for topic, plain in zip(hard, generate(7, TOPICS), strict=True):
        assert (topic.drug, topic.condition) == (plain.drug, plain.condition)
        if topic.kind == "pooled":
            assert topic.trials == plain.trials
    easy = list(grow(7, 20, "easy"))
    assert [questions.sample(t).targets for t in easy] == [s.targets for s in questions.samples(7, 20)]
    assert sum(len(t.trials) for t in easy) < sum(len(t.trials) for t in generate(7, 20))


def test_a_retracted_trial_says_so_points_elsewhere_and_is_not_pooled(hard: list[Topic]) -> None:
    for topic in (t for t in hard if t.kind == "retracted"):
        (trial,) = (t for t in topic.trials if t.retracted)
        assert title(trial).startswith("RETRACTED: ")
        assert f"{trial.retracted}" in abstract(trial).partition("RETRACTION: ")[2]
        assert trial.direction != topic.direction
        assert trial not in topic.answering
        assert trial.id not in questions.relevance(topic)
        assert (trial.drug, trial.control, trial.condition) == (topic.drug, topic.control, topic.condition)


def test_what_is_missing_is_in_no_document(hard: list[Topic]) -> None:
    documents = list(questions.documents(7, TOPICS, "hard"))
    for topic in (t for t in hard if t.kind == "missing"):
        sample = questions.sample(topic)
        assert (sample.target, sample.relevance) == (ABSTENTION, {})
        asked = (topic.drug, topic.control, topic.condition, topic.outcome)
        same = [t for t in topic.trials if (t.drug, t.control, t.condition, t.outcome) == asked]
        assert same == []
        assert any(d["topic"] == topic.number for d in documents)


def test_no_trial_compares_the_two_drugs_of_an_indirect_question(hard: list[Topic]) -> None:
    directions = Counter()
    for topic in (t for t in hard if t.kind == "indirect"):
        directions[topic.direction] += 1
        assert {t.drug for t in topic.answering} == {topic.drug, topic.control}
        assert {t.control for t in topic.trials} == {topic.comparator}
        effects = []
        for drug in (topic.drug, topic.control):
            ratio = topic.measure != "mean difference"
            to = math.log if ratio else float
            own = [t.effect for t in topic.answering if t.drug == drug]
            rows = [tuple(map(to, (e.value, e.low, e.high))) for e in own]
            weights = [(2 * 1.96 / (high - low)) ** 2 for _, low, high in rows]
            effects.append(sum(w * r[0] for w, r in zip(weights, rows, strict=True)) / sum(weights))
        back = math.exp if topic.measure != "mean difference" else float
        # Each side was rounded to two decimals on its way, as whoever reads and pools would print it.
        assert float(topic.pooled.value) == pytest.approx(back(effects[0] - effects[1]), rel=0.03, abs=0.03)
    assert set(directions) == {"favours treatment", "favours control", "no clear difference"}


def test_added_trials_make_the_evidence_conflict() -> None:
    for topic, grown in contradicted(7, 40):
        added = grown.trials[len(topic.trials) :]
        assert 1 <= len(added) <= 2
        assert grown.direction == "conflicting"
        assert grown.trials[: len(topic.trials)] == topic.trials
    (first, *_) = questions.contradicted_samples(7, 1)
    assert first.metadata["facts"]["conflict"] == "yes"
    assert {d["id"] for d in first.metadata["contradicting"]} <= set(first.relevance)


@pytest.mark.parametrize("seed", [7, 8])
def test_references_score_full_marks_and_abstaining_does_not_win(seed: int) -> None:
    metrics = where_answerable(*EXACT, *HARD)
    worst = Counter()
    for topic in grow(seed, 100, "hard"):
        sample = questions.sample(topic)
        best = {m.name: m(sample, Answer(text=sample.targets[0], passages=passages(topic))) for m in metrics}
        assert {v for n, v in best.items() if n != "unsupported_numbers"} <= {1.0, None}, (topic.kind, best)
        assert best["unsupported_numbers"] in (0.0, None)
        assert (best["fact_recall"] is None) == (topic.kind == "missing")
        assert (best["retraction_heeded"] is None) == (topic.kind != "retracted")
        assert (best["indirect_direction"] is None) == (topic.kind != "indirect")
        for text in (ABSTENTION, "x q zz [3]", "I'm sorry, but I can't help with that.", sample.input):
            scored = {m.name: m(sample, Answer(text=text, passages=passages(topic))) for m in metrics}
            worst.update(v for n, v in scored.items() if n != "unsupported_numbers")
            assert scored["unsupported_numbers"] in (1.0, None)
    assert set(worst) == {0.0, None}


STANDS, GONE, OTHER = (Passage(f"FT-000000{n}", f"Torvadrax 0.6{n}") for n in (1, 2, 3))
RETRACTED = Sample(
    "1",
    "?",
    relevance={"FT-0000001": 2},
    metadata={"drug": "torvadrax", "trials": {"FT-0000001": ""}, "retracted": {"FT-0000002": "0.62"}},
)


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("Torvadrax gave 0.61 [1].", 1),
        ("Torvadrax gave 0.61 [1]. A retracted trial gave 0.62 [2].", 1),
        ("Torvadrax gave 0.61 and 0.62 [1][2].", 0),
        ("Torvadrax gave 0.61 [1]. Another found 0.62.", 0),
        ("Torvadrax gave 0.61 [FT-0000001]. Another found more [FT-0000002].", 0),
        ("Torvadrax works.", 0),  # it cites nothing that stands
        ("It gave 0.61 [1].", 0),
    ],
)
def test_whether_a_retraction_is_heeded(text: str, score: float) -> None:
    heeded = HARD[0]
    assert heeded(RETRACTED, Answer(text=text, passages=(STANDS, GONE, OTHER))) == score
    assert heeded(RETRACTED, Answer(text=text, passages=(STANDS, OTHER))) is None
    assert heeded(RETRACTED, Answer(text=text, passages=(GONE, OTHER))) is None


def test_gold_scores_full_marks_and_empty_none_in_every_arm_of_a_hard_literature(evalkit) -> None:
    runs = evalkit.json(
        "run",
        "fictional_trials",
        "-p",
        "arm=all",
        "-p",
        "difficulty=hard",
        "-p",
        "search=bm25",
        "-p",
        "topics=25",
        "--model",
        "baseline:gold",
        "--model",
        "baseline:empty",
    )["runs"]
    assert len(runs) == 16
    others = {"length", "abstained", "recall@5", "mrr", "ndcg@10"}
    seen: set[str] = set()
    for run in runs:
        assert run["status"] == "complete"
        output = {name: m["value"] for name, m in run["metrics"].items() if name not in others}
        low = output.pop("unsupported_numbers", None)
        gold = run["model"] == "baseline:gold"
        assert set(output.values()) == {1.0 if gold else 0.0}, (run["task"], output)
        assert low in (None, 0.0 if gold else 1.0)
        seen |= set(output)
    assert seen >= {"abstention", "retraction_heeded", "indirect_direction", "evidence_direction"}


def test_the_corpus_of_another_difficulty_is_another_file(tmp_path: Path) -> None:
    standard, easy = questions.write_corpus(tmp_path, 7, 3), questions.write_corpus(tmp_path, 7, 3, "easy")
    assert standard != easy
    assert len(standard.read_bytes().splitlines()) > len(easy.read_bytes().splitlines())

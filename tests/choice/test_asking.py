"""Multiple choice as a mechanism: order, rotations, reading, likelihoods, and that nothing is guessed."""

from __future__ import annotations

import asyncio
import math
import random
from types import SimpleNamespace

import pytest

from evalkit.choice.asking import answer_choice, lettered, normalized, orders_of, pick, softmax
from evalkit.errors import UsageError
from evalkit.metrics import accuracy
from evalkit.model import Model
from evalkit.models import load
from evalkit.models.fake import FakeBackend
from evalkit.status import classify_answer
from evalkit.types import Answer, Message, Response, Sample, Status

DRUGS = ("aspirin", "insulin", "metformin", "warfarin")
SAMPLE = Sample("s1", "Which is a hormone?", "insulin", choices=DRUGS)


def model(reply) -> Model:
    return Model(FakeBackend(reply)).for_sample(SAMPLE)


def score(answer: Answer, sample: Sample = SAMPLE) -> float | None:
    return accuracy()(sample, answer, classify_answer(answer))


def prompt_of(request) -> str:
    return request.messages[-1].content


def letter_of(request, text: str) -> str:
    """The letter under which the prompt shows an option."""
    return next(line[0] for line in prompt_of(request).splitlines() if line[1:] == f". {text}")


async def ask(reply, sample: Sample = SAMPLE, **settings) -> Answer:
    return await answer_choice(sample, Model(FakeBackend(reply)).for_sample(sample), **settings)


async def test_a_reply_is_read_and_how_is_recorded():
    answer = await ask(lambda r: "It lowers glucose.\nAnswer: B")
    assert (answer.choice, score(answer), classify_answer(answer)) == (1, 1.0, Status.OK)
    assert answer.metadata["extractor"] == "letter.v2"
    assert answer.metadata["rule"] == "stated"
    assert answer.metadata["order"] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "reply",
    [
        "I do not know.",
        "A or B",
        "No response (bad request)",
        '{"answer_choice": "None of the above"}',
        "E",
        "…",
    ],
)
async def test_garbage_is_unparsed_and_scores_0_whichever_option_is_right(reply):
    """MIRAGE's scorer counts such a reply as A, MMMU's and lmms-eval's draw an option at random."""
    for target in DRUGS:
        sample = Sample("s1", "q", target, choices=DRUGS)
        answer = await ask(lambda r: reply, sample)
        assert answer.choice is None
        assert (classify_answer(answer), score(answer, sample)) == (Status.UNPARSED, 0.0)


async def test_empty_truncated_and_refused_replies_keep_their_names():
    for response, status in [
        (Response(text=""), Status.EMPTY),
        (Response(text="Let me think. First", finish_reason="length"), Status.TRUNCATED),
        (Response(text="Answer: B, and so on", finish_reason="length"), Status.TRUNCATED),
        (Response(text="No.", finish_reason="refusal"), Status.REFUSED),
        (Response(text="", reasoning="B it is", finish_reason="length"), Status.TRUNCATED),
    ]:
        answer = await ask(lambda r, response=response: response)
        assert (classify_answer(answer), score(answer)) == (status, 0.0)


async def test_reasoning_is_not_read_and_has_tokens_of_its_own():
    asked = []

    def think(request):
        asked.append(request.max_tokens)
        return Response(text="Answer: C", reasoning="Perhaps B? Answer: B")

    assert (await ask(think, max_tokens=100, reasoning_tokens=4000)).choice == 2
    assert asked == [4100]


async def test_an_option_that_reads_like_a_refusal_is_an_answer():
    sample = Sample(
        "s1", "What do you say?", "A", choices=("I cannot discuss her care with you.", "She died.")
    )
    answer = await ask(lambda r: "I cannot discuss her care with you.", sample)
    assert (answer.choice, classify_answer(answer)) == (0, Status.OK)


async def test_permutation_is_seeded_by_sample_and_choice_is_always_the_datas_index():
    orders = {seed: orders_of(SAMPLE, seed)[0] for seed in range(20)}
    assert all(sorted(order) == [0, 1, 2, 3] for order in orders.values())
    assert orders == {seed: orders_of(SAMPLE, seed)[0] for seed in range(20)}
    assert len(set(orders.values())) > 5
    assert len({orders_of(Sample(str(i), "q", choices=DRUGS), 1)[0] for i in range(50)}) > 10
    for seed in range(10):
        answer = await ask(lambda r: letter_of(r, "insulin"), permute=seed)
        assert (answer.choice, score(answer)) == (1, 1.0)
        assert answer.metadata["order"] == list(orders[seed])


async def test_every_option_comes_first_equally_often():
    firsts = [orders_of(Sample(str(i), "q", choices=DRUGS), 0)[0][0] for i in range(4000)]
    assert all(abs(firsts.count(option) / 4000 - 0.25) < 0.03 for option in range(4))


async def test_circular_is_right_only_if_right_under_every_rotation():
    knows = await ask(lambda r: f"Answer: {letter_of(r, 'insulin')}", circular=True)
    assert (knows.choice, knows.metadata["picks"], score(knows)) == (1, [1, 1, 1, 1], 1.0)
    always_b = await ask(lambda r: "Answer: B", circular=True)
    assert (always_b.metadata["picks"], score(always_b)) == ([1, 2, 3, 0], 0.0)
    assert classify_answer(always_b) is Status.OK, "it answered each time: that is no parse failure"
    wrong = await ask(lambda r: f"Answer: {letter_of(r, 'aspirin')}", circular=True)
    assert (wrong.choice, score(wrong)) == (0, 0.0)
    once_unread = await ask(lambda r: "B" if "B. insulin" in prompt_of(r) else "no idea", circular=True)
    assert (classify_answer(once_unread), score(once_unread)) == (Status.UNPARSED, 0.0)
    assert once_unread.reply == "no idea", "what could not be read is what is shown"


async def test_circular_with_two_right_options_asks_only_for_a_right_one():
    sample = Sample("s1", "Which is a tablet?", ("aspirin", "metformin"), choices=DRUGS)
    answer = await ask(
        lambda r: letter_of(r, "aspirin" if "A. aspirin" in prompt_of(r) else "metformin"),
        sample,
        circular=True,
    )
    assert answer.choice is None
    assert score(answer, sample) == 1.0


@pytest.mark.parametrize("method", ["generate", "constrained", "likelihood"])
@pytest.mark.parametrize(
    "settings", [{}, {"permute": 5}, {"circular": True}, {"permute": 5, "circular": True}]
)
async def test_gold_is_right_and_guessing_is_chance_by_every_method(method, settings):
    backend = load("baseline:gold")
    gold = await answer_choice(SAMPLE, Model(backend).for_sample(SAMPLE), method=method, **settings)
    assert (gold.choice, score(gold)) == (1, 1.0)
    guessing, right = Model(load("baseline:random")), 0.0
    for i in range(400):
        sample = Sample(str(i), "q", "insulin", choices=DRUGS)
        answer = await answer_choice(sample, guessing.for_sample(sample), method=method, **settings)
        right += score(answer, sample) or 0.0
    expected = 0.25**4 if settings.get("circular") else 0.25
    assert right / 400 == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / 400) + 0.003)


@pytest.mark.parametrize(
    "sample",
    [
        Sample("s1", "Which vitamin is ascorbic acid?", choices=("C", "A", "D", "B"), answer=0),
        Sample("s1", "How many are there?", choices=("3", "1", "0", "2"), answer=1),
        Sample("s1", "Which is a hormone?", choices=("zinc", "insulin", "zinc", "iron"), answer=2),
        Sample("s1", "Which microbe is it?", choices=("C. difficile", "E. coli", "B. cereus"), answer=0),
        Sample("s1", "Which drug is it?", choices=("A beta blocker", "A statin"), answer=(0,)),
    ],
    ids=["letters", "numbers", "twins", "abbreviations", "articles"],
)
@pytest.mark.parametrize("method", ["generate", "constrained", "likelihood"])
async def test_gold_is_right_where_options_are_letters_numbers_or_twins(sample, method):
    for settings in ({}, {"permute": 1}, {"circular": True}):
        model = Model(load("baseline:gold")).for_sample(sample)
        answer = await answer_choice(sample, model, method=method, **settings)
        assert score(answer, sample) == 1.0, settings


async def test_gold_shows_a_prompt_whose_letters_are_not_those_that_the_reply_is_read_by():
    """The prompt shows the options in the data's order, the reply is read in the shuffled one."""
    gold = Model(load("baseline:gold")).for_sample(SAMPLE)
    scores = []
    for seed in range(8):
        answer = await answer_choice(SAMPLE, gold, lambda shown: lettered(DRUGS), permute=seed)
        scores.append(score(answer))
        assert answer.reply == "B"
    assert 0.0 in scores


async def test_a_target_that_is_no_choice_does_not_stop_a_task_with_its_own_metric():
    sample = Sample("s1", "Explain.", "a free text", choices=DRUGS)
    assert (await ask(lambda r: "Answer: B", sample)).choice == 1


async def test_gold_by_likelihood_of_texts_and_json():
    for settings in (
        {"method": "likelihood", "score": "text", "permute": 2},
        {"method": "likelihood", "score": "text", "normalization": "unconditional"},
        {"method": "constrained", "constraint": "json_schema", "permute": 2},
    ):
        gold = await answer_choice(SAMPLE, Model(load("baseline:gold")).for_sample(SAMPLE), **settings)
        assert (gold.choice, score(gold)) == (1, 1.0)


async def test_constraints_are_sent_and_read_to_the_letter():
    seen = []

    def reply(request):
        seen.append(request)
        return '{"answer": "C"}' if request.json_schema else "C"

    assert (await ask(reply, method="constrained")).choice == 2
    answer = await ask(reply, method="constrained", constraint="json_schema", reasoning_tokens=1000)
    assert (answer.choice, answer.metadata["extractor"]) == (2, "json_schema.v1")
    assert seen[0].regex == "(A|B|C|D)"
    assert seen[1].json_schema["properties"]["answer"] == {"type": "string", "enum": ["A", "B", "C", "D"]}
    assert seen[1].max_tokens == 1032
    padded = Response(text='{"answer": "B"}        ', finish_reason="length")
    assert (
        classify_answer(await ask(lambda r: padded, method="constrained", constraint="json_schema"))
        is Status.OK
    )
    ignored = await ask(lambda r: "I think it is C.", method="constrained")
    assert (ignored.choice, classify_answer(ignored)) == (None, Status.UNPARSED)


def likelihoods(table):
    """A model with these log-probabilities, one number for each token, by context and continuation."""
    return lambda r: Response(text="", logprobs=table[r.prompt.splitlines()[0], r.continuation])


async def test_likelihood_of_letters_compares_what_follows_the_prompt():
    seen = []

    def reply(request):
        seen.append((request.prompt, request.continuation))
        return Response(
            text="", logprobs=(math.log({" A": 0.1, " B": 0.6, " C": 0.2, " D": 0.05}[request.continuation]),)
        )

    answer = await ask(reply, method="likelihood")
    assert (answer.choice, answer.reply, score(answer)) == (1, "B. insulin", 1.0)
    assert seen[0] == (
        "Question: Which is a hormone?\nA. aspirin\nB. insulin\nC. metformin\nD. warfarin\nAnswer:",
        " A",
    )
    assert answer.metadata["probabilities"] == pytest.approx(
        [0.1 / 0.95, 0.6 / 0.95, 0.2 / 0.95, 0.05 / 0.95]
    )


async def test_probabilities_are_in_the_order_of_the_data():
    answer = await ask(
        lambda r: Response(text="", logprobs=(-1.0 if r.continuation == " A" else -9.0,)),
        method="likelihood",
        permute=4,
    )
    first = answer.metadata["order"][0]
    assert (answer.choice, max(range(4), key=answer.metadata["probabilities"].__getitem__)) == (first, first)
    turned = await ask(
        lambda r: Response(text="", logprobs=(-1.0 if r.continuation == " A" else -9.0,)),
        method="likelihood",
        permute=4,
        circular=True,
    )
    assert turned.metadata["probabilities"] == pytest.approx([0.25] * 4), "a bias for A tells nothing"
    assert (turned.choice, score(turned)) == (None, 0.0)


async def test_equal_likelihoods_are_no_choice():
    """A server without prompt log-probabilities that answers with a constant scores 0, not chance."""
    answer = await ask(lambda r: Response(text="", logprobs=(-1.5,)), method="likelihood")
    assert (answer.choice, classify_answer(answer), score(answer)) == (None, Status.UNPARSED, 0.0)


TOKENS = {" no": (-2.0,), " not at all": (-1.0, -1.0, -0.5), " é": (-0.9, -0.9)}
BASE = {" no": (-1.0,), " not at all": (-3.0, -1.0, -0.5), " é": (-2.0, -2.0)}


@pytest.mark.parametrize(
    ("normalization", "scores"),
    [
        ("raw", [-2.0, -2.5, -1.8]),
        ("character", [-2.0 / 2, -2.5 / 10, -1.8 / 1]),
        ("byte", [-2.0 / 2, -2.5 / 10, -1.8 / 2]),
        ("token", [-2.0, -2.5 / 3, -0.9]),
        ("unconditional", [-1.0, 2.0, 2.2]),
    ],
)
def test_normalizations_by_hand(normalization, scores):
    own = [Response(text="", logprobs=values) for values in TOKENS.values()]
    base = [Response(text="", logprobs=values) for values in BASE.values()]
    assert normalized(own, list(TOKENS), normalization, base) == pytest.approx(scores)
    assert pick(own, list(TOKENS), normalization, base) == scores.index(max(scores))


def test_normalizations_equal_lm_evals():
    """acc, acc_norm, acc_bytes and acc_mutual_info as lm-eval's own multiple-choice task works them out."""
    pytest.importorskip("lm_eval")
    from lm_eval.api.task import ConfigurableTask

    draw = random.Random(1)
    names = {"acc": "raw", "acc_norm": "character", "acc_bytes": "byte", "acc_mutual_info": "unconditional"}
    right = dict.fromkeys(names, 0)
    for _ in range(200):
        texts = ["".join(draw.choices("abcé ü", k=draw.randint(1, 12))).strip() or "x" for _ in range(4)]
        own, base = ([-draw.random() * 20 for _ in texts] for _ in range(2))
        gold = draw.randrange(4)
        task = ConfigurableTask.__new__(ConfigurableTask)
        task.OUTPUT_TYPE, task._metric_fn_list = "multiple_choice", dict.fromkeys(names)
        task._config = SimpleNamespace(process_results=None)
        task.multiple_input = task.multiple_target = 0
        task.doc_to_choice, task.doc_to_target = lambda doc, t=texts: t, lambda doc, g=gold: g
        theirs = task.process_results({}, [(value, False) for value in own + base])
        responses = [Response(text="", logprobs=(value,)) for value in own]
        without = [Response(text="", logprobs=(value,)) for value in base]
        for name, normalization in names.items():
            chosen = pick(responses, [f" {text}" for text in texts], normalization, without)
            assert (chosen == gold) == bool(theirs[name]), (name, texts)
            right[name] += chosen == gold
    assert all(20 < n < 90 for n in right.values()), "each of them both right and wrong"


def test_what_cannot_be_asked():
    with pytest.raises(UsageError, match=r"sample 's1' has 1 choices; multiple choice needs 2 to 26"):
        orders_of(Sample("s1", "q", choices=("a",)))
    with pytest.raises(UsageError, match="27 choices"):
        orders_of(Sample("s1", "q", choices=tuple(map(str, range(27)))))
    with pytest.raises(UsageError, match=r"method: 'guess' is not one of generate, likelihood, constrained"):
        asyncio.run(ask(lambda r: "A", method="guess"))
    with pytest.raises(UsageError, match=r"no extractor 'leter'"):
        asyncio.run(ask(lambda r: "A", extractor="leter"))
    with pytest.raises(UsageError, match="needs the unconditional responses"):
        normalized([Response(text="", logprobs=(-1.0,))], ["a"], "unconditional")
    with pytest.raises(UsageError, match="without messages or images"):
        asyncio.run(ask(lambda r: "A", method="likelihood", prompt=lambda s: [Message("user", "q")]))


async def test_a_tasks_own_prompt_sees_the_options_as_they_are_shown():
    prompts = []

    def prompt(shown: Sample) -> str:
        prompts.append(shown.choices)
        return f"{shown.input}\n{lettered(shown.choices)}"

    await ask(lambda r: "A", prompt=prompt, circular=True)
    assert prompts == [(*DRUGS[i:], *DRUGS[:i]) for i in range(4)]


def test_softmax_of_small_numbers():
    assert softmax([-1000.0, -1000.0 + math.log(3)]) == pytest.approx([0.25, 0.75])

"""The baselines: what each answers, that it repeats itself, and that none of them fails."""

from __future__ import annotations

import pytest

from evalkit.errors import RequestRejected
from evalkit.model import Model
from evalkit.models import load
from evalkit.rag.prompts import numbered
from evalkit.types import Passage, Requirements, Sample

PASSAGES = [
    Passage("1", "Cats sleep a lot. They sleep most of the day. Dogs bark. Birds sing.", title="On cats"),
    Passage("2", "Aspirin lowers fever in adults. Aspirin lowers fever in all adults. Warfarin thins blood."),
    Passage("3", "Paracetamol does lower fever, too. The moon is far away."),
]
SAMPLE = Sample("s1", "Does aspirin lower fever in adults?", target="Yes, it does.")
PROMPT = f"Answer the question.\n\n{numbered(PASSAGES)}\n\nQuestion: {SAMPLE.input}"


async def answer(
    name: str, prompt: str = PROMPT, sample: Sample | None = SAMPLE, repeat: int = 0, **more
) -> str:
    model = Model(load(f"baseline:{name}"))
    bound = model.for_sample(sample, repeat) if sample else model
    return (await bound.generate(prompt, **more)).text


async def test_copy_says_the_whole_first_passage():
    whole = "On cats. Cats sleep a lot. They sleep most of the day. Dogs bark. Birds sing. [1]"
    assert await answer("copy") == whole


async def test_lead_cites_the_first_passage():
    assert await answer("lead") == "On cats. [1] Cats sleep a lot. [1] They sleep most of the day. [1]"


async def test_extract_is_near_the_question_and_does_not_repeat_itself():
    text = await answer("extract")
    assert "Aspirin lowers fever in adults. [2]" in text
    assert "Paracetamol does lower fever, too. [3]" in text
    assert not ("fever in adults. [2]" in text and "fever in all adults. [2]" in text)
    assert "moon" not in text


async def test_without_numbered_passages_the_text_itself_is_read():
    plain = "Aspirin lowers fever. Dogs bark."
    assert await answer("lead", plain) == plain
    assert (await answer("extract", plain, sample=None)) == plain
    assert await answer("random", plain) in plain
    assert await answer("extract", "") == ""
    assert await answer("random", "") == ""


async def test_random_depends_on_sample_seed_and_repeat_only():
    prompt = numbered([Passage(str(i), f"Sentence number {i} stands here.") for i in range(1, 60)])
    assert await answer("random", prompt) == await answer("random", prompt)
    draws = {await answer("random", prompt, seed=seed) for seed in range(30)}
    draws |= {await answer("random", prompt, repeat=repeat) for repeat in range(30)}
    assert len(draws) > 15


async def test_random_choices_are_uniform():
    choices = ("a", "b", "c", "d")
    model = Model(load("baseline:random"))
    samples = [Sample(str(i), "?", choices=choices) for i in range(2000)]
    drawn = [(await model.for_sample(sample).generate("?")).text for sample in samples]
    counts = [drawn.count(choice) for choice in choices]
    chi_square = sum((count - 500) ** 2 / 500 for count in counts)
    assert chi_square < 16.27  # the 0.1 % point with 3 degrees of freedom; the draw is fixed


async def test_gold_empty_and_echo():
    assert await answer("gold") == "Yes, it does."
    assert await answer("empty") == ""
    assert await answer("echo") == SAMPLE.input
    with pytest.raises(RequestRejected, match="no sample"):
        await answer("gold", sample=None)


@pytest.mark.parametrize(
    ("target", "continuations", "best"),
    [("Rome", [" Paris", " Rome"], 1), ("Rome", [" A", " B"], 1), ("B", ["Paris", "Rome"], 1)],
)
async def test_gold_scores_the_right_choice_best(target, continuations, best):
    sample = Sample("q", "Capital of Italy?", target=target, choices=("Paris", "Rome"))
    model = Model(load("baseline:gold")).for_sample(sample)
    values = [r.logprob for r in await model.loglikelihood("Capital of Italy?", continuations)]
    assert values.index(max(values)) == best
    guesses = await Model(load("baseline:random")).for_sample(sample).loglikelihood("?", continuations)
    assert all(r.logprob < 0 for r in guesses)
    assert guesses[0].logprob != guesses[1].logprob


@pytest.mark.parametrize("name", ["lead", "copy", "extract", "random", "gold", "empty", "echo"])
async def test_every_baseline_has_an_identity_and_counts_words(name):
    backend = load(f"baseline:{name}?temperature=1")
    facts = (await backend.probe(Requirements(logprobs=True, images=True, json_schema=True))).info
    assert facts.identity == {"provider": "baseline", "model": name}
    assert backend.traits.defaults == {"temperature": 1.0}
    assert not backend.traits.cacheable
    model = Model(backend).for_sample(SAMPLE)
    assert (await model.generate(PROMPT)).usage.prompt_tokens == len(PROMPT.split())


@pytest.mark.parametrize(
    ("prompt", "reply"),
    [
        ("Which?\nA. zinc\nB. iron\nC. zinc oxide", "C"),
        ("Which?\n(A) zinc\n(B) iron\n(C) zinc oxide", "C"),
        ("Which?\nA) zinc\nC) iron\nB) zinc  oxide\nAnswer:", "B"),
        ("Which? (A) zinc (B) iron (C) zinc oxide", "C"),
        ("Which?\n**A.** zinc\n**C.** zinc oxide\n", "C"),
        ("Which? zinc, iron or zinc oxide", "zinc oxide"),
    ],
)
async def test_gold_replies_with_the_letter_under_which_the_prompt_shows_the_right_option(prompt, reply):
    sample = Sample("q", "Which?", choices=("zinc", "iron", "zinc oxide"), answer=2)
    assert await answer("gold", prompt, sample) == reply
    assert await answer("gold", prompt, sample, reference="My reply") == "My reply"


async def test_random_draws_letters_where_the_prompt_shows_them():
    samples = [Sample(str(i), "?", choices=("B", "A")) for i in range(40)]
    drawn = {await answer("random", "Which?\nA. B\nB. A", sample) for sample in samples}
    assert drawn == {"A", "B"}

"""Prices: as the table itself computes, a user's own first; wrong ones are refused with their place."""

from __future__ import annotations

import random
from pathlib import Path

import genai_prices
import pytest

from evalkit.errors import UsageError
from evalkit.models.fake import FakeBackend
from evalkit.models.prices import price_of
from evalkit.types import Usage
from evalkit.util import paths

MODELS = [
    ("openai:gpt-5-mini", "openai", "gpt-5-mini"),
    ("openai:gpt-4o", "openai", "gpt-4o"),
    ("openai:o3", "openai", "o3"),
    ("anthropic:claude-sonnet-4-5", "anthropic", "claude-sonnet-4-5"),
    ("anthropic:claude-haiku-4-5", "anthropic", "claude-haiku-4-5"),
    ("gemini:gemini-2.5-pro", "google", "gemini-2.5-pro"),
    ("gemini:gemini-2.5-flash", "google", "gemini-2.5-flash"),
    ("openai:grok-4@https://api.x.ai/v1", "x-ai", "grok-4"),
]


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Write ``evalkit.toml``."""
    monkeypatch.setattr(paths, "_start", tmp_path)

    def write(text: str) -> Path:
        (tmp_path / "evalkit.toml").write_text(text)
        return tmp_path

    write("")
    return write


def random_usages(seed: int, n: int = 60):
    draw = random.Random(seed)
    for i in range(n):
        prompt = draw.choice([1, 900, 30_000, 199_999, 200_000, 200_001, 250_000, 272_001, 600_000])
        cached = draw.randint(0, prompt) if i % 2 else 0
        written = draw.randint(0, prompt - cached) if i % 3 else 0
        reply = draw.randint(0, 5000)
        thought = draw.randint(0, reply) if i % 4 else 0
        yield Usage(prompt, reply, cached, thought, None, written)


@pytest.mark.parametrize(("spec", "provider", "model"), MODELS)
def test_costs_are_those_that_the_table_computes_itself(
    configured, spec: str, provider: str, model: str
) -> None:
    price = price_of(spec)
    assert price is not None
    assert price.facts["model"].startswith(f"{provider}/")
    for usage in random_usages(len(spec)):
        found = genai_prices.calc_price(
            genai_prices.Usage(
                input_tokens=usage.prompt_tokens,
                output_tokens=usage.completion_tokens,
                cache_read_tokens=usage.cached_tokens,
                cache_write_tokens=usage.cache_write_tokens,
                output_reasoning_tokens=usage.reasoning_tokens,
            ),
            model,
            provider_id=provider,
        )
        assert price.of(usage) == pytest.approx(float(found.total_price), rel=1e-9)


@pytest.mark.parametrize(("spec", "provider", "model"), [MODELS[1], MODELS[3], MODELS[5]])
def test_a_batch_costs_what_the_table_says_half(configured, spec: str, provider: str, model: str) -> None:
    from evalkit.models import prices
    from evalkit.models.spec import ModelSpec

    kind, _, name = spec.partition(":")
    price = prices._from_table(ModelSpec(kind, name, options={"batch": True}))
    usage = Usage(10_000, 500, 2_000)
    found = genai_prices.calc_price(
        genai_prices.Usage(input_tokens=10_000, output_tokens=500, cache_read_tokens=2_000),
        model,
        provider_id=provider,
        price_context={"processing": "batch"},
    )
    assert price.of(usage) == pytest.approx(float(found.total_price))
    assert price.of(Usage(10_000, 500)) == pytest.approx(price_of(spec).of(Usage(10_000, 500)) / 2)


def test_a_batch_without_a_price_in_the_table_is_unknown_and_not_the_full_price(configured) -> None:
    from evalkit.models import prices
    from evalkit.models.spec import ModelSpec

    spec = ModelSpec("openai", "deepseek-chat", ("https://api.deepseek.com/v1",))
    assert prices._from_table(spec) is not None
    assert prices._from_table(ModelSpec(spec.provider, spec.name, spec.urls, options={"batch": True})) is None


@pytest.mark.parametrize(
    ("asked", "factor"),
    [
        ("openai:gpt-5?extra.service_tier=flex", 0.5),
        ("openai:gpt-5?extra.service_tier=priority", 2),
        ("openai:gpt-5?extra.service_tier=auto", 1),
        ("openai:gpt-5?extra.service_tier=flexx", None),
        ("openai:gpt-4-turbo?extra.service_tier=priority", None),
        ("openai:gpt-5?batch=true&extra.service_tier=turbo", None),
        ("anthropic:claude-sonnet-4-5?extra.speed=fast", None),
    ],
)
def test_a_tier_that_the_table_does_not_have_is_unknown_and_not_the_ordinary_price(
    configured, asked: str, factor: float | None
) -> None:
    usage = Usage(1000, 1000)
    price, ordinary = price_of(asked), price_of(asked.partition("?")[0])
    assert (price and price.of(usage)) == (factor and pytest.approx(factor * ordinary.of(usage)))


def test_published_prices(configured) -> None:
    """Claude Sonnet 4.5 on Anthropic's page: $3 and $15 a million, cached reads $0.30, writes $3.75."""
    usage = Usage(
        prompt_tokens=100_000, completion_tokens=2_000, cached_tokens=60_000, cache_write_tokens=10_000
    )
    expected = 0.030 * 3 + 0.060 * 0.30 + 0.010 * 3.75 + 0.002 * 15
    assert price_of("anthropic:claude-sonnet-4-5").of(usage) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("spec", "usage", "dollars"),
    [
        (
            'anthropic:claude-sonnet-4-5?extra.cache_control={"type":"ephemeral","ttl":"1h"}',
            Usage(100_000, cache_write_tokens=100_000),
            0.1 * 6,
        ),
        ("anthropic:claude-opus-4-8?extra.speed=fast", Usage(100_000, 10_000), 0.1 * 10 + 0.01 * 50),
        ("openai:gpt-5-mini?extra.service_tier=flex", Usage(100_000), 0.1 * 0.125),
        ("anthropic:claude-sonnet-4-5?extra.service_tier=auto", Usage(100_000), 0.1 * 3),
    ],
)
def test_what_a_spec_asks_for_at_another_price_has_that_price(configured, spec, usage, dollars) -> None:
    """Anthropic's writes for an hour cost twice the input, and its fast mode twice the model's price."""
    assert price_of(spec).of(usage) == pytest.approx(dollars)


def test_a_service_tier_of_gemini_has_its_price(configured) -> None:
    name, usage = "gemini:gemini-3.8-flash-tts", Usage(100_000)
    flex = price_of(f"{name}?extra.serviceTier=flex").of(usage)
    assert flex == pytest.approx(price_of(name).of(usage) / 2)


@pytest.mark.parametrize(
    "spec",
    [
        "openai:gpt-4o@http://127.0.0.1:8000",
        "openai:gpt-4o@https://models.example.org",
        "openai:gpt-4o@https://api.openai.com/v1,https://my.azure-api.net",
        "sglang:Qwen/Qwen3-8B",
        "openai:no-such-model",
        "gemini:gemini-3-pro-preview?extra.serviceTier=priority",  # the table has only the usual price
        "anthropic:claude-haiku-4-5?extra.speed=fast",
        "openai:whisper-1",
    ],
)
def test_an_unknown_price_is_none(configured, spec: str) -> None:
    assert price_of(spec) is None


def test_what_is_inside_evalkit_is_free_and_other_backends_are_not_known(configured) -> None:
    assert price_of("baseline:gold").of(Usage(10, 10)) == 0
    assert price_of("fake", FakeBackend(lambda request: "yes")).of(Usage()) == 0
    backend = FakeBackend(lambda request: "yes")
    backend.traits = type(backend.traits)()
    assert price_of("openai:gpt-4o", backend) is None


def test_a_reply_without_token_counts_has_no_cost(configured) -> None:
    assert price_of("openai:gpt-4o").of(Usage()) is None


LISTED = """
[prices."openai:mine"]
input = 2
output = 10
cached_input = 0.5
cache_write = 3
reasoning = 20
image = 4
batch_discount = 0.25

[prices."Plain"]
input = 1
output = 8
"""


def test_a_users_price_by_hand(configured) -> None:
    configured(LISTED)
    price = price_of("openai:mine@http://127.0.0.1:8000?max_tokens=9")
    usage = Usage(
        1_000, 300, cached_tokens=200, reasoning_tokens=100, image_tokens=400, cache_write_tokens=50
    )
    # 200 cached, 50 written, 400 of pictures, so 350 others; 100 of reasoning and 200 of the answer
    dollars = (200 * 0.5 + 50 * 3 + 400 * 4 + 350 * 2 + 100 * 20 + 200 * 10) / 1e6
    assert price.of(usage) == pytest.approx(dollars)
    assert price.facts["source"] == "evalkit.toml"
    plain = price_of("openai:anything?label=Plain")
    assert plain.of(usage) == pytest.approx((1_000 * 1 + 300 * 8) / 1e6)


def test_a_users_price_comes_before_the_table_and_in_its_own_file(configured) -> None:
    folder = configured('[prices]\nfile = "prices/mine.toml"\n[prices."openai:o3"]\ninput = 1\noutput = 1\n')
    (folder / "prices").mkdir()
    (folder / "prices" / "mine.toml").write_text(
        '["openai:gpt-4o"]\ninput = 100\noutput = 0\n["openai:o3"]\ninput = 7\noutput = 7\n'
    )
    assert price_of("openai:gpt-4o").of(Usage(1_000_000, 1)) == pytest.approx(100)
    assert price_of("openai:o3").of(Usage(1_000_000, 0)) == pytest.approx(1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '[prices."openai:m"]\ninput = -1\noutput = 1',
            "input = -1: must be a number of US dollars, 0 or more",
        ),
        ('[prices."openai:m"]\ninput = nan\noutput = 1', "input = nan: must be a number"),
        ('[prices."openai:m"]\ninput = inf\noutput = 1', "input = inf: must be a number"),
        ('[prices."openai:m"]\ninput = "2"\noutput = 1', "input = '2': must be a number"),
        ('[prices."openai:m"]\ninput = true\noutput = 1', "input = True: must be a number"),
        ('[prices."openai:m"]\ninput = 1\noutptu = 1', "no such key 'outptu'. Did you mean 'output'?"),
        ('[prices."openai:m"]\ninput = 1', "output is missing"),
        ('[prices."openai:m"]\ninput = 1\noutput = 1\nbatch_discount = 50', "must be a share from 0 to 1"),
        ('[prices]\n"openai:m" = 3', "must be a table with input and output"),
        ("prices = 3", "must hold tables such as"),
        ('[prices]\nfile = "none.toml"', "none.toml cannot be read: No such file"),
        ("[prices]\nfile = 3", "file = 3: must be the path of a TOML file"),
    ],
)
def test_wrong_prices_are_refused_with_their_place(configured, text: str, message: str) -> None:
    configured(text)
    with pytest.raises(UsageError) as caught:
        price_of("openai:gpt-4o")
    assert message in str(caught.value)
    assert "evalkit.toml" in str(caught.value)

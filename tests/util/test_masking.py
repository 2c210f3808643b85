"""Secrets of the process are masked, and nothing else is."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
from collections.abc import Iterator
from urllib.parse import quote

import msgspec
import pytest

from evalkit.util import masking
from evalkit.util.masking import has_secret, mask, mask_bytes, mask_value, remember, secrets_in

KEY = 'sk-Canary/0123+456"789=abc'


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Forget all secrets before and after a test."""
    monkeypatch.setattr(masking, "_read", False)
    for name in ("_named", "_seen", "_forms"):
        monkeypatch.setattr(masking, name, {})
    yield
    monkeypatch.undo()
    masking._update()


def test_a_key_is_masked_in_every_spelling() -> None:
    remember(KEY, "MY_KEY")
    digits = hashlib.sha256(KEY.encode()).hexdigest()[:8]
    assert mask(f"Bearer {KEY}!") == f"Bearer [secret {digits}]!"
    for spelled in (
        quote(KEY),
        quote(KEY, safe=""),
        json.dumps(KEY)[1:-1],
        json.dumps(KEY).replace("/", "\\/"),
        repr(KEY)[1:-1],
        html.escape(KEY),
        base64.b64encode(KEY.encode()).decode(),
    ):
        assert spelled not in mask(f"https://host/?k={spelled}&x=1")
        assert "Canary" not in mask(f"https://host/?k={spelled}&x=1")
        assert b"Canary" not in mask_bytes(f"a {spelled} b".encode())
        assert has_secret(spelled.encode())
    assert secrets_in("a", f"{KEY} and {quote(KEY)}") == ["MY_KEY"]
    assert mask_value({"a": [KEY, 1, None], KEY: (KEY,)}) == {
        "a": [f"[secret {digits}]", 1, None],
        f"[secret {digits}]": [f"[secret {digits}]"],
    }


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OPENAI_API_KEY", "canary-of-openai"),
        ("HF_TOKEN", "hf_canaryof"),
        ("EVALKIT_JUDGE_KEY", "canary-of-judge\n"),
        ("SOME_VENDOR_API_KEY", "abcdefghij"),
        ("PGPASSWORD", "canary0123"),
        ("DB_SECRET", "canary0123"),
    ],
)
def test_variables_that_hold_secrets_are_masked(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    remember(None, "")
    assert value.strip() not in mask(f"it is {value}")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OPENAI_API_KEY", "EMPTY"),
        ("OPENAI_API_KEY", "not-needed"),
        ("OPENAI_API_KEY", "sk-no-key-required"),
        ("OPENAI_API_KEY", "placeholder"),
        ("SORT_KEY", "relevance"),
        ("SSH_KEY", "/home/me/.ssh/id_ed25519"),
        ("DB_PASSWORD", "medicine"),
        ("YEAR_KEY", "20261201"),
        ("HOME", "canary0123456789"),
    ],
)
def test_ordinary_words_are_not_masked(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)
    remember(value, variable, key=False)
    if variable != "HOME":
        assert mask(f"the word {value}.") == f"the word {value}."


def test_a_short_password_is_masked_without_a_hash_that_would_give_it_away() -> None:
    remember("canary12", "the store's password", key=False)
    assert mask("canary12") == "[secret]"


def test_the_longer_of_two_secrets_is_masked_whole() -> None:
    remember("canary-one-1", "A")
    remember("canary-one-1-and-more-2", "B")
    assert mask("canary-one-1-and-more-2").startswith("[secret ")
    assert "and-more" not in mask("canary-one-1-and-more-2")


def test_other_text_is_the_same_object() -> None:
    remember(KEY, "MY_KEY")
    text = base64.b64encode(b"some text").decode() * 1000
    assert mask(text) is text
    assert msgspec.msgpack.encode(text) == mask_bytes(msgspec.msgpack.encode(text))


def test_the_environment_is_read_once_also_where_it_holds_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each reply is looked through: reading the environment each time would double the cost of a run."""
    for name in [name for name in os.environ if masking._VARIABLE.search(name)]:
        monkeypatch.delenv(name)
    assert mask("nothing to hide") == "nothing to hide"
    monkeypatch.setattr(masking, "_update", lambda: pytest.fail("read again"))
    assert mask("nothing to hide") == "nothing to hide"
    assert not has_secret(b"nothing to hide")

"""Model specs: every part read, every mistake named."""

import pytest

from evalkit.errors import UsageError
from evalkit.models import load, parse_spec


@pytest.mark.parametrize(
    ("text", "provider", "name", "urls"),
    [
        ("baseline:lead", "baseline", "lead", ()),
        ("openai:gpt-4o-mini", "openai", "gpt-4o-mini", ()),
        ("openai:org/model@http://127.0.0.1:8000", "openai", "org/model", ("http://127.0.0.1:8000/v1",)),
        ("openai:a:b@q4@http://h:1/v1/", "openai", "a:b@q4", ("http://h:1/v1",)),
        ("sglang:m@http://a:1,http://b:2/v1", "sglang", "m", ("http://a:1/v1", "http://b:2/v1")),
        ("openai:m@https://host/openai/v2", "openai", "m", ("https://host/openai/v2",)),
        ("openai:@http://h:1", "openai", "", ("http://h:1/v1",)),
        ("openai:m@HTTP://h:1", "openai", "m", ("http://h:1/v1",)),
        (
            "openai:m@Https://Host.example/v1,HTTP://b",
            "openai",
            "m",
            ("https://Host.example/v1", "http://b/v1"),
        ),
    ],
)
def test_parts(text, provider, name, urls):
    spec = parse_spec(text)
    assert (spec.provider, spec.name, spec.urls) == (provider, name, urls)


def test_parameters_go_where_they_belong():
    spec = parse_spec(
        "openai:m@http://h:1?temperature=0.7&max_tokens=64&seed=3&stream=true&timeout=5"
        '&extra.chat_template_kwargs={"thinking":false}&extra.user=me'
    )
    assert spec.generation == {"temperature": 0.7, "max_tokens": 64, "seed": 3}
    assert spec.options == {"stream": True, "timeout": 5.0}
    assert spec.extra == {"chat_template_kwargs": {"thinking": False}, "user": "me"}
    assert spec.defaults["extra"] == spec.extra


@pytest.mark.parametrize("word", ["unset", "null"])  # null: in the specs of older runs
def test_a_parameter_that_is_unset_is_left_out(word):
    spec = parse_spec(f"openai:m@http://h:1?temperature={word}&top_p=0.5&extra.presence_penalty={word}")
    assert (spec.generation, spec.extra) == ({"top_p": 0.5}, {"temperature": None, "presence_penalty": None})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("openai:m?temprature=1", ["'temprature'", "'temperature'", "extra.temprature"]),
        ("openai:m?temperature=hot", ["temperature=hot"]),
        ("openai:m?stream=maybe", ["stream=maybe", "true or false"]),
        ("openai:m?api=soap", ["api=soap", "chat or completions"]),
        ("openai:m?max_tokens=0", ["max_tokens=0", "whole number from 1 to 1000000000"]),
        ("openai:m@127.0.0.1:8000", ["begin with http://"]),
        ("openai:m@http://", ["not a URL"]),
        ("openai:m@http://127.0.0.1:999999", ["999999", "ort"]),
        ("openai:m@ftp://h", ["begin with http://"]),
        ("openai:m@http://exa mple:80", ["exa mple", "host name"]),
        ("openai:m@http://a..b", ["a..b"]),
        ("openai:m@http://h:port", ["http://h:port"]),
        ("openai:m@http://[::1", ["http://[::1"]),
        ("openai:m?temperature=nan", ["temperature=nan", "from 0 to 100"]),
        ("openai:m?temperature=inf", ["temperature=inf"]),
        ("openai:m?temperature=-1", ["temperature=-1"]),
        ("openai:m?top_p=nan", ["top_p=nan"]),
        ("openai:m?top_p=7", ["top_p=7", "from 0 to 1"]),
        ("openai:m?top_p=inf", ["top_p=inf", "from 0 to 1"]),
        ("openai:m?temperature=-inf", ["temperature=-inf", "from 0 to 100"]),
        ("openai:m?seed=1e3", ["seed=1e3", "must be a whole number"]),
        ("openai:m?seed=", ["seed=", "must be a whole number"]),
        ("openai:m?max_tokens=1.5", ["max_tokens=1.5", "must be a whole number"]),
        ("openai:m?max_tokens=-1", ["max_tokens=-1", "from 1"]),
        ("openai:m?max_tokens=nan", ["max_tokens=nan", "must be a whole number"]),
        ("openai:m?stop=", ["stop=", "not empty"]),
        ("openai:m?max_inflight=1.5", ["max_inflight=1.5", "must be a whole number"]),
        ("openai:m?max_inflight=0", ["max_inflight=0", "above 0"]),
        ("openai:m?rpm=many", ["rpm=many", "must be a number"]),
        ("openai:m?rpm=-1", ["rpm=-1", "above 0"]),
        ("openai:m?timeout=inf", ["timeout=inf", "above 0"]),
        ("openai:m?retry_budget=half", ["retry_budget=half", "must be a number"]),
        (f"openai:m?seed={10**30}", ["seed=1000"]),
        (f"openai:m?max_tokens={10**30}", ["max_tokens=1000", "whole number from 1"]),
        ("openai:m?timeout=1e300", ["timeout=1e300"]),
        ("openai:m?timeout=nan", ["timeout=nan"]),
        ("openai:m?retry_budget=nan", ["retry_budget=nan"]),
        ("openai:m?proxy=http://h:999999", ["proxy=http://h:999999"]),
        ("openai:m@http://me:secret@h:1", ["key_env"]),
        ("openai:m?seed=1&seed=2", ["seed", "twice"]),
        ("openai:m?extra.=1", ["extra.NAME=value"]),
        ("openai:m?extra.model=other", ["extra.model", "the model's name"]),
        ("openai:m?extra.messages=[]", ["extra.messages", "the request itself"]),
        ("openai:m?extra.stream=true", ["extra.stream", "?stream=true"]),
        ("qwen", ["'qwen'", "provider:name"]),
    ],
)
def test_mistakes_are_named(text, words):
    with pytest.raises(UsageError) as caught:
        parse_spec(text)
    for word in words:
        assert word in str(caught.value)
    assert "secret" not in str(caught.value)


CONFIG = {
    "models": {
        "local": {"spec": "sglang:qwen@http://h:30000?temperature=0.5"},
        "keys": {
            "provider": "openai",
            "name": "q",
            "url": ["http://a:1", "http://b:1"],
            "params": {"stream": True, "max_tokens": 9, "extra": {"top_k": 5}},
        },
        "broken": {"sepc": "x:y"},
    }
}


def test_a_label_is_what_a_model_is_called():
    assert parse_spec("openai:q@http://a:1").display == "openai:q"
    assert parse_spec("openai:q@http://a:1?label=q+at+A").display == "q at A"
    with pytest.raises(UsageError, match="label= : must be a name"):
        parse_spec("openai:q?label=+")


def test_names_from_the_configuration():
    spec = parse_spec("local?max_tokens=7", config=CONFIG)
    assert (spec.provider, spec.name, spec.urls) == ("sglang", "qwen", ("http://h:30000/v1",))
    assert spec.generation == {"temperature": 0.5, "max_tokens": 7}
    spec = parse_spec("keys", config=CONFIG)
    assert spec.urls == ("http://a:1/v1", "http://b:1/v1")
    assert (spec.generation, spec.options, spec.extra) == ({"max_tokens": 9}, {"stream": True}, {"top_k": 5})


def test_what_follows_a_name_replaces_what_the_configuration_sets_or_leaves_out():
    params = {"temperature": "unset", "top_p": 0.5}
    config = {"models": {"mine": {"provider": "openai", "name": "m", "url": "http://h", "params": params}}}
    spec = parse_spec("mine", config=config)
    assert (spec.generation, spec.extra) == ({"top_p": 0.5}, {"temperature": None})
    spec = parse_spec("mine?temperature=0.7&top_p=unset", config=config)
    assert (spec.generation, spec.extra) == ({"temperature": 0.7}, {"top_p": None})


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"max_tokens": 1.5}, r"max_tokens=1\.5: must be a whole number"),
        ({"temperature": float("nan")}, "temperature=nan: must be a number from 0 to 100"),
        ({"top_p": 7}, "top_p=7: must be a number from 0 to 1"),
        ({"temperature": True}, "temperature=True: must be a number"),
        ({"stop": ["a", "b"]}, "stop=.*must be one value"),
        ({"header": {"api-key": "abc"}}, "must hold no secret"),
        ({"header": "x"}, r"header: each has a name. Write header.NAME=value .*header = { NAME = "),
        ({"query": ["x"]}, "query: each has a name"),
        ({"extra": 5}, "extra: each has a name"),
        ("top_p=1", "params must be a table"),
    ],
)
def test_values_of_the_configuration_are_checked_as_those_of_a_spec(params, words):
    config = {"models": {"mine": {"provider": "openai", "name": "m", "url": "http://h", "params": params}}}
    with pytest.raises(UsageError, match=words):
        parse_spec("mine", config=config)


@pytest.mark.parametrize("url", [5, ["http://a:1", 5], {"a": "http://a:1"}])
def test_a_url_of_the_configuration_is_a_text_or_a_list_of_texts(url):
    config = {"models": {"mine": {"provider": "openai", "name": "m", "url": url}}}
    with pytest.raises(UsageError, match=r"\[models\.mine\]: url must be a text"):
        parse_spec("mine", config=config)


def test_mistakes_in_the_configuration():
    with pytest.raises(UsageError, match=r"\[models\.broken\].*'sepc'.*'spec'"):
        parse_spec("broken", config=CONFIG)
    with pytest.raises(UsageError, match="Did you mean 'local'"):
        parse_spec("locl", config=CONFIG)
    with pytest.raises(UsageError, match=r"must be a table: \[models\.NAME\]"):
        parse_spec("local", config={"models": [{"name": "local"}]})


def test_unknown_provider_lists_the_known_ones():
    with pytest.raises(UsageError, match=r"'opnai'.*'openai'.*anthropic, baseline, gemini, lm_eval"):
        load("opnai:m")
    with pytest.raises(UsageError, match="Did you mean 'extract'"):
        load("baseline:extrct")
    with pytest.raises(UsageError, match="a URL"):
        load("baseline:lead@http://h:1")


async def test_a_display_name_holds_no_secret(monkeypatch):
    monkeypatch.setenv("MY_KEY", "sk-very-secret")
    backend = load("openai:m@http://h:1?key_env=MY_KEY")
    assert backend.name == "openai:m"
    assert "sk-very-secret" not in repr(vars(backend.spec))
    monkeypatch.delenv("MY_KEY")
    with pytest.raises(UsageError, match="MY_KEY is not set"):
        load("openai:m@http://h:1?key_env=MY_KEY")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("baseline:extract?batch=true", r"takes no server settings \(batch\)"),
        ("sglang:tiny@http://127.0.0.1:1?batch=true", "sglang has no batch interface"),
        ("openai:tiny@http://127.0.0.1:1?batch=maybe", "model parameter batch=maybe: must be true or false"),
        (
            "openai:tiny@http://127.0.0.1:1?batch=true&rpm=5",
            "model parameter rpm: has no effect with batch=true",
        ),
        ("openai:tiny@http://127.0.0.1:1?batch=true&stream=true", "model parameter stream: has no effect"),
        ("openai:tiny@http://127.0.0.1:1?batch=true&api=completions", "a batch interface takes chats"),
        ("openai:tiny@http://127.0.0.1:1?batch=true&batch_wait=-1", "model parameter batch_wait=-1: must be"),
        ("openai:tiny@http://a:1,http://b:1?batch=true", "a batch interface has one URL, not 2"),
        ("openai:tiny@http://127.0.0.1:1?batch_wait=5", "model parameter batch_wait: goes with batch=true"),
    ],
)
def test_specs_that_no_batch_interface_can_follow_are_refused(spec: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        load(spec)


@pytest.mark.parametrize(
    ("models", "words"),
    [
        ("openai:m", r"models must be a table: \[models\.NAME\]"),
        (
            {"mine": {"provider": "openai", "params": "temperature=0"}},
            r"\[models\.mine\]: params must be a table",
        ),
        ({"mine": {"provider": "openai", "url": 5}}, r"\[models\.mine\]: url must be a text, or a list"),
    ],
)
def test_what_evalkit_toml_has_in_a_tables_place_is_said(models, words):
    with pytest.raises(UsageError, match=words):
        parse_spec("mine", config={"models": models})


def test_a_parameter_for_the_server_is_left_out_in_evalkit_toml_as_in_a_spec():
    entry = {"provider": "openai", "name": "m", "params": {"extra": {"top_k": "unset", "user": "me"}}}
    assert parse_spec("mine", config={"models": {"mine": entry}}).extra == {"top_k": None, "user": "me"}

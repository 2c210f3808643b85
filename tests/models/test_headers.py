"""Headers and queries of a spec: sent with each request, their secrets named and never stored."""

from __future__ import annotations

import pytest
from aiohttp import web

from evalkit.errors import ProbeError, UsageError
from evalkit.model import Model
from evalkit.models import load, parse_spec
from evalkit.types import Requirements
from evalkit.util.masking import mask

SECRET = "0123456789abcdef0123456789abcdef"


def sent(script, name: str) -> set[str | None]:
    """Return the values that a header had, None where it was missing."""
    return {next((v for k, v in headers.items() if k.lower() == name), None) for headers in script.headers}


async def ask(script, params: str) -> None:
    async def answer(request, body):
        script.queries.append(request.query_string)
        return web.json_response({"choices": [{"message": {"content": "4"}, "finish_reason": "stop"}]})

    script.queries = []
    script.chat(answer)
    backend = load(f"openai:tiny@{script.url}{params}")
    try:
        await backend.probe(Requirements())
        await Model(backend).generate("2+2?")
    finally:
        await backend.close()


async def test_headers_and_the_query_go_with_each_request(script, monkeypatch):
    monkeypatch.setenv("GATEWAY", SECRET)
    await ask(
        script, "?header.X-Team=blue+one&header.x-gateway-token=$GATEWAY&query.api-version=2&query.q=a%26b"
    )
    assert (sent(script, "x-team"), sent(script, "x-gateway-token")) == ({"blue one"}, {SECRET})
    assert set(script.queries) == {"api-version=2&q=a%26b"}


async def test_a_variable_may_stand_inside_a_value(script, monkeypatch):
    monkeypatch.setenv("GATEWAY", f"\ufeff {SECRET}\n")
    await ask(script, "?header.Authorization=Token+$GATEWAY")
    assert sent(script, "authorization") == {f"Token {SECRET}"}
    assert "0123" not in mask(f"the server says {SECRET}")


async def test_the_usual_key_does_not_go_to_a_server_that_has_its_own(script, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-another-vendor")
    monkeypatch.setenv("GATEWAY", SECRET)
    await ask(script, "?header.api-key=$GATEWAY")
    assert sent(script, "authorization") == {None}
    script.headers.clear()
    await ask(script, "?header.x-team=blue")
    assert sent(script, "authorization") == {"Bearer sk-of-another-vendor"}


async def test_what_names_no_variable_may_choose_the_model_and_is_part_of_it(script, monkeypatch):
    monkeypatch.setenv("GATEWAY", SECRET)
    backend = load(f"openai:tiny@{script.url}?query.api-version=2&header.api-key=$GATEWAY&header.x-beta=long")
    identity = (await backend.probe(Requirements())).info.identity
    await backend.close()
    assert (identity["query"], identity["headers"]) == ({"api-version": "2"}, {"x-beta": "long"})


def test_headers_from_the_configuration():
    params = {"header": {"api-key": "$GATEWAY"}, "query": {"api-version": "2024-10-21"}}
    config = {"models": {"azure": {"provider": "openai", "name": "gpt", "url": "http://h", "params": params}}}
    spec = parse_spec("azure?query.api-version=2025-01-01", config=config)
    assert (spec.headers, spec.query) == ({"api-key": "$GATEWAY"}, {"api-version": "2025-01-01"})
    config["models"]["azure"]["url"] = "http://h/v1?api-version=2"
    with pytest.raises(UsageError, match=r"has a query.*query\.api-version"):
        parse_spec("azure", config=config)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ("header.=x", "no header has this name"),
        ("header.a b=x", "no header has this name"),
        ("header.a:=x", "no header has this name"),
        ("header.Äß=x", "no header has this name"),
        ("header.a%0D%0Ab=x", "no header has this name"),
        ("query.=x", r"query\.NAME=value"),
        ("header.Content-Length=3", "sets this header itself"),
        ("header.Host=example.org", "sets this header itself"),
        ("header.x-team=a%0D%0AX-Admin: 1", r"character 2 is a line break \(U\+000D\)"),
        ("header.x-team=ünï", r"character 1 is not ASCII \(U\+00FC\)"),
        ("header.x-team=", "is empty.*single quotes"),
        ("header.x-team=$", "a \\$ must begin the name"),
        ("header.x-team=a&header.X-Team=b", "given twice"),
        ("query.v=1&query.v=2", "given twice"),
        (f"header.x-team={SECRET}", r"secret.*header\.x-team=\$"),
        ("header.x-team=Bearer abc", "must hold no secret"),
        ("header.x-team=sk-proj-abc", "must hold no secret"),
        ("header.authorization=abc", "must hold no secret"),
        ("header.api-key=abc", "must hold no secret"),
        ("header.Ocp-Apim-Subscription-Key=abc", "must hold no secret"),
        ("query.key=abc", "must hold no secret"),
        ("extra.user=sk-proj-abcdefgh12345678", "must hold no secret"),
        ("label=hf_abcdefgh12345678", "must hold no secret"),
        ('extra.metadata={"auth":"Bearer abcdefgh"}', "must hold no secret"),
        ("api-version=2", r"query\.api-version=…"),
    ],
)
def test_what_cannot_be_sent_or_would_be_stored_is_refused(params, words):
    with pytest.raises(UsageError, match=words) as caught:
        parse_spec(f"openai:m@http://h:1?{params}")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "value",
    ["interleaved-thinking-2025-05-14", "https://example.org/evalkit-2", "skyscraper blue", "2024-10-21"],
)
def test_plain_values_are_taken(value):
    assert parse_spec(f"openai:m@http://h:1?header.x-note={value}").headers == {"x-note": value}


def test_a_secret_that_the_shell_put_in_is_named_by_its_variable(monkeypatch):
    monkeypatch.setenv("GATEWAY_KEY", "plainwordsonly-butlong")
    mask("")  # the environment is read once a process
    from evalkit.util.masking import remember

    remember(None, "")  # reads it again
    with pytest.raises(UsageError, match=r"header\.x-team=\$GATEWAY_KEY, with the spec in single quotes"):
        parse_spec("openai:m@http://h:1?header.x-team=plainwordsonly-butlong")


async def test_a_variable_that_is_missing_or_unfit(monkeypatch):
    spec = "openai:m@http://h:1?header.api-key=$GATEWAY"
    monkeypatch.delenv("GATEWAY", raising=False)
    with pytest.raises(UsageError, match=r"GATEWAY is not set, and header\.api-key .* export GATEWAY=…"):
        load(spec)
    monkeypatch.setenv("GATEWAY", "two\nlines")
    with pytest.raises(UsageError, match=r"GATEWAY: character 4 is a line break .*header\.api-key"):
        load(spec)
    monkeypatch.setenv("GATEWAY", SECRET)
    with pytest.raises(UsageError, match=r"both give the key"):
        load("openai:m@http://h:1?header.authorization=$GATEWAY&key_env=GATEWAY")


def test_models_without_a_server_take_none():
    with pytest.raises(UsageError, match=r"takes no server settings \(header\.x-team\)"):
        load("baseline:lead?header.x-team=blue")


async def test_a_refused_key_says_where_keys_go(script, monkeypatch):
    async def refuse(request, body):
        return web.json_response({"error": {"message": "Access denied"}}, status=401)

    script.replies["/v1/models"] = refuse
    backend = load(f"openai:tiny@{script.url}")
    with pytest.raises(ProbeError, match=r"\?key_env=ITS_NAME, or \?header\.NAME=\$ITS_NAME"):
        await backend.probe(Requirements())
    await backend.close()


def test_the_former_name_of_key_env_is_read_in_stored_specs():
    assert parse_spec("openai:m@http://h:1?api_key_env=HOME").options == {"key_env": "HOME"}

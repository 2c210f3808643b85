"""Model specs: ``provider:name[@url[,url…]][?param=value&…]``, or a name from ``evalkit.toml``."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec

from evalkit.errors import UsageError, did_you_mean
from evalkit.models import headers
from evalkit.models.reasoning import Reasoning
from evalkit.models.spec_parameters import GENERATION, OPTIONS

_THE_REQUEST = frozenset({"model", "messages", "prompt", "stream"})  # what no extra.NAME may replace
_SECRET_NAME = re.compile(
    r"(.*[_-])?(api[_-]?key|authorization|password|secret|access[_-]token)", re.IGNORECASE
)
# Keys of vendors and hubs, whatever the parameter is called in which they stand.
_LIKE_A_KEY = re.compile(
    r"\bbearer +\S{8}|\b(?:sk|xai|gsk|hf|ghp|glpat|rk)[-_](?=[\w-]*\d)[\w-]{16}", re.IGNORECASE
)
# A parameter with this value is left out of requests, so that the server's own value applies. ``null``: the
# former word, in the specs of older runs.
UNSET = ("unset", "null")
_FORMER = {"api_key_env": "key_env"}  # names in the specs of older runs
_NAMED = ("extra", "header", "query")  # each followed by ``.NAME``, tables in evalkit.toml
_SEVERAL = ("images", "reasoning_marks")  # with commas in a spec, lists in evalkit.toml
# Providers whose parameters go to another library's classes, which alone know the valid names; but for these.
_IN_PROCESS = frozenset({"lm_eval"})
_OURS = frozenset({*GENERATION, "max_inflight", "reasoning_marks"})


@dataclass(frozen=True)
class ModelSpec:
    """A parsed model spec.

    ``urls`` are API bases (``http://host:port/v1``). ``generation`` holds defaults of the request,
    ``options`` settings of the adapter, ``extra`` parameters that go to the server unchanged. ``headers`` and
    ``query`` go with each request, secrets as ``$NAME`` of an environment variable (``models/headers.py``).
    """

    provider: str
    name: str
    urls: tuple[str, ...] = ()
    generation: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)

    @property
    def display(self) -> str:
        """The name to show: the ``label``, or ``provider:name`` with what the spec says about reasoning."""
        label = self.options.get("label")
        return str(label or f"{self.provider}:{self.name}{self.reasoning.suffix}")

    @property
    def reasoning(self) -> Reasoning:
        """What the spec says about reasoning."""
        return Reasoning.of(self.options)

    @property
    def for_server(self) -> list[str]:
        """The names of what only a server can use: URLs, headers, a query."""
        named = [f"header.{name}" for name in self.headers] + [f"query.{name}" for name in self.query]
        return [*(["a URL"] if self.urls else []), *named]

    @property
    def defaults(self) -> dict[str, Any]:
        """Generation defaults, as ``Model`` takes them."""
        return {**self.generation, **({"extra": dict(self.extra)} if self.extra else {})}


def parse_spec(text: str, *, config: Mapping[str, Any] | None = None) -> ModelSpec:
    """Parse a model spec; ``config`` is the content of ``evalkit.toml``. Raises ``UsageError``."""
    head, _, query = text.partition("?")
    named = (config or {}).get("models", {})
    if not isinstance(named, Mapping):
        raise UsageError("evalkit.toml: models must be a table: [models.NAME] with spec, or with provider")
    if head in named:
        spec = _from_config(head, named[head])
    elif ":" not in head:
        raise UsageError(_unknown_name(head, named))
    else:
        spec = _read_head(text, head)
    return _with_params(spec, parse_qsl(query, keep_blank_values=True))


_HEAD = re.compile(r"(?P<provider>[^:/@]+):(?P<name>.*?)(?:@(?P<urls>(?i:https?)://.*))?")
_NO_HOST = re.compile(r"[\s\"<>\\^`{|}]")
_BARE_HOST = re.compile(r"@(?:localhost|[\w.-]+:\d+|\[[\da-fA-F:.]+\](?::\d+)?)(?:/.*)?$")


def _read_head(text: str, head: str) -> ModelSpec:
    match = _HEAD.fullmatch(head)
    if match is None or "://" in match["name"] or _BARE_HOST.search(match["name"]):
        raise UsageError(
            f"cannot read the model {text!r}: write provider:name[@url[,url…]][?param=value&…], "
            "with URLs that begin with http:// or https://"
        )
    urls = match["urls"].split(",") if match["urls"] else []
    return ModelSpec(match["provider"], match["name"], tuple(map(_base, urls)))


def _base(url: str) -> str:
    """Return a URL without a final slash, with the path ``/v1`` if it has none. Raises ``UsageError``."""
    try:
        parts = urlsplit(url.strip())
        _ = parts.port, (parts.hostname or "").encode("idna")  # both raise for what cannot be one
        if _NO_HOST.search(parts.netloc):
            raise ValueError("a character that no host name has")
    except ValueError as problem:
        raise UsageError(f"not a URL: {url!r}: {problem}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"not a URL: {url!r}; a URL begins with http:// or https://")
    if parts.username or parts.password:
        raise UsageError(
            f"the URL of {parts.hostname} contains a password. "
            "Put the key into an environment variable and add ?key_env=ITS_NAME"
        )
    if parts.query:
        name = parts.query.partition("=")[0]
        raise UsageError(
            f"the URL of {parts.hostname} has a query. Write it as a parameter: query.{name}=… "
            f'(in evalkit.toml: params = {{ query = {{ "{name}" = "…" }} }})'
        )
    path = parts.path.rstrip("/")
    return f"{parts.scheme}://{parts.netloc}{path or '/v1'}"


def _with_params(spec: ModelSpec, pairs: list[tuple[str, str]]) -> ModelSpec:
    generation, options, extra = dict(spec.generation), dict(spec.options), dict(spec.extra)
    pairs = [(_FORMER.get(name, name), value) for name, value in pairs]
    pairs, sent_headers, query = headers.split(pairs)
    if twice := next((name for name, times in Counter(name for name, _ in pairs).items() if times > 1), None):
        raise UsageError(f"model parameter {twice} is given twice")
    for name, value in pairs:
        if _SECRET_NAME.fullmatch(name.removeprefix("extra.")) or _LIKE_A_KEY.search(value):
            raise UsageError(
                f"model parameter {name}: a spec is stored with the run, and must hold no secret. "
                "Put the key into an environment variable and add ?key_env=ITS_NAME"
            )
        if name in _NAMED:
            raise UsageError(
                f"model parameter {name}: each has a name. Write {name}.NAME=value "
                f'(in evalkit.toml: params = {{ {name} = {{ NAME = "value" }} }})'
            )
        if name.startswith("extra."):
            extra[_sent_name(name)] = None if value in UNSET else _literal(value)
            continue
        if spec.provider in _IN_PROCESS and name not in _OURS:
            extra[name] = value  # an argument of the model's class, which knows the type
            continue
        if name in GENERATION:  # the last word on it counts: of evalkit.toml, or of what follows the name
            generation.pop(name, None)
            extra.pop(name, None)
            if value in UNSET:
                extra[name] = None
                continue
        parsers, target = (GENERATION, generation) if name in GENERATION else (OPTIONS, options)
        if name not in parsers:
            known = [*GENERATION, *OPTIONS]
            raise UsageError(
                f"no such model parameter: {name!r}.{did_you_mean(name, known)} Known: {', '.join(known)}; "
                f"extra.{name}=… passes it to the server unchanged, query.{name}=… adds it to the address."
            )
        try:
            target[name] = parsers[name](value)
        except ValueError as problem:
            raise UsageError(f"model parameter {name}={value}: {problem}") from None
    Reasoning.of(options)
    return replace(
        spec,
        generation=generation,
        options=options,
        extra=extra,
        headers={**spec.headers, **sent_headers},
        query={**spec.query, **query},
    )


def _sent_name(name: str) -> str:
    """Return the name of a parameter for the server. Raises ``UsageError`` for those that are the request."""
    sent = name.removeprefix("extra.")
    if not sent.strip():
        raise UsageError(f"model parameter {name!r}: write extra.NAME=value")
    if sent in _THE_REQUEST:
        instead = (
            "?stream=true" if sent == "stream" else "the model's name" if sent == "model" else "the task"
        )
        raise UsageError(f"model parameter {name}: it would change the request itself. Use {instead}")
    return sent


def _literal(text: str) -> Any:
    """Return a value for the server: decoded if the text is JSON, else the text itself."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def _from_config(name: str, entry: Any) -> ModelSpec:
    where = f"evalkit.toml, [models.{name}]"
    if not isinstance(entry, Mapping):
        raise UsageError(f"{where}: must be a table, with spec, or with provider, name, url and params")
    known = ("spec", "provider", "name", "url", "params")
    for key in entry:
        if key not in known:
            raise UsageError(
                f"{where}: no such key {key!r}.{did_you_mean(key, known)} Known: {', '.join(known)}"
            )
    if "spec" in entry:
        spec = parse_spec(str(entry["spec"]))
    elif "provider" in entry:
        urls = entry.get("url", [])
        urls = [urls] if isinstance(urls, str) else urls
        if not isinstance(urls, list) or not all(isinstance(url, str) for url in urls):
            raise UsageError(f"{where}: url must be a text, or a list of texts")
        spec = ModelSpec(str(entry["provider"]), str(entry.get("name", "")), tuple(map(_base, urls)))
    else:
        raise UsageError(f'{where}: spec = "provider:name@url" is missing')
    params = entry.get("params", {})
    if not isinstance(params, Mapping):
        raise UsageError(f'{where}: params must be a table, such as {{ max_tokens = 500, effort = "low" }}')
    return _with_params(spec, [pair for item in params.items() for pair in _flat(*item)])


def _flat(name: str, value: Any) -> list[tuple[str, str]]:
    if name == "extra" and isinstance(value, Mapping):
        return [
            (f"extra.{key}", v if v in UNSET else msgspec.json.encode(v).decode()) for key, v in value.items()
        ]
    if name in ("header", "query") and isinstance(value, Mapping):
        return [(f"{name}.{key}", str(v)) for key, v in value.items()]
    if isinstance(value, list) and name in _SEVERAL:
        return [(name, ",".join(map(str, value)))]
    if isinstance(value, list | Mapping) and name not in _NAMED:
        raise UsageError(f"model parameter {name}={value}: must be one value")
    return [(name, str(value))]


def _unknown_name(name: str, named: Mapping[str, Any]) -> str:
    known = f" Named in evalkit.toml: {', '.join(named)}." if named else ""
    return (
        f"no model named {name!r}.{did_you_mean(name, named)}{known} "
        f"A model is provider:name[@url], such as openai:{name}@http://127.0.0.1:8000 or baseline:extract."
    )

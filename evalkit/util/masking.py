"""The secrets of this process (API keys, tokens, passwords), masked in every text that leaves it.

Secrets are the environment variables whose names end as those of keys do, and those that ``remember`` is
told: the key of an adapter, the password in a store's URL. Replies of models are masked as they arrive
(``models/middleware/masked.py``); all that is stored, in ``store/codec.py``; all that is printed, in
``util/printable.py``.
"""

from __future__ import annotations

import hashlib
import html
import json
import os
import re
from base64 import b64encode
from typing import Any
from urllib.parse import quote, quote_plus

import msgspec

_VARIABLE = re.compile(r"(^|_)(KEY|APIKEY|TOKEN|SECRET|PASSWORD|PASSWD|PGPASSWORD)$", re.IGNORECASE)
# Variables with these names hold keys of vendors and hubs, whatever the keys look like.
_KEY = re.compile(r"(^|_)(API_?KEY|TOKEN)$|^EVALKIT_.*_KEY$", re.IGNORECASE)
# What people write where a server wants any key. Masking it, or a short word, would change ordinary text.
_NO_SECRET = re.compile(
    r"[\d.]*|[/~.].*|.{0,7}|(sk-)?(no|not|none|fake|dummy|test|local|my|your|any|some)?[-_ ]*"
    r"(api)?[-_ ]*(key|token|secret|password|needed|required|used|set|key[-_ ]required|placeholder|postgres)",
    re.IGNORECASE | re.DOTALL,
)
_LIKE_A_KEY = re.compile(r"(?=\S*\d)(?=\S*[A-Za-z])\S+|\S{16,}")
# From this length on, the hash of a secret gives nobody the secret back.
_RANDOM = 16

_named: dict[str, str] = {}  # names by secret, of those that ``remember`` was told
_seen: dict[str, str] = {}  # variables of the environment that look like a secret, as they were last read
_forms: dict[str, str] = {}  # all secrets in all their spellings, with what stands in their place
_raw: tuple[bytes, ...] = ()
_read = False  # whether the environment has been read


def remember(secret: str | None, name: str, *, key: bool = True) -> None:
    """Mask ``secret`` from now on. ``name`` tells people which one it is (a variable); it is not secret.

    ``key``: it is the key of a server. A password may be a word, which is masked in URLs only.
    """
    if secret and _is_secret(secret, key):
        _named[secret] = name
    _update()


def _is_secret(value: str, key: bool) -> bool:
    return _NO_SECRET.fullmatch(value) is None and (key or _LIKE_A_KEY.fullmatch(value) is not None)


def mask(text: str) -> str:
    """Return the text with a mask such as ``[secret 1f2e3d4c]`` in place of each secret.

    The mask of a long secret has the first eight digits of its SHA-256: equal masks hide equal secrets.
    """
    for form in _spellings():
        if form in text:
            return _replaced(text)
    return text


def excerpt(value: object, length: int = 200) -> str:
    """Return the beginning of a foreign value, for a message. A cut before masking would leave half a key."""
    return mask(str(value))[:length]


def mask_bytes(data: bytes) -> bytes:
    """Return encoded text with every secret masked."""
    if not has_secret(data):
        return data
    for form, instead in _spellings().items():
        data = data.replace(form.encode(), instead.encode())
    return data


def has_secret(data: bytes) -> bool:
    """Return whether encoded text holds a secret."""
    if not _read:
        _update()
    for form in _raw:  # noqa: SIM110 - every reply comes here: any() with a generator takes twice as long
        if form in data:
            return True
    return False


def mask_value(value: Any) -> Any:
    """Return plain values (dictionaries, lists, texts) with every secret in their texts masked."""
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, dict):
        return {mask_value(key): mask_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [mask_value(item) for item in value]
    return value


def secrets_in(*texts: str) -> list[str]:
    """Return the names of the secrets in texts, each once."""
    for form in _spellings():
        for text in texts:
            if form in text:
                known = {**_seen, **_named}.items()
                return list({name for secret, name in known if _is_in(secret, texts)})
    return []


def _is_in(secret: str, texts: tuple[str, ...]) -> bool:
    return any(form in text for form in _spelled(secret) for text in texts)


def _replaced(text: str) -> str:
    for form, instead in _spellings().items():
        text = text.replace(form, instead)
    return text


def _spellings() -> dict[str, str]:
    """Return what stands in place of each secret in each of its spellings; read the environment once."""
    if not _read:
        _update()
    return _forms


def _update() -> None:
    """Read the environment again, and list the spellings of all secrets, the longest first."""
    global _raw, _read
    _read = True  # also where there is no secret: most processes have none, and each reply comes here
    _seen.clear()
    for name, value in os.environ.items():
        if _VARIABLE.search(name) and _is_secret(value.strip(), _KEY.search(name) is not None):
            _seen[value.strip()] = name
    forms = {form: _mask_of(secret) for secret in {**_seen, **_named} for form in _spelled(secret)}
    _forms.clear()
    _forms.update(sorted(forms.items(), key=lambda pair: -len(pair[0])))
    _raw = tuple(form.encode() for form in _forms)


def _spelled(secret: str) -> set[str]:
    """Return a secret as it is, and as part of a URL, JSON, HTML, Python's ``repr`` and base64."""
    in_json = msgspec.json.encode(secret).decode()[1:-1]
    in_base64 = b64encode(secret.encode("utf-8", "surrogateescape")).decode()
    return {
        *(secret, quote(secret), quote(secret, safe=""), quote_plus(secret), in_base64),
        *(in_json, in_json.replace("/", "\\/"), json.dumps(secret)[1:-1], repr(secret)[1:-1]),
        *(html.escape(secret), html.escape(secret, quote=False)),
    }


def _mask_of(secret: str) -> str:
    if len(secret) < _RANDOM:  # a short password could be found again by its hash
        return "[secret]"
    return f"[secret {hashlib.sha256(secret.encode()).hexdigest()[:8]}]"

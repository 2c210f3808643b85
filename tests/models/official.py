"""Checks of requests against the types of the vendors' official SDKs."""

from __future__ import annotations

import collections.abc
import types
from functools import lru_cache
from typing import Annotated, Any, Literal, NotRequired, Required, Union, get_args, get_origin

from pydantic import BaseModel
from typing_extensions import get_type_hints, is_typeddict


def conforms(value: Any, kind: Any, place: str = "request") -> list[str]:
    """Return what is wrong with ``value`` as a value of ``kind``; a key that a type does not have is wrong.

    pydantic would do the same, but takes unknown keys in a TypedDict, and reads an Iterable only when it is
    iterated. A ``BaseModel`` in a union of parameters is a reply handed back: no request of ours has one.
    """
    origin = get_origin(kind)
    if origin in (Required, NotRequired, Annotated):
        return conforms(value, get_args(kind)[0], place)
    if kind in (Any, object):
        return []
    if origin is Literal:
        return [] if value in get_args(kind) else [f"{place}: {value!r} is none of {get_args(kind)}"]
    if origin in (Union, types.UnionType):
        return _one_of(value, get_args(kind), place)
    if is_typeddict(kind):
        return _fields(value, kind, place)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [f"{place}: a reply's {kind.__name__}"]
    if origin in (dict, collections.abc.Mapping):
        named = isinstance(value, dict) and all(isinstance(key, str) for key in value)
        items = [fault for k, v in value.items() for fault in conforms(v, get_args(kind)[1], f"{place}.{k}")]
        return items if named else [f"{place}: no object"]
    if origin is not None:  # Iterable[...], List[...], SequenceNotStr[...]
        return _items(value, get_args(kind)[0], place)
    return _plain(value, kind, place)


def _plain(value: Any, kind: Any, place: str) -> list[str]:
    kind = type(None) if kind is None else kind
    fits = isinstance(value, (int, float) if kind is float else kind) and (
        type(value) is not bool or kind is bool
    )
    return [] if fits else [f"{place}: {value!r} is no {kind.__name__}"]


def _items(value: Any, kind: Any, place: str) -> list[str]:
    if not isinstance(value, list):
        return [f"{place}: no list"]
    return [fault for i, item in enumerate(value) for fault in conforms(item, kind, f"{place}[{i}]")]


def _one_of(value: Any, kinds: tuple[Any, ...], place: str) -> list[str]:
    faults = [conforms(value, kind, place) for kind in kinds]
    if not all(faults):
        return []
    if isinstance(value, dict) and "type" in value:  # the value names the class to check it by
        faults = [some for some in faults if not any(f"{place}.type:" in fault for fault in some)] or faults
    return min(faults, key=len)


def _fields(value: Any, kind: Any, place: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{place}: no object for {kind.__name__}"]
    hints = _hints(kind)
    faults = [f"{place}: {kind.__name__} has no {key!r}" for key in value.keys() - hints.keys()]
    faults += [f"{place}: {kind.__name__} needs {key!r}" for key in _required(kind) - value.keys()]
    for key in value.keys() & hints.keys():
        faults += conforms(value[key], hints[key], f"{place}.{key}")
    return faults


@lru_cache(None)
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


@lru_cache(None)
def _required(kind: Any) -> set[str]:
    """Return the keys that must be there; in the SDKs all others are optional (total=False)."""
    return {key for key, hint in _hints(kind).items() if get_origin(hint) is Required}

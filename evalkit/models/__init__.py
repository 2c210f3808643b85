"""Models: read a model spec, load its backend, wrap the backend in layers (cache, retry, schedule)."""

from __future__ import annotations

from evalkit.models.middleware.stack import wrap
from evalkit.models.providers import load
from evalkit.models.spec import ModelSpec, parse_spec

__all__ = ["ModelSpec", "load", "parse_spec", "wrap"]

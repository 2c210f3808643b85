"""Models: read a spec, get a backend, wrap it in the layers that every call passes through."""

from __future__ import annotations

from evalkit.models.middleware.stack import wrap
from evalkit.models.spec import ModelSpec, load, parse_spec

__all__ = ["ModelSpec", "load", "parse_spec", "wrap"]

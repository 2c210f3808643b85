"""Tiny stand-ins of the networks and word lists that metrics weigh with."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def tiny() -> ModuleType:
    """The helper ``tiny.py`` beside this file: tests are no package."""
    spec = importlib.util.spec_from_file_location("evalkit_test_tiny", Path(__file__).parent / "tiny.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

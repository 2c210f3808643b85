"""Where the cache lies: EVALKIT_CACHE, XDG_CACHE_HOME, and the system's own folder for caches."""

from __future__ import annotations

import pwd
import sys
from pathlib import Path

import pytest

from evalkit.errors import SetupError
from evalkit.util.paths import cache_dir, memory


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"EVALKIT_CACHE": "own", "XDG_CACHE_HOME": "shared"}, "own"),
        ({"XDG_CACHE_HOME": "shared"}, "shared/evalkit"),
        ({"XDG_CACHE_HOME": ""}, "Library/Caches/evalkit" if sys.platform == "darwin" else ".cache/evalkit"),
        ({}, "Library/Caches/evalkit" if sys.platform == "darwin" else ".cache/evalkit"),
    ],
)
def test_the_cache_lies_where_the_variables_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], folder: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("EVALKIT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value and str(tmp_path / value))
    assert cache_dir() == tmp_path / folder
    assert cache_dir().is_dir()


def test_without_a_home_directory_a_folder_has_to_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    for name in ("HOME", "EVALKIT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises(SetupError, match=r"no home directory .* Name a folder: export EVALKIT_CACHE"):
        cache_dir()
    assert memory("listings", "any") is None


def test_a_folder_that_cannot_be_made_is_named_with_the_fix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(SetupError, match="Name another one: export EVALKIT_CACHE"):
        cache_dir()

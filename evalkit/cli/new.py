"""``evalkit new``."""

from __future__ import annotations

import keyword
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from evalkit.cli.output import command, echo
from evalkit.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])

TEMPLATES = Path(__file__).parent / "templates"


@click.group()
def new() -> None:
    """Write a commented task, server adapter or retriever, with its test."""


def _into(name: str) -> Callable[[F], F]:
    return click.option(
        "--dir",
        "folder",
        type=click.Path(file_okay=False, path_type=Path),
        default=".",
        metavar="DIR",
        help=f"Folder for {name} [default: the current one].",
    )


@new.command("task")
@click.argument("name")
@_into("the two files")
def new_task(name: str, folder: Path) -> None:
    """Write task_NAME.py and its test. Both run without changes."""
    _check_name(name, "task", ("task", "samples"))
    file, test = folder / f"task_{name}.py", folder / f"test_{name}.py"
    title = name.replace("_", " ").capitalize()
    words = {"TITLE": title, "TASK_FILE": str(file), "TEST_FILE": str(test), "NAME": name}
    _write({file: "task", test: "task_test"}, words)
    echo(f"Try: {command()} run {shlex.quote(str(file))} --model baseline:gold")
    echo(f"     pytest {shlex.quote(str(test))}")


@new.command("backend")
@click.argument("name")
@_into("the package")
def new_backend(name: str, folder: Path) -> None:
    """Write a package with a server adapter.

    The package evalkit-NAME holds the adapter and its test. After pip install -e, use it as
    --model NAME:MODEL.
    """
    where = _new_package(name, folder, "backend", "models")
    echo(f"Try: pip install -e {where}\n     pytest {where}")
    echo(f"     {command()} run fictional_trials -p arm=closed_book --limit 5 --model {name}:my-model")


@new.command("retriever")
@click.argument("name")
@_into("the package")
def new_retriever(name: str, folder: Path) -> None:
    """Write a package with a retriever.

    The package evalkit-NAME holds the retriever and its test. After pip install -e, use it as
    -p search=NAME.
    """
    where = _new_package(name, folder, "retriever", "retrievers")
    echo(f"Try: pip install -e {where}\n     pytest {where}")
    echo(f"     {command()} run fictional_trials -p arm=retrieved -p search={name} --model baseline:extract")


def _new_package(name: str, folder: Path, kind: str, group: str) -> str:
    """Write a package that registers itself under ``evalkit.GROUP``. Returns its folder, quoted."""
    _check_name(name, kind, ())
    home = folder / f"evalkit-{name}"
    files = {
        home / "pyproject.toml": "project",
        home / f"evalkit_{name}.py": kind,
        home / f"test_evalkit_{name}.py": f"{kind}_test",
    }
    class_name = "".join(part.capitalize() for part in name.split("_")) + kind.capitalize()
    _write(files, {"FOLDER": str(home), "GROUP": group, "CLASS": class_name, "NAME": name})
    return shlex.quote(str(home))


def _check_name(name: str, kind: str, taken: tuple[str, ...]) -> None:
    if not name.isidentifier() or keyword.iskeyword(name) or name in taken:
        raise UsageError(f"{name!r} cannot name a {kind}: use letters, digits and _, as for a function")


def _write(files: dict[Path, str], words: dict[str, str]) -> None:
    """Write files from templates, with ``words`` in place of their names. Overwrites nothing."""
    for path in files:
        if path.exists():
            raise UsageError(f"{path} is there already; choose another name, or another folder with --dir")
    for path, template in files.items():
        text = (TEMPLATES / f"{template}.txt").read_text(encoding="utf-8")
        for word, value in words.items():
            text = text.replace(word, value)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        echo(f"Wrote {path}")

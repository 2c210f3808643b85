"""The arrows between the parts, from the syntax trees: the core knows nobody, the others only it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PARTS = {
    "evalkit": "evalkit",
    "tasks": "evalkit_tasks",
    "retrievers": "evalkit_retrievers",
    "leaderboard": "evalkit_leaderboard",
}
OURS = {*PARTS, *PARTS.values()}


def imported(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.lineno, node.module


@pytest.mark.parametrize("part", PARTS)
def test_a_part_imports_itself_and_the_core_only(part: str) -> None:
    allowed = {"evalkit", PARTS[part]}
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in (ROOT / part).rglob("*.py")
        for line, name in imported(path)
        if name.split(".")[0] in OURS - allowed
    ]
    assert not wrong


def test_the_picture_of_the_layers_is_what_import_linter_keeps() -> None:
    import re
    import tomllib

    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    kept = [re.findall(r"\w+", layer) for layer in settings["contracts"][0]["layers"]]
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    drawn = [re.findall(r"\w+", line) for line in re.findall(r"^ +\d+ +(\S.*)$", text, re.MULTILINE)]
    lines = [next((n for n, words in enumerate(drawn) if {*names} <= {*words}), None) for names in kept]
    assert None not in lines, f"not in one line: {kept[lines.index(None)]}"
    assert lines == sorted(lines)


def test_types_is_a_leaf() -> None:
    names = [name for _, name in imported(ROOT / "evalkit" / "types.py")]
    assert not [n for n in names if n.startswith("evalkit")]


def test_installed_parts_hold_every_folder_of_code() -> None:
    """A package that pyproject.toml forgets works in a checkout and is missing from a wheel."""
    import tomllib

    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {
        ".".join([PARTS[part], *path.parent.relative_to(ROOT / part).parts])
        for part in PARTS
        for path in (ROOT / part).rglob("*.py")
    }
    assert folders == set(listed)


def test_every_file_beside_the_code_is_installed_with_it() -> None:
    """Prompts, pictures and the like: a pattern of package-data must name each."""
    import tomllib

    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    patterns = settings["package-data"]["*"]
    left_out = []
    for part in PARTS:
        for path in (ROOT / part).rglob("*"):
            if not path.is_file() or path.suffix in (".py", ".pyc"):
                continue
            package = next(folder for folder in path.parents if (folder / "__init__.py").exists())
            inside = path.relative_to(package)
            if not any(len(inside.parts) == p.count("/") + 1 and inside.match(p) for p in patterns):
                left_out.append(str(path.relative_to(ROOT)))
    assert left_out == []


def test_every_name_that_evalkit_exports_is_there() -> None:
    """Type checkers read the file's imports, programs its table: both have the same names."""
    import evalkit

    source = ast.parse((ROOT / "evalkit" / "__init__.py").read_text(encoding="utf-8"))
    imports = (node for node in ast.walk(source) if isinstance(node, ast.ImportFrom))
    typed = {alias.asname for node in imports for alias in node.names if alias.asname == alias.name}
    assert typed | {"__version__"} == set(evalkit.__all__)
    assert {"Arm", "Evidence", "Rag", "Review", "UsageError", "image_arms", "only"} <= typed

    for name in evalkit.__all__:
        assert getattr(evalkit, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = evalkit.nothing

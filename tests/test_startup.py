"""What the command line may import: nothing heavy before it is needed."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = (
    "torch",
    "streamlit",
    "faiss",
    "datasets",
    "lm_eval",
    "sentence_transformers",
    "pandas",
    "bm25s",
    "genai_prices",
    "pydantic",
)


def modules_after(*arguments: str) -> set[str]:
    program = (
        "import sys\n"
        "from evalkit.cli import main\n"
        f"sys.argv = ['evalkit', *{list(arguments)!r}]\n"
        "try: main()\n"
        "except SystemExit as stop: assert not stop.code, stop.code\n"
        "print('MODULES', *sys.modules, file=sys.stderr)\n"  # stdout is kept for JSON
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stderr.rsplit("MODULES", 1)[1].split())


@pytest.mark.parametrize("arguments", [["--help"], ["list"], ["list", "--json"], ["run", "--help"]])
def test_nothing_heavy_is_imported(arguments: list[str]) -> None:
    assert modules_after(*arguments).isdisjoint(HEAVY)


def test_help_needs_neither_the_store_nor_the_http_client() -> None:
    assert modules_after("--help").isdisjoint({"sqlalchemy", "pyreqwest", "numpy", "rich", "alembic"})

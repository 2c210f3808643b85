"""Write the table of docs/lm-eval.md from real runs of both harnesses: python docs/make_lm_eval.py

Takes a minute. Stops where a score differs, and leaves the page as it is.
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "lm-eval.md"
BEGIN, END = "<!-- table: made by docs/make_lm_eval.py -->", "<!-- end of table -->"
HEAD = "| run | task | metric, filter | lm-eval | evalkit |\n|---|---|---|---|---|\n"


def table(rows: Sequence[Any]) -> str:
    """The rows as Markdown, every digit shown."""
    lines = (f"| {r.setup} | {r.task} | {r.metric} | {r.theirs!r} | {r.ours!r} |" for r in rows)
    return HEAD + "\n".join(lines) + "\n"


def _helper(name: str) -> ModuleType:
    path = ROOT / "tests" / "harness" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"evalkit_harness_{name}", path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def main() -> None:
    """Run everything once and put the table into the page."""
    parity, files, server = _helper("parity"), _helper("task_files"), _helper("lm_server")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        files.write(folder / "tasks")
        server.make_tokenizer(folder / "tokenizer", files.corpus())
        with (
            server.serve(folder / "tokenizer", files.answers(), files.known()) as one,
            server.serve(folder / "tokenizer", files.answers(), files.known()) as other,
        ):
            rows = parity.both(
                folder / "tasks", parity.setups(), parity.served(one.url, folder / "tokenizer"),
                f"openai:tiny@{other.url}", folder, ("-p", f"tokenizer={folder / 'tokenizer'}"),
            )  # fmt: skip
    if differing := [row for row in rows if not row.equal]:
        raise SystemExit(f"not equal: {differing}")
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{table(rows)}{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()

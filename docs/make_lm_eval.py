"""Write the table of docs/lm-eval.md from real runs of both harnesses: python -m docs.make_lm_eval

The script takes a minute. If a score differs, the script stops and does not change the page.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.lm_eval import lm_server, parity, task_files

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "lm-eval.md"
BEGIN, END = "<!-- table: made by docs/make_lm_eval.py -->", "<!-- end of table -->"
HEAD = "| run | task | metric, filter | lm-eval | evalkit |\n|---|---|---|---|---|\n"


def table(rows: Sequence[Any]) -> str:
    """Return the rows as Markdown, with every digit."""
    lines = (f"| {r.setup} | {r.task} | {r.metric} | {r.theirs!r} | {r.ours!r} |" for r in rows)
    return HEAD + "\n".join(lines) + "\n"


def main() -> None:
    """Run everything once and write the table into the page."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        task_files.write(folder / "tasks")
        lm_server.make_tokenizer(folder / "tokenizer", task_files.corpus())
        with (
            lm_server.serve(folder / "tokenizer", task_files.answers(), task_files.known()) as first,
            lm_server.serve(folder / "tokenizer", task_files.answers(), task_files.known()) as second,
        ):
            rows = parity.both(
                folder / "tasks",
                parity.setups(),
                parity.served(first.url, folder / "tokenizer"),
                f"openai:tiny@{second.url}",
                folder,
                ("-p", f"tokenizer={folder / 'tokenizer'}"),
            )
    if differing := [row for row in rows if not row.equal]:
        raise SystemExit(f"not equal: {differing}")
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{table(rows)}{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()

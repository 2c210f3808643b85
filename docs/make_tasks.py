"""Write docs/tasks.md from the code: python docs/make_tasks.py"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

from evalkit.collection.fixture_resolution import fixtures_for, resolve
from evalkit.collection.targets import collect, iter_tasks
from evalkit.task import Parameter, Task

PAGE = Path(__file__).parent / "tasks.md"
HEAD = """# Built-in tasks

Made from the code by `python docs/make_tasks.py`. Installed tasks are run by name: `evalkit run NAME --model
SPEC`; any parameter is set with `-p NAME=VALUE`. Tasks of lm-eval run as `lm_eval/NAME`; how to
write your own is in [write-a-task.md](write-a-task.md), what the metrics mean in [metrics.md](metrics.md).

| task | what it asks | source | licence | size |
|---|---|---|---|---|
"""


def page() -> str:
    """Return the page. Raises ``SystemExit`` for a task without source, licence or size."""
    collected = collect([])
    tasks = sorted(iter_tasks(collected), key=lambda task: task.name)
    if collected.broken:
        raise SystemExit(f"broken task file: {collected.broken[0]}")
    for task in tasks:
        if not (task.info.source and task.info.licence and task.info.size and task.info.ids):
            raise SystemExit(f"{task.path}: add info=Info(source=…, licence=…, size=…, ids=…) to @task")
    rows = [
        f"| [{t.name}](#{t.name}) | {t.doc} | {t.info.source} | {t.info.licence} | {t.info.size} |"
        for t in tasks
    ]
    return HEAD + "\n".join([*rows, *(line for task in tasks for line in section(task))]) + "\n"


def section(task: Task) -> Iterator[str]:
    """Yield the section of a task: its module's docstring, metrics and parameters."""
    yield f"\n## {task.name}\n"
    yield _before_commands(inspect.getmodule(task.fn).__doc__ or task.doc)
    yield f"\n- tags: {', '.join(task.tags)}"
    yield f"- version: {task.version}"
    yield f"- ids of samples: {task.info.ids}"
    yield f"- metrics: {', '.join(f'`{m.name}`' for m in task.metrics)}"
    for name, values in task.marks.axes.items():
        shown = ", ".join(f"`{value.id or value.value}`" for value in values)
        yield f"- runs once for each `{name}`: {shown}"
    known = resolve(task, fixtures_for(task.path)).params
    rest = sorted(name for name in known if name not in task.axes)
    yield f"- parameters: {', '.join(f'`{name}={_shown(known[name])}`' for name in rest)}"


def _shown(parameter: Parameter) -> str:
    return "" if parameter.default is None else str(parameter.default)


def _before_commands(text: str) -> str:
    """Return a docstring's paragraphs without the commands at its end, white space collapsed."""
    paragraphs = [p for p in inspect.cleandoc(text).split("\n\n") if not p.startswith("    ")]
    return "\n\n".join(" ".join(p.split()) for p in paragraphs).replace("``", "`")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"Wrote {PAGE}")

"""``evalkit new``."""

from __future__ import annotations

import keyword
import shlex
from pathlib import Path

import click

from evalkit.cli.output import command
from evalkit.errors import UsageError

TASK = '''"""TITLE: say here what it measures, and where its data come from.

    evalkit run TASK_FILE --model baseline:gold
"""

from __future__ import annotations

from collections.abc import Iterator

from evalkit import Answer, Info, Model, Sample, task
from evalkit.metrics import exact_match, token_f1

# What the model is shown. A longer prompt is better kept in a text file beside this one.
PROMPT = "{question}\\nAnswer with one word."

QUESTIONS = {
    "Which organ makes insulin?": "pancreas",
    "Which vitamin prevents scurvy?": "C",
    "Which gas do red blood cells carry?": "oxygen",
}


def samples() -> Iterator[Sample]:
    """Ids are unique and stay the same. An argument with a default is a parameter: -p name=value."""
    for number, (question, answer) in enumerate(QUESTIONS.items()):
        yield Sample(id=str(number), input=question, target=answer)


# min= holds under pytest only: the worst mean that passes. Raise version= when prompt or data change.
@task(
    samples,
    metrics=[exact_match(), token_f1()],
    tags=["mine"],
    version="1",
    min={"exact_match": 0.5},
    info=Info(source="written by hand", licence="CC0", size="3 questions"),
)
async def NAME(sample: Sample, model: Model) -> Answer:
    """Answer a question with one word."""
    response = await model.generate(PROMPT.format(question=sample.input), max_tokens=20)
    return Answer(response)
'''

TEST = '''"""NAME: perfect replies score full marks, garbage none, and the prompt is pinned.

    pytest TEST_FILE
"""

from __future__ import annotations

from pathlib import Path

from evalkit.testing import assert_prompt, check_task, load_task

HERE = Path(__file__).parent
TASK = load_task(HERE / "task_NAME.py", "NAME")


def test_gold_scores_full_marks_and_garbage_none() -> None:
    check_task(TASK)


def test_the_prompt_is_pinned() -> None:
    """Written at the first run; after a change on purpose: pytest --evalkit-update-snapshots."""
    assert_prompt(TASK, HERE / "prompt_NAME.txt")
'''


@click.group()
def new() -> None:
    """Write a commented starting point."""


@new.command("task")
@click.argument("name")
@click.option(
    "--dir",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=".",
    metavar="DIR",
    help="Where to write it [default: here].",
)
def new_task(name: str, folder: Path) -> None:
    """Write task_NAME.py and its test, both of which run as they are."""
    if not name.isidentifier() or keyword.iskeyword(name) or name in ("task", "samples"):
        raise UsageError(f"{name!r} cannot name a task: take letters, digits and _, as for a function")
    files = {folder / f"task_{name}.py": TASK, folder / f"test_{name}.py": TEST}
    for path in files:
        if path.exists():
            raise UsageError(f"{path} is there already; take another name, or another folder with --dir")
    folder.mkdir(parents=True, exist_ok=True)
    task_file, test_file = files
    words = {
        "TITLE": name.replace("_", " ").capitalize(),
        "TASK_FILE": str(task_file),
        "TEST_FILE": str(test_file),
        "NAME": name,
    }
    for path, text in files.items():
        for word, value in words.items():
            text = text.replace(word, value)
        path.write_text(text, encoding="utf-8")
        click.echo(f"Wrote {path}")
    run, test = shlex.quote(str(task_file)), shlex.quote(str(test_file))
    click.echo(f"Try: {command()} run {run} --model baseline:gold\n     pytest {test}")

"""``evalkit lm-eval``: lm-eval's own command with ``--model evalkit`` added.

lm-eval (0.4.13) takes models from its registry only, and finds none in installed packages: its table
``MODEL_MAPPING`` is fixed, its folders (``--include-path``) and configurations bring tasks only, and it makes
the model before it imports the code of a task. So this command registers evalkit's model and then calls
lm-eval's command line.
"""

from __future__ import annotations

import sys

import click

from evalkit.extras import load


# --help is lm-eval's as well.
@click.command("lm-eval", add_help_option=False, context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def lm_eval(arguments: tuple[str, ...]) -> None:
    """Run lm-eval's own command, with --model evalkit --model_args spec=… added."""
    command = load("lm_eval.__main__", "evalkit lm-eval", "lm-eval")
    import evalkit.lm_eval.lm  # noqa: F401 - registers the model

    sys.argv = ["lm_eval", *arguments]
    command.cli_evaluate()

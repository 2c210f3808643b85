"""``evalkit lm-eval``: lm-eval's own command with ``--model evalkit`` added.

lm-eval (0.4.13) takes models from its registry alone and looks for none in installed packages: its table
``MODEL_MAPPING`` is written out, its folders (``--include-path``) and configurations bring tasks, and the
model is made before any task's code is imported. So whoever wants another model registers it before lm-eval's
command line begins, as is done here.
"""

from __future__ import annotations

import sys

import click

from evalkit.extras import load


# --help, too, is lm-eval's.
@click.command("lm-eval", add_help_option=False, context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def lm_eval(arguments: tuple[str, ...]) -> None:
    """Run lm-eval's own command, which then knows --model evalkit --model_args spec=…."""
    command = load("lm_eval.__main__", "evalkit lm-eval", "lm-eval")
    import evalkit.lm_eval.lm  # noqa: F401 - registers the model

    sys.argv = ["lm_eval", *arguments]
    command.cli_evaluate()

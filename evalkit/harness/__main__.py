"""lm-eval's own command with ``--model evalkit`` added: ``python -m evalkit.harness --model evalkit …``.

lm-eval looks for models in its registry alone, not among installed packages, so a model of another package
has to be registered before its command line runs. That is all that happens here.
"""

from lm_eval.__main__ import cli_evaluate

import evalkit.harness.lm  # noqa: F401 - registers the model

if __name__ == "__main__":
    cli_evaluate()

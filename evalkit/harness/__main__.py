"""lm-eval's own command with ``--model evalkit`` added: ``python -m evalkit.harness --model evalkit …``.

lm-eval looks for models in its registry alone, not among installed packages, so a model of another package
has to be registered before its command line runs. That is all that happens here.
"""

from lm_eval.__main__ import cli_evaluate
from lm_eval.api.registry import model_registry

if __name__ == "__main__":
    import lm_eval.models  # noqa: F401 - fills the registry, which would otherwise be filled only when empty

    model_registry.register("evalkit", target="evalkit.harness.lm:EvalkitLM")
    cli_evaluate()

"""Networks that metrics weigh with: by name on the Hugging Face hub or local folder, once a process."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from evalkit.errors import SetupError, UsageError
from evalkit.hub import hub_answers

Head = Literal["AutoModel", "AutoModelForSequenceClassification"]


class Network(NamedTuple):
    """A model in evaluation mode with its tokenizer, and the most tokens that it reads at once."""

    name: str
    tokenizer: Any
    model: Any
    limit: int


@cache
def network(head: Head, name: str, layers: int | None = None) -> Network:
    """The network of that hub name or folder, the first ``layers`` of it where given.

    Without a network connection what an earlier run downloaded is used. Raises ``SetupError`` that says how
    to get weights that are not there, ``UsageError`` for more layers than there are.
    """
    try:
        import transformers
    except ModuleNotFoundError as error:
        raise SetupError(f"{name} needs the package {error.name}: pip install 'evalkit[metrics]'") from None
    source: dict[str, Any] = {"local_files_only": Path(name).is_dir() or not hub_answers()}
    level = transformers.logging.get_verbosity()
    transformers.logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()  # layers left out on purpose would be reported as lost
    try:
        config = transformers.AutoConfig.from_pretrained(name, **source)
        if layers is not None and not 0 < layers <= config.num_hidden_layers:
            raise UsageError(f"{name} has layers 1 to {config.num_hidden_layers}, not {layers}")
        if layers is not None:
            config.num_hidden_layers = layers
        tokenizer = transformers.AutoTokenizer.from_pretrained(name, **source)
        model = getattr(transformers, head).from_pretrained(name, config=config, **source)
    except (OSError, ValueError) as error:
        raise SetupError(
            f"the weights of {name} could not be loaded: {str(error).splitlines()[0].rstrip('.')}. "
            f"Where the hub can be reached: hf download {name} --local-dir FOLDER; then give FOLDER as model"
        ) from None
    finally:
        transformers.logging.set_verbosity(level)
    return Network(Path(name).name, tokenizer, model.eval(), _limit(tokenizer, config))


def _limit(tokenizer: Any, config: Any) -> int:
    """Of the tokenizer, where it knows one; else the model's positions, of which RoBERTa's begin at 2."""
    positions = int(getattr(config, "max_position_embeddings", 0) or 2**31)
    if "roberta" in config.model_type:
        positions -= config.pad_token_id + 1
    return min(int(tokenizer.model_max_length), positions)

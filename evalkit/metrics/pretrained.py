"""Networks of metrics: loaded from the Hugging Face hub or a local folder, once per process."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from evalkit.data.hub import hub_answers
from evalkit.errors import SetupError, UsageError
from evalkit.extras import load
from evalkit.protocols import Relation

BATCH = 32  # pairs classified in one call

Head = Literal["AutoModel", "AutoModelForSequenceClassification"]


class Network(NamedTuple):
    """A model in evaluation mode with its tokenizer and ``limit``, the most tokens of one input.

    ``head`` turns the pooled output into logits, where the model gives no logits itself.
    """

    name: str
    tokenizer: Any
    model: Any
    limit: int
    head: Any = None


@cache
def network(head: Head, name: str, layers: int | None = None) -> Network:
    """Load the network ``name``, a hub name or a folder; only its first ``layers`` where given.

    Without a connection to the hub, the files of an earlier download are used. Raises ``SetupError`` with the
    command that gets missing weights, ``UsageError`` for more layers than the network has.
    """
    # Only bertscore gives layers; it has no default layer for a folder.
    hint = f": --metric 'bertscore(\"FOLDER\", layer={layers})'" if layers else ""
    if name.startswith(("/", "./", "../", "~")) and not Path(name).is_dir():
        raise SetupError(
            f"the weights of {name} could not be loaded: the folder does not exist. "
            f"Where the hub can be reached: hf download NAME --local-dir {name}"
        )
    transformers = load("transformers", name, "metrics")
    source: dict[str, Any] = {"local_files_only": Path(name).is_dir() or not hub_answers()}
    level = transformers.logging.get_verbosity()
    transformers.logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()  # transformers warns about layers left out on purpose
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
            f"Where the hub can be reached: hf download {name} --local-dir FOLDER; then give FOLDER as "
            f"model{hint}"
        ) from None
    finally:
        transformers.logging.set_verbosity(level)
    return Network(Path(name).name, tokenizer, model.eval(), _limit(tokenizer, config))


def classified(net: Network, pairs: Sequence[tuple[str, str]]) -> Any:
    """Return a classifier's probabilities of its labels for pairs of texts: pairs × labels.

    A first text that does not fit beside the second is cut at its end: measure pairs first that must not be
    cut.
    """
    import torch

    rows = []
    for start in range(0, len(pairs), BATCH):
        firsts, seconds = map(list, zip(*pairs[start : start + BATCH], strict=True))
        tokens = net.tokenizer(
            firsts, seconds, truncation="only_first", max_length=net.limit, padding=True, return_tensors="pt"
        )
        with torch.inference_mode():
            output = net.model(**tokens)
            logits = output.logits if net.head is None else net.head(output.pooler_output)
            rows.append(torch.softmax(logits, dim=-1))
    return torch.cat(rows).numpy()


def relations_of(net: Network) -> list[Relation]:
    """Return the relation that each of a network's labels stands for, by the names in its config.

    Labels that are neither entailment nor contradiction (``neutral``, ``not_entailment``) are neutral.
    Raises ``SetupError`` unless one label is called entailment.
    """
    names = [str(net.model.config.id2label[i]).lower() for i in range(net.model.config.num_labels)]
    labels: list[Relation] = [
        "entails"
        if name in ("entailment", "entails", "supported", "support")
        else "contradicts"
        if name.startswith(("contradict", "refute"))
        else "neutral"
        for name in names
    ]
    if labels.count("entails") != 1:
        raise SetupError(
            f"{net.name} cannot judge: none of its labels ({', '.join(names)}) is called entailment. "
            "Take a model trained for natural language inference, or name the labels in its config.json"
        )
    return labels


def _limit(tokenizer: Any, config: Any) -> int:
    """Return the tokenizer's limit, or the number of the model's positions where that is smaller."""
    positions = int(getattr(config, "max_position_embeddings", 0) or 2**31)
    if "roberta" in config.model_type:
        positions -= config.pad_token_id + 1  # RoBERTa's positions begin at 2
    return min(int(tokenizer.model_max_length), positions)

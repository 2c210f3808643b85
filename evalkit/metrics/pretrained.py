"""Networks that metrics weigh with: by name on the Hugging Face hub or local folder, once a process."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from evalkit.data.hub import hub_answers
from evalkit.errors import SetupError, UsageError
from evalkit.extras import load
from evalkit.protocols import Relation

BATCH = 32  # pairs classified at once

Head = Literal["AutoModel", "AutoModelForSequenceClassification"]


class Network(NamedTuple):
    """A model in evaluation mode with its tokenizer, and the most tokens that it reads at once.

    ``head`` turns the pooled output into logits, where the model does not do so itself.
    """

    name: str
    tokenizer: Any
    model: Any
    limit: int
    head: Any = None


@cache
def network(head: Head, name: str, layers: int | None = None) -> Network:
    """The network of that hub name or folder, the first ``layers`` of it where given.

    Without a network connection what an earlier run downloaded is used. Raises ``SetupError`` that says how
    to get weights that are not there, ``UsageError`` for more layers than there are.
    """
    # bertscore is the one that takes some layers; a folder does not tell it which.
    hint = f": --metric 'bertscore(\"FOLDER\", layer={layers})'" if layers else ""
    if name.startswith(("/", "./", "../", "~")) and not Path(name).is_dir():
        raise SetupError(
            f"the weights of {name} could not be loaded: there is no such folder. "
            f"Where the hub can be reached: hf download NAME --local-dir {name}"
        )
    transformers = load("transformers", name, "metrics")
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
            f"Where the hub can be reached: hf download {name} --local-dir FOLDER; then give FOLDER as "
            f"model{hint}"
        ) from None
    finally:
        transformers.logging.set_verbosity(level)
    return Network(Path(name).name, tokenizer, model.eval(), _limit(tokenizer, config))


def classified(net: Network, pairs: Sequence[tuple[str, str]]) -> Any:
    """What a classifier makes of pairs of texts: probabilities of its labels, pairs × labels.

    A first text that does not fit beside the second is cut at its end: pairs that must not be are to be
    measured before.
    """
    import torch

    rows = []
    for start in range(0, len(pairs), BATCH):
        firsts, seconds = map(list, zip(*pairs[start : start + BATCH], strict=True))
        tokens = net.tokenizer(
            firsts, seconds, truncation="only_first", max_length=net.limit, padding=True, return_tensors="pt"
        )
        with torch.inference_mode():
            made = net.model(**tokens)
            logits = made.logits if net.head is None else net.head(made.pooler_output)
            rows.append(torch.softmax(logits, dim=-1))
    return torch.cat(rows).numpy()


def relations_of(net: Network) -> list[Relation]:
    """What each of a network's labels means, by the names in its config.

    Labels that are neither entailment nor contradiction (``neutral``, ``not_entailment``) are neutral.
    Raises ``SetupError`` where none is called entailment.
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
            f"{net.name} is no judge: none of its labels ({', '.join(names)}) is called entailment. "
            "Take a model trained for natural language inference, or name the labels in its config.json"
        )
    return labels


def _limit(tokenizer: Any, config: Any) -> int:
    """Of the tokenizer, where it knows one; else the model's positions, of which RoBERTa's begin at 2."""
    positions = int(getattr(config, "max_position_embeddings", 0) or 2**31)
    if "roberta" in config.model_type:
        positions -= config.pad_token_id + 1
    return min(int(tokenizer.model_max_length), positions)

"""BERTScore: tokens of reply and reference matched by the embeddings of a language model.

Uses transformers and equals the package bert-score 0.3.13 (no idf weights, no rescaling). That package has
had no release since 2023 and truncates long texts without a warning.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

from evalkit.errors import MetricError, UsageError
from evalkit.metric import Metric, check_option
from evalkit.metrics.pretrained import Network, network
from evalkit.metrics.text import name_of, scored

Stat = Literal["f", "precision", "recall"]

# The layer that agrees best with human judgement, from bert-score's own table.
LAYERS = {
    "roberta-large": 17,
    "roberta-base": 10,
    "bert-base-uncased": 9,
    "bert-large-uncased": 18,
    "distilbert-base-uncased": 5,
    "distilroberta-base": 5,
    "allenai/scibert_scivocab_uncased": 8,
    "microsoft/deberta-base-mnli": 9,
    "microsoft/deberta-large-mnli": 18,
    "microsoft/deberta-xlarge-mnli": 40,
}
DEFAULT = "roberta-large"  # bert-score's default for English


def bertscore(
    model: str = DEFAULT, *, layer: int | None = None, stat: Stat = "f", truncate: bool = False
) -> Metric:
    """Return ``bertscore``: greedy matching of contextual embeddings by their cosine.

    ``model`` is a name on the Hugging Face hub or a local folder. ``layer`` is the hidden layer that is
    compared; the usual models have a default. A text longer than the model reads is an error of the metric;
    ``truncate=True`` cuts the text instead, as the package does, and the metric's name says so. The
    reference with the highest F1 counts, for every ``stat``. A reply without a token scores 0. Values below
    0 become 0. Needs transformers and torch (extra ``metrics``).
    Raises ``UsageError`` for an unknown stat or a model whose layer is not known.
    Source: Zhang et al. 2020.
    """
    check_option("bertscore", stat, get_args(Stat))
    depth = LAYERS.get(model) if layer is None else layer
    if depth is None:
        raise UsageError(
            f"bertscore: {model!r} has no default layer; give layer=, or use one of {', '.join(LAYERS)}"
        )
    title = Path(model).name
    name = name_of(
        "bertscore",
        model=(title, DEFAULT),
        layer=(depth, LAYERS.get(model)),
        stat=(stat, "f"),
        truncate=(truncate, False),
    )
    compare = partial(_bertscore, model, depth, stat, truncate)
    return Metric(
        name,
        partial(scored, compare, True),
        help=f"BERTScore ({stat}), layer {depth} of {title}",
        check_requirements=partial(network, "AutoModel", model, depth),
    )


def _bertscore(
    model: str, layer: int, stat: Stat, truncate: bool, reply: str, references: tuple[str, ...]
) -> float:
    net = network("AutoModel", model, layer)
    embedded = _embedded(net, reply.strip(), truncate)
    scores = [_matched(embedded, _embedded(net, text.strip(), truncate)) for text in references]
    best = max(scores, key=lambda score: score["f"])
    return max(best[stat], 0.0)


def _matched(reply: Any, reference: Any) -> dict[Stat, float]:
    """Match each token with the most similar token of the other text, without the start and end tokens."""
    if len(reply) <= 2 or len(reference) <= 2:
        return {"f": 0.0, "precision": 0.0, "recall": 0.0}
    similar = (reply @ reference.T).clamp(max=1.0)  # equal vectors may exceed 1 by a rounding error
    precision = float(similar.max(dim=1).values[1:-1].mean())
    recall = float(similar.max(dim=0).values[1:-1].mean())
    f = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return {"f": f, "precision": precision, "recall": recall}


def _embedded(net: Network, text: str, truncate: bool) -> Any:
    """Return the unit vectors of the tokens, start and end tokens included: tokens × width."""
    import torch

    if type(net.tokenizer).__name__.startswith(("Roberta", "GPT2")):
        text = f" {text}" if text else text  # bert-score's add_prefix_space
    tokens = net.tokenizer(text, truncation=truncate, max_length=net.limit, return_tensors="pt")
    length = tokens["input_ids"].shape[1]
    if length > net.limit:
        raise MetricError(
            f"bertscore: a text has {length} tokens, but {net.name} reads at most {net.limit}; "
            "truncate=True cuts the text, as the package bert-score does"
        )
    with torch.inference_mode():
        states = net.model(**tokens).last_hidden_state[0]
    return torch.nn.functional.normalize(states, dim=-1)

"""BERTScore: words of reply and reference matched by the embeddings of a language model.

Written on transformers and equal to the package bert-score 0.3.13 (no idf weights, no rescaling), which has
had no release since 2023 and cuts long texts without a word.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

from evalkit.errors import MetricError, UsageError, did_you_mean
from evalkit.metric import Metric
from evalkit.metrics.pretrained import Network, network
from evalkit.metrics.text import name_of, scored

Stat = Literal["f", "precision", "recall"]

# The layer that agreed best with human judgement, by bert-score's own table.
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
DEFAULT = "roberta-large"  # bert-score's, for English


def bertscore(
    model: str = DEFAULT, *, layer: int | None = None, stat: Stat = "f", truncate: bool = False
) -> Metric:
    """``bertscore``: greedy matching of contextual embeddings by their cosine.

    ``model`` is a name on the Hugging Face hub or a local folder; ``layer`` the hidden layer that is
    compared, known for the usual models. A text longer than the model reads is an error of the metric;
    ``truncate=True`` cuts it instead, as the package does, and the metric's name says so. The best reference
    counts, for every ``stat`` the one with the highest F1. A reply without a token scores 0, and so does a
    value below 0. Needs transformers and torch (extra ``metrics``).
    Raises ``UsageError`` for an unknown stat or a model whose layer is not known.
    Source: Zhang et al. 2020.
    """
    if stat not in get_args(Stat):
        known = get_args(Stat)
        raise UsageError(f"bertscore: {stat!r} is none of {', '.join(known)}.{did_you_mean(stat, known)}")
    depth = LAYERS.get(model) if layer is None else layer
    if depth is None:
        raise UsageError(
            f"bertscore: no layer is known for {model!r}; give layer=, or use one of {', '.join(LAYERS)}"
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
    found = network("AutoModel", model, layer)
    said = _embedded(found, reply.strip(), truncate)
    scores = [_matched(said, _embedded(found, text.strip(), truncate)) for text in references]
    best = max(scores, key=lambda score: score["f"])
    return max(best[stat], 0.0)


def _matched(reply: Any, reference: Any) -> dict[Stat, float]:
    """Each token with the most similar one of the other text; the two that frame a text are not weighed."""
    if len(reply) <= 2 or len(reference) <= 2:
        return {"f": 0.0, "precision": 0.0, "recall": 0.0}
    similar = (reply @ reference.T).clamp(max=1.0)  # equal vectors may come out a rounding above
    precision = float(similar.max(dim=1).values[1:-1].mean())
    recall = float(similar.max(dim=0).values[1:-1].mean())
    f = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return {"f": f, "precision": precision, "recall": recall}


def _embedded(found: Network, text: str, truncate: bool) -> Any:
    """Unit vectors of the tokens, with those that frame the text: tokens × width."""
    import torch

    if type(found.tokenizer).__name__.startswith(("Roberta", "GPT2")):
        text = f" {text}" if text else text  # bert-score's add_prefix_space
    tokens = found.tokenizer(text, truncation=truncate, max_length=found.limit, return_tensors="pt")
    length = tokens["input_ids"].shape[1]
    if length > found.limit:
        raise MetricError(
            f"bertscore: a text of {length} tokens, {found.name} reads {found.limit}; "
            "truncate=True cuts it, as the package bert-score does"
        )
    with torch.inference_mode():
        states = found.model(**tokens).last_hidden_state[0]
    return torch.nn.functional.normalize(states, dim=-1)

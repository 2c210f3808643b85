"""Faithfulness of a reply to its sources, measured by a network: SummaC-ZS and AlignScore.

Sources are the passages of the prompt, or the sample's input (``source="input"``). A reply without sentences
has the lowest score, and so has a sentence longer than half of the network's token limit, because the network
cannot read such a sentence beside a source. The network compares each sentence with each piece of the
sources: without a GPU, a reply of ten sentences over a long article takes minutes.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

from evalkit.data.sentences import split_sentences
from evalkit.errors import MetricError, SetupError
from evalkit.metric import Metric
from evalkit.metrics.pretrained import Network, classified, network, relations_of
from evalkit.metrics.sources import Source, checked, plain_reply, source_texts
from evalkit.metrics.text import name_of
from evalkit.types import Answer, Sample

VITC = "tals/albert-xlarge-vitaminc-mnli"  # SummaC's best model, "vitc"
CHUNK_WORDS = 350
ScoreSentences = Callable[[str, list[str]], float]  # from the sources and the reply's sentences

_BODY = "base_model."  # the prefix of the backbone's weights in an AlignScore checkpoint


def summac(model: str = VITC, *, max_sentences: int | None = None, source: Source = "passages") -> Metric:
    """Return ``summac_zs``: mean over the reply's sentences of (highest entailment − highest contradiction).

    Both maxima are over the sentences of the sources, as in the authors' code. Sentences of up to ten
    characters are left out there and here. The authors' code also ignores all but the first 100 source
    sentences, without a warning: here all are read, and ``max_sentences=100`` gives their figure. Range −1 to
    1. ``model`` is a classifier of natural language inference, by hub name or folder. Source: Laban et al.
    2022.
    """
    name = name_of(
        "summac_zs", model=(Path(model).name, Path(VITC).name), max_sentences=(max_sentences, None)
    ) + checked("summac", source)
    fn = partial(_scored, partial(_summac, model, max_sentences), -1.0, source)
    return Metric(
        name,
        fn,
        low=-1.0,
        help="SummaC-ZS: the reply's sentences entailed by the sources'",
        check_requirements=partial(network, "AutoModelForSequenceClassification", model),
        version=2,  # 2: other sentence borders (``split_sentences``)
    )


def alignscore(checkpoint: str, *, backbone: str = "roberta-base", source: Source = "passages") -> Metric:
    """Return ``alignscore``: mean over the reply's sentences of the highest alignment with a source chunk.

    A chunk is a run of whole sentences, about 350 words. The alignment is the probability of the class
    ``aligned`` of the three-way head (the authors' ``nli_sp``). A chunk too long for the network is cut at
    its end, as in the authors' code. ``checkpoint`` is the authors' file (``AlignScore-base.ckpt`` for
    ``roberta-base``, ``AlignScore-large.ckpt`` for ``roberta-large``). Range 0 to 1. Source: Zha et al. 2023.
    """
    name = name_of("alignscore", checkpoint=(Path(checkpoint).stem, "AlignScore-base")) + checked(
        "alignscore", source
    )
    fn = partial(_scored, partial(_alignscore, checkpoint, backbone), 0.0, source)
    return Metric(
        name,
        fn,
        help="AlignScore: alignment of the reply's sentences with the sources",
        check_requirements=partial(_aligner, checkpoint, backbone),
        version=2,  # 2: other sentence borders (``split_sentences``)
    )


def _scored(
    score: ScoreSentences, lowest: float, source: Source, sample: Sample, answer: Answer
) -> float | None:
    texts = source_texts(source, sample, answer)
    if texts is None:
        return None
    sentences, joined = split_sentences(plain_reply(answer)), "\n\n".join(texts)
    return score(joined, sentences) if sentences and joined.strip() else lowest


def _summac(model: str, max_sentences: int | None, source: str, sentences: list[str]) -> float:
    net = network("AutoModelForSequenceClassification", model)
    labels = relations_of(net)
    if "contradicts" not in labels:
        raise SetupError(f"summac: {net.name} has no label for contradiction")
    premises = [s for s in split_sentences(source) if len(s) > 10][:max_sentences]
    sentences = [s for s in sentences if len(s) > 10]
    if (longest := max((_tokens(net, s) for s in premises), default=0)) > net.limit // 2:
        raise MetricError(
            f"summac: a sentence of the sources has {longest} tokens, but {net.name} reads at most "
            f"{net.limit // 2} beside a sentence of the reply"
        )
    readable = [s for s in sentences if _tokens(net, s) <= net.limit // 2]
    if not premises or not readable:
        return -1.0
    table = classified(net, [(p, s) for p in premises for s in readable])
    highest = table.reshape(len(premises), len(readable), -1).max(axis=0)  # the reply's sentences × labels
    scores = highest[:, labels.index("entails")] - highest[:, labels.index("contradicts")]
    return float(scores.sum() - (len(sentences) - len(readable))) / len(sentences)


def _alignscore(checkpoint: str, backbone: str, source: str, sentences: list[str]) -> float:
    net = _aligner(checkpoint, backbone)
    chunks = _chunks(source)
    readable = [s for s in sentences if _tokens(net, s) <= net.limit // 2]
    if not readable:
        return 0.0
    aligned = classified(net, [(chunk, s) for chunk in chunks for s in readable])[:, 0]
    return float(aligned.reshape(len(chunks), len(readable)).max(axis=0).sum()) / len(sentences)


def _tokens(net: Network, text: str) -> int:
    return len(net.tokenizer(text)["input_ids"])


def _chunks(text: str) -> list[str]:
    """Split a text into chunks with the same number of sentences and about ``CHUNK_WORDS`` words each."""
    sentences = split_sentences(text)
    size = max(len(sentences) // (len(text.split()) // CHUNK_WORDS + 1), 1)
    return [" ".join(sentences[i : i + size]) for i in range(0, len(sentences), size)]


@cache
def _aligner(checkpoint: str, backbone: str) -> Network:
    """Load the authors' network: a backbone and a head of three classes (aligned, contradicting, neutral)."""
    net = network("AutoModel", backbone)
    import torch
    import transformers

    state = _state(checkpoint)
    body = {name.removeprefix(_BODY): value for name, value in state.items() if name.startswith(_BODY)}
    body.pop("embeddings.position_ids", None)  # saved by older versions of transformers
    model = transformers.AutoModel.from_config(net.model.config)
    head = torch.nn.Linear(net.model.config.hidden_size, 3)
    try:
        model.load_state_dict(body)
        head.load_state_dict({name: state[f"tri_layer.{name}"] for name in ("weight", "bias")})
    except (KeyError, RuntimeError) as error:
        raise SetupError(
            f"{checkpoint} is not an AlignScore checkpoint over {backbone}: {str(error).splitlines()[0]}"
        ) from None
    return net._replace(name=Path(checkpoint).stem, model=model.eval(), head=head.eval())


def _state(checkpoint: str) -> dict[str, Any]:
    import torch

    try:
        state: dict[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"]
    except FileNotFoundError:
        raise SetupError(
            f"the AlignScore checkpoint {checkpoint} does not exist: download AlignScore-base.ckpt or "
            "AlignScore-large.ckpt, as the README of yuh-zha/AlignScore says, and give its path"
        ) from None
    except (pickle.UnpicklingError, KeyError, EOFError) as error:
        raise SetupError(f"{checkpoint} holds no weights that can be loaded safely: {error}") from None
    return state

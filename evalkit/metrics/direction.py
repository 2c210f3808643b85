"""Where a reply says that the evidence points, against the reference: ΔEI of MS², by a classifier.

The classifier is any network of three labels that say decrease, no difference and increase, as models
trained on Evidence Inference do; the labels are read from its config by these words. It is asked about both
texts for each pair of intervention and outcome in ``sample.metadata["interventions_outcomes"]``; without such
pairs, once.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

from evalkit.errors import MetricError, SetupError, UsageError, did_you_mean
from evalkit.metric import Metric
from evalkit.metrics.pretrained import Network, classified, network
from evalkit.metrics.text import name_of, scored
from evalkit.types import Answer, Sample

Kind = Literal["delta_ei", "agreement"]
Pairs = tuple[tuple[str, str], ...]

_WORDS = ("decrease", "no ", "increase")


def evidence_direction(model: str, kind: Kind = "delta_ei") -> Metric:
    """``delta_ei``: mean over the pairs of the Jensen-Shannon distance (base 2) between the distributions of
    directions in reply and reference; lower is better. ``direction_agreement``: share of the pairs with the
    same likeliest direction.

    ``model`` is the classifier's hub name or folder. The best reference counts. Range 0 to 1.
    Raises ``UsageError`` for another kind. Source: DeYoung et al. 2021 (MS²), Wallace et al. 2021.
    """
    if kind not in get_args(Kind):
        known = get_args(Kind)
        raise UsageError(
            f"evidence_direction: {kind!r} is none of {', '.join(known)}.{did_you_mean(kind, known)}"
        )
    name = name_of({"delta_ei": kind, "agreement": "direction_agreement"}[kind], model=(Path(model).name, ""))
    told = "distance between the directions of evidence in reply and reference"
    if kind == "agreement":
        told = "share of questions on which reply and reference give the same direction"
    return Metric(
        name,
        partial(_direction, model, kind),
        higher_is_better=kind == "agreement",
        help=told,
        check_requirements=partial(network, "AutoModelForSequenceClassification", model),
    )


def _direction(model: str, kind: Kind, sample: Sample, answer: Answer) -> float | None:
    given = sample.metadata.get("interventions_outcomes", [["", ""]])
    if not given or any(len(pair) != 2 for pair in given):
        raise MetricError(f"sample {sample.id!r}: interventions_outcomes {given!r} are no pairs")
    pairs = tuple((str(intervention), str(outcome)) for intervention, outcome in given)
    return scored(partial(_compared, model, kind, pairs), True, sample, answer)


def _compared(model: str, kind: Kind, pairs: Pairs, reply: str, references: tuple[str, ...]) -> float:
    if not reply.strip():
        return 1.0 if kind == "delta_ei" else 0.0
    from scipy.spatial.distance import jensenshannon

    net = network("AutoModelForSequenceClassification", model)
    said, wanted = _directions(net, pairs, reply), [_directions(net, pairs, text) for text in references]
    if kind == "agreement":
        return max(float((said.argmax(axis=1) == one.argmax(axis=1)).mean()) for one in wanted)
    return min(float(jensenshannon(said, one, base=2, axis=1).mean()) for one in wanted)


def _directions(net: Network, pairs: Pairs, text: str) -> Any:
    """Probabilities of decrease, no difference, increase: pairs × 3."""
    names = [str(net.model.config.id2label[i]).lower() for i in range(net.model.config.num_labels)]
    places = [[i for i, name in enumerate(names) if word in f"{name} "] for word in _WORDS]
    if len(names) != 3 or any(len(found) != 1 for found in places):
        raise SetupError(
            f"{net.name} tells no direction: of its labels ({', '.join(names)}) one must say decrease, "
            "one no difference and one increase"
        )
    separator = net.tokenizer.sep_token
    questions = [
        f"{intervention} {separator} {outcome}".strip() if intervention or outcome else ""
        for intervention, outcome in pairs
    ]
    longest = max(len(net.tokenizer(question, text)["input_ids"]) for question in questions)
    if longest > net.limit:
        raise MetricError(f"evidence direction: a text of {longest} tokens, {net.name} reads {net.limit}")
    return classified(net, [(question, text) for question in questions])[:, [found[0] for found in places]]

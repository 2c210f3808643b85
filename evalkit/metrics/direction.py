"""Direction of the evidence in reply and reference, compared by a classifier: ΔEI of MS².

The classifier is any network with three labels that say decrease, no difference and increase, as models
trained on Evidence Inference have; these words identify the labels in its config. The classifier reads both
texts once for each pair of intervention and outcome in ``sample.metadata["interventions_outcomes"]``, or
once where there are no pairs.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

from evalkit.errors import MetricError, SetupError
from evalkit.metric import Metric, check_option
from evalkit.metrics.pretrained import Network, classified, network
from evalkit.metrics.text import name_of, scored
from evalkit.types import Answer, Sample

Kind = Literal["delta_ei", "agreement"]
Pairs = tuple[tuple[str, str], ...]

_WORDS = ("decrease", "no ", "increase")


def evidence_direction(model: str, kind: Kind = "delta_ei") -> Metric:
    """Return ``delta_ei`` or, for ``kind="agreement"``, ``direction_agreement``.

    ``delta_ei`` is the mean over the pairs of the Jensen-Shannon distance (base 2) between the distributions
    of directions in reply and reference; lower is better. ``direction_agreement`` is the share of the pairs
    with the same likeliest direction. ``model`` is the classifier's hub name or folder. The best reference
    counts. Range 0 to 1.
    Raises ``UsageError`` for another kind. Source: DeYoung et al. 2021 (MS²), Wallace et al. 2021.
    """
    check_option("evidence_direction", kind, get_args(Kind))
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
    listed = sample.metadata.get("interventions_outcomes", [["", ""]])
    if not listed or any(len(pair) != 2 for pair in listed):
        raise MetricError(f"sample {sample.id!r}: interventions_outcomes {listed!r} are not pairs")
    pairs = tuple((str(intervention), str(outcome)) for intervention, outcome in listed)
    return scored(partial(_compared, model, kind, pairs), True, sample, answer)


def _compared(model: str, kind: Kind, pairs: Pairs, reply: str, references: tuple[str, ...]) -> float:
    if not reply.strip():
        return 1.0 if kind == "delta_ei" else 0.0
    from scipy.spatial.distance import jensenshannon

    net = network("AutoModelForSequenceClassification", model)
    stated, expected = _directions(net, pairs, reply), [_directions(net, pairs, text) for text in references]
    if kind == "agreement":
        return max(float((stated.argmax(axis=1) == table.argmax(axis=1)).mean()) for table in expected)
    return min(float(jensenshannon(stated, table, base=2, axis=1).mean()) for table in expected)


def _directions(net: Network, pairs: Pairs, text: str) -> Any:
    """Return the probabilities of decrease, no difference and increase: pairs × 3."""
    names = [str(net.model.config.id2label[i]).lower() for i in range(net.model.config.num_labels)]
    columns = [[i for i, name in enumerate(names) if word in f"{name} "] for word in _WORDS]
    if len(names) != 3 or any(len(matching) != 1 for matching in columns):
        raise SetupError(
            f"{net.name} does not classify directions: of its labels ({', '.join(names)}) one must say "
            "decrease, one no difference and one increase"
        )
    separator = net.tokenizer.sep_token
    questions = [
        f"{intervention} {separator} {outcome}".strip() if intervention or outcome else ""
        for intervention, outcome in pairs
    ]
    longest = max(len(net.tokenizer(question, text)["input_ids"]) for question in questions)
    if longest > net.limit:
        raise MetricError(
            f"evidence direction: a text has {longest} tokens, but {net.name} reads at most {net.limit}"
        )
    order = [matching[0] for matching in columns]
    return classified(net, [(question, text) for question in questions])[:, order]

"""Groups of metrics that several tasks use: of texts, searches, citations and a judge's verdicts."""

from __future__ import annotations

from evalkit.metrics import (
    abstained,
    abstention,
    alce,
    biogen,
    citation_coverage,
    citation_precision,
    citation_recall,
    mrr,
    ndcg,
    ragchecker,
    recall,
    rouge,
)

ROUGE = tuple(map(rouge, ("rouge1", "rouge2", "rougeL")))
SEARCH = (recall(10), mrr(), ndcg(10))
CITED = (citation_precision(), citation_recall(), citation_coverage())
ABSTAINING = (abstention(), abstained())
BIOGEN = tuple(map(biogen, ("coverage", "support", "contradict")))
CITATIONS = (alce("recall"), alce("precision"), *BIOGEN)
CLAIMS = tuple(
    map(ragchecker, ("f1", "claim_recall", "context_utilization", "faithfulness", "hallucination"))
)

"""Metrics that several tasks list: of a search, and of a judge's verdicts on citations and claims."""

from __future__ import annotations

from evalkit.metrics import alce, biogen, mrr, ndcg, ragchecker, recall

SEARCH = (recall(1), recall(10), mrr(), ndcg(10))
BIOGEN = (biogen("coverage"), biogen("support"), biogen("contradict"))
CITATIONS = (alce("recall"), alce("precision"), *BIOGEN)
CLAIMS = (
    ragchecker("f1"),
    ragchecker("claim_recall"),
    ragchecker("context_utilization"),
    ragchecker("faithfulness"),
    ragchecker("hallucination"),
)

"""Comparisons of runs: paired differences, image ablation, thresholds, the RAG report."""

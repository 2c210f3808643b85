"""What runs say of each other: paired differences, image ablation, thresholds, the RAG report."""

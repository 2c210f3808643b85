"""Evaluation of retrieval alone: benchmarks with judgements, TREC files."""

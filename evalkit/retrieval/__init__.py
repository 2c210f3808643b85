"""Retrieval measured alone: benchmarks with judgements, TREC files."""

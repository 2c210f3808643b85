"""Retrieval-augmented tasks: arms, queries, prompts, retrievers by name."""

"""Corpora: reading documents in common formats, and cutting them into passages."""

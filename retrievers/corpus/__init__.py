"""Corpora: reading documents in the layouts that people have, and cutting them into passages."""

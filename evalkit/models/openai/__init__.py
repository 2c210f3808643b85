"""Adapters of OpenAI-compatible servers and SGLang, and what they are made of."""

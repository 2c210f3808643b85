"""Adapters of OpenAI-compatible servers and of SGLang, and their parts."""

"""Encoders: vectors of texts, computed here or by a server, and cached on disk."""

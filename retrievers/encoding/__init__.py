"""Encoders: texts into vectors, computed here or by a server, and kept on disk."""

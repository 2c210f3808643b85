"""Checks of a real model server: ``python -m benchmarks.served --help``."""

"""Runs of other harnesses brought into the store, and runs of the store written for them."""

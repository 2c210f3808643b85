"""Fixtures that every task file can use without defining them."""

"""Numbered migrations. They are only ever added to: one that has shipped is never edited."""

"""Retrievers: ``index`` over ``corpus`` and ``encoding``. Found by the entry points of pyproject.toml."""

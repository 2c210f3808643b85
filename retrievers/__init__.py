"""Retrievers: ``index`` uses ``corpus`` and ``encoding``. Entry points in pyproject.toml name the classes."""

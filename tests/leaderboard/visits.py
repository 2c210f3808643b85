"""A visit of a page of the board, by Streamlit's own test harness."""

from __future__ import annotations

from pathlib import Path

import evalkit_leaderboard
import pytest
from streamlit.testing.v1 import AppTest

APP = Path(evalkit_leaderboard.__file__).parent / "app.py"


def visit(store: Path, page: str = "", **query: str) -> AppTest:
    """Open a page on a store, with the parameters of its address. It must raise nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVALKIT_STORE", str(store))
        app = AppTest.from_file(str(APP), default_timeout=60)
        if page:
            app.run()
            app.switch_page(f"views/{page}.py")
        for name, value in query.items():
            app.query_params[name] = value
        app.run()
    assert not app.exception
    return app


def texts(app: AppTest) -> str:
    """Return all texts of a page, each on a line."""
    kinds = ("title", "subheader", "text", "caption", "code", "info", "warning", "error", "markdown")
    return "\n".join(str(element.value) for kind in kinds for element in app.get(kind))


def plain(markdown: str) -> str:
    """Return what markdown shows, if it is only escaped text."""
    return markdown.replace("\\", "")

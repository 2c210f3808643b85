"""``evalkit leaderboard``."""

from __future__ import annotations

import importlib.metadata

import click

from evalkit.cli.options import store_option
from evalkit.errors import UsageError


@click.command()
@click.option(
    "--port", type=click.IntRange(1, 65535), default=8501, show_default=True, help="Port of the server."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address of the server.")
@click.option("--browser/--no-browser", default=False, help="Open a browser window.")
@click.option(
    "--origin",
    "origins",
    multiple=True,
    metavar="URL",
    help="Public address of a proxy in front of the board, such as https://board.example; repeatable.",
)
@store_option
def leaderboard(port: int, host: str, browser: bool, origins: tuple[str, ...], store_url: str | None) -> None:
    """Serve the leaderboard of the score store in a browser."""
    if store_url is not None:
        from evalkit.store import open_store

        open_store(store_url, create=False).close()
    for point in importlib.metadata.entry_points(group="evalkit.apps", name="leaderboard"):
        point.load()(store_url, port=port, host=host, open_browser=browser, origins=origins)
        return
    raise UsageError("the leaderboard is not installed: pip install 'evalkit[leaderboard]'")

"""``evalkit cache``: the response cache, which lies beside the score store."""

from __future__ import annotations

import time

import click

from evalkit.cli.options import json_option, store_option
from evalkit.cli.output import echo, print_json
from evalkit.models.middleware.response_cache import ResponseCache


@click.group()
def cache() -> None:
    """Show the size of the response cache, or empty it. Scores and stored answers do not change."""


@cache.command()
@store_option
@json_option
def info(store_url: str | None, as_json: bool) -> None:
    """Show the path, size and age of the cache."""
    from evalkit.util.config import cache_size, load_config

    responses = _open(store_url)
    content, max_bytes = responses.info(), cache_size(load_config())
    if as_json:
        print_json(
            {
                "path": str(responses.path),
                "responses": content.responses,
                "bytes": content.bytes,
                "max_bytes": max_bytes,
                "first": content.first,
                "last": content.last,
            }
        )
    else:
        limit = f" of {max_bytes / 1e6:,.1f}" if max_bytes else ""
        since = f", since {time.strftime('%Y-%m-%d', time.localtime(content.first))}" if content.first else ""
        size = f"{content.responses:,} responses, {content.bytes / 1e6:,.1f}{limit} MB"
        echo(f"{responses.path}: {size}{since}")
    responses.close()


@cache.command()
@click.option("--older-than", type=click.FloatRange(min=0), metavar="DAYS", help="Only older responses.")
@store_option
@json_option
def clear(older_than: float | None, store_url: str | None, as_json: bool) -> None:
    """Delete the responses. Resuming an interrupted run may then call the model again."""
    responses = _open(store_url)
    cleared = responses.clear(None if older_than is None else time.time() - older_than * 86_400)
    responses.close()
    if as_json:
        print_json({"path": str(responses.path), "cleared": cleared})
    else:
        echo(f"{responses.path}: {cleared:,} responses cleared")


def _open(store_url: str | None) -> ResponseCache:
    from evalkit.store import open_store

    store = open_store(store_url, create=False)
    store.close()
    return ResponseCache(store.home / "responses.db")

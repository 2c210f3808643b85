"""``evalkit cache``: the responses that models gave, kept beside the score store."""

from __future__ import annotations

import time

import click

from evalkit.cli.options import json_option, store_option
from evalkit.cli.output import print_json
from evalkit.models.middleware.response_cache import ResponseCache


@click.group()
def cache() -> None:
    """Say what the response cache holds, or empty it. Scores and stored answers stay as they are."""


@cache.command()
@store_option
@json_option
def info(store_url: str | None, as_json: bool) -> None:
    """Say how much the cache holds, where, and since when."""
    from evalkit.util.config import cache_size, load_config

    responses = _open(store_url)
    found, most = responses.info(), cache_size(load_config())
    if as_json:
        print_json(
            {
                "path": str(responses.path),
                "responses": found.responses,
                "bytes": found.bytes,
                "max_bytes": most,
                "first": found.first,
                "last": found.last,
            }
        )
    else:
        limit = f" of {most / 1e6:,.1f}" if most else ""
        since = f", since {time.strftime('%Y-%m-%d', time.localtime(found.first))}" if found.first else ""
        click.echo(
            f"{responses.path}: {found.responses:,} responses, {found.bytes / 1e6:,.1f}{limit} MB{since}"
        )
    responses.close()


@cache.command()
@click.option("--older-than", type=click.FloatRange(min=0), metavar="DAYS", help="Only what is older.")
@store_option
@json_option
def clear(older_than: float | None, store_url: str | None, as_json: bool) -> None:
    """Forget the responses. Runs that were interrupted may then have to ask again."""
    responses = _open(store_url)
    gone = responses.clear(None if older_than is None else time.time() - older_than * 86_400)
    responses.close()
    if as_json:
        print_json({"path": str(responses.path), "cleared": gone})
    else:
        click.echo(f"{responses.path}: {gone:,} responses cleared")


def _open(store_url: str | None) -> ResponseCache:
    from evalkit.store import open_store

    store = open_store(store_url, create=False)
    store.close()
    return ResponseCache(store.home / "responses.db")

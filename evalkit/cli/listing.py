"""``evalkit list``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from evalkit.cli.options import include_option, json_option, keyword_option, tags_option
from evalkit.cli.output import echo, print_json
from evalkit.collection.listing import Listed, Listing, listing


@click.command("list")
@click.argument("targets", nargs=-1)
@keyword_option
@tags_option
@click.option("--fresh", is_flag=True, help="Import every file, even unchanged ones.")
@include_option
@json_option
def list_(
    targets: tuple[str, ...],
    keyword: str | None,
    tags: tuple[str, ...],
    fresh: bool,
    include_path: Path | None,
    as_json: bool,
) -> None:
    """List tasks with their parameters and metrics.

    TARGETS are those of evalkit run: files, folders, names of tasks. Without any: all installed tasks.
    """
    found = listing(targets, keyword=keyword, tags=tags, include_path=include_path, fresh=fresh)
    if as_json:
        _print_document(found)
    else:
        for line, bold in _lines(found):
            echo(line, bold=bold)
    sys.exit(_print_broken(found))


def print_node_ids(found: Listing, as_json: bool) -> int:
    """Print the node ids of ``run --collect-only``; return the exit code."""
    if as_json:
        _print_document(found)
    for item in [] if as_json else found.items:
        echo(item.node_id + _marks(item))
    if not as_json:
        echo(f"{len(found.items)} items", err=True)
    return _print_broken(found)


def _print_document(found: Listing) -> None:
    broken = [{"path": b.path, "line": b.line, "message": b.message} for b in found.broken]
    print_json({"tasks": [item.document for item in found.items], "broken": broken})


def _print_broken(found: Listing) -> int:
    for broken in found.broken:
        echo(f"evalkit: broken task file: {broken}", err=True)
    return 2 if found.broken else 0


def _marks(item: Listed) -> str:
    skipped = f"  (skipped: {item.skip})" if item.skip else ""
    return skipped + (f"  (expected to fail: {item.xfail})" if item.xfail else "")


def _lines(found: Listing) -> Iterator[tuple[str, bool]]:
    """Yield the lines of the list, and whether each is bold."""
    last = ("", "")
    for item in found.items:
        if (item.where, item.name) != last:
            last = (item.where, item.name)
            tags = f"  ({', '.join(item.tags)})" if item.tags else ""
            yield item.name + tags + _marks(item), True
            if item.doc:
                yield f"  {item.doc}", False
            yield f"  {item.where}", False
            yield f"  metrics: {', '.join(item.metrics)}", False
            if item.own:
                settings = ", ".join(f"{name}={item.params[name]}" for name in item.own)
                yield f"  parameters: {settings}", False
        if item.named:
            yield f"    {item.id}", False
    if not found.items and not found.broken:
        yield "No task matches.", False

"""``evalkit list``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from evalkit.cli.output import print_json
from evalkit.cli.run import include_option
from evalkit.collect import Collection, Item, collect


@click.command("list")
@click.argument("targets", nargs=-1)
@click.option("-k", "keyword", metavar="EXPR", help="Only items whose node id matches.")
@click.option("-m", "tags", multiple=True, metavar="TAG", help="Only tasks with this tag.")
@include_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def list_(
    targets: tuple[str, ...],
    keyword: str | None,
    tags: tuple[str, ...],
    include_path: Path | None,
    as_json: bool,
) -> None:
    """List tasks with their parameters and metrics. TARGETS as for evalkit run."""
    found = collect(targets, keyword=keyword, tags=tags, include_path=include_path)
    if as_json:
        print_json(
            {
                "tasks": [_document(item) for item in found.items],
                "broken": [{"path": b.path, "line": b.line, "message": b.message} for b in found.broken],
            }
        )
    else:
        _print(found)
    for broken in found.broken:
        click.echo(f"evalkit: broken task file: {broken}", err=True)
    sys.exit(2 if found.broken else 0)


def _document(item: Item) -> dict[str, Any]:
    return {
        "id": item.id,
        "node_id": item.node_id,
        "doc": item.task.doc,
        "tags": list(item.task.tags),
        "params": dict(item.params),
        "metrics": [m.name for m in item.task.metrics],
        "version": item.task.version,
    }


def _print(found: Collection) -> None:
    seen: set[int] = set()
    for item in found.items:
        task = item.task
        if id(task) not in seen:
            seen.add(id(task))
            tags = f"  ({', '.join(task.tags)})" if task.tags else ""
            click.echo(click.style(task.name, bold=True) + tags)
            click.echo(f"  {task.doc}")
            click.echo(f"  {item.where}")
            click.echo(f"  metrics: {', '.join(m.name for m in task.metrics)}")
            settings = ", ".join(f"{k}={v}" for k, v in item.params.items() if k not in task.axes)
            if settings:
                click.echo(f"  parameters: {settings}")
        if item.named:
            click.echo(f"    {item.id}")
    if not seen and not found.broken:
        click.echo("No tasks match.")

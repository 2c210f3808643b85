"""``evalkit batches``: the jobs at vendors' batch interfaces whose replies no run has taken yet."""

from __future__ import annotations

import asyncio
import time

import click
import msgspec

from evalkit.cli.options import json_option, store_option
from evalkit.cli.output import echo, print_json
from evalkit.models.batch.journal import JOURNAL, Job, Journal, find_job


@click.group()
def batches() -> None:
    """List or cancel jobs at vendors' batch interfaces (models with ?batch=true)."""


@batches.command("list")
@store_option
@json_option
def list_(store_url: str | None, as_json: bool) -> None:
    """List the jobs whose replies no run has taken yet, with the state that was last seen."""
    journal = _open(store_url)
    jobs = journal.jobs()
    journal.close()
    if as_json:
        print_json({"jobs": [msgspec.to_builtins(job) for job in jobs]})
    elif not jobs:
        echo("No batch job is waited for.")
    for job in jobs if not as_json else ():
        echo(_line(job))


@batches.command()
@click.argument("jobs", nargs=-1, required=True, metavar="JOB...")
@store_option
def cancel(jobs: tuple[str, ...], store_url: str | None) -> None:
    """Cancel jobs. Lines that the vendor has answered stay answered, and a resumed run takes them."""
    journal = _open(store_url)
    for job in [find_job(journal, name) for name in jobs]:
        asyncio.run(_cancel(job, journal))
        echo(f"{job.id or job.name}: the vendor was asked to cancel it")
    journal.close()


async def _cancel(job: Job, journal: Journal) -> None:
    """Ask the vendor to cancel a job. Raises ``UsageError``, ``ModelError``."""
    from evalkit.errors import UsageError
    from evalkit.models.spec import load
    from evalkit.util.config import load_config

    backend = load(job.model, config=load_config())
    try:
        service = backend.batches()
        assert service is not None  # the spec says ?batch=true
        keys = [key.hex() for key in journal.keys(job.name)]
        known = job.id or await service.find(job.name, keys, job.submitted, journal.ids())
        if known is None:
            raise UsageError(f"{job.name}: the vendor has no such job; it was never submitted")
        await service.cancel(known)
    finally:
        await backend.close()


def _line(job: Job) -> str:
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(job.submitted))
    state = job.state or ("submitted" if job.id else "not yet confirmed by the vendor")
    counts = f"{job.done:,} of {job.lines:,} lines done"
    return f"{job.id or job.name}  {job.model}  {when}  {state}, {counts}"


def _open(store_url: str | None) -> Journal:
    from evalkit.store import open_store

    store = open_store(store_url, create=False)
    store.close()
    return Journal(store.home / JOURNAL)

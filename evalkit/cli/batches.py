"""``evalkit batches``: the jobs at vendors' batch interfaces whose replies no run has taken yet."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import click
import msgspec

from evalkit.cli.options import json_option, store_option
from evalkit.cli.output import echo, print_json
from evalkit.errors import EvalkitError, RequestRejected, UsageError
from evalkit.models.batch.journal import JOURNAL, Job, Journal


@click.group()
def batches() -> None:
    """List, cancel or forget jobs at vendors' batch interfaces (models with ?batch=true)."""


@batches.command("list")
@store_option
@json_option
def list_(store_url: str | None, as_json: bool) -> None:
    """List the jobs that are waited for, with their last state."""
    with _journals(store_url) as journals:
        jobs = [job for journal in journals for job in journal.jobs()]
    if as_json:
        print_json({"jobs": [msgspec.to_builtins(job) for job in jobs]})
        return
    for job in jobs:
        echo(_line(job))
    if not jobs:
        echo("No batch job is waited for.")


@batches.command()
@click.argument("jobs", nargs=-1, required=True, metavar="JOB...")
@store_option
def cancel(jobs: tuple[str, ...], store_url: str | None) -> None:
    """Cancel jobs. Lines that the vendor has answered stay answered, and a resumed run takes them."""
    with _journals(store_url) as journals:
        for journal, job in [_find(journals, name) for name in jobs]:
            asyncio.run(_cancel(job, journal))
            echo(f"{job.id or job.name}: the vendor was asked to cancel it")


@batches.command()
@click.argument("jobs", nargs=-1, required=True, metavar="JOB...")
@store_option
def forget(jobs: tuple[str, ...], store_url: str | None) -> None:
    """Forget jobs that the vendor no longer has. A resumed run asks, and pays for, their lines again."""
    with _journals(store_url) as journals:
        for journal, job in [_find(journals, name) for name in jobs]:
            journal.drop(job.name)
            echo(f"{job.id or job.name}: forgotten, with {job.open:,} lines that had no reply yet")


async def _cancel(job: Job, journal: Journal) -> None:
    """Ask the vendor to cancel a job. Raises ``UsageError``, ``ModelError``."""
    from evalkit.models.providers import load
    from evalkit.util.config import load_config

    backend = load(job.model, config=load_config())
    try:
        service = backend.batches()
        keys = [key.hex() for key in journal.keys(job.name)]
        if service is None:
            raise UsageError(f"{job.model}: evalkit.toml no longer says that this model is asked by batch")
        known = job.id or await service.find(job.name, keys, job.submitted, journal.ids())
        if known is None:
            raise UsageError(f"{job.name}: the vendor has no such job; it was never submitted")
        await service.cancel(known)
    except RequestRejected as problem:
        if problem.status != 404:
            raise
        raise UsageError(
            f"{problem}. If the vendor has deleted the job, `evalkit batches forget {job.id or job.name}`"
        ) from None
    finally:
        await backend.close()


def _find(journals: list[Journal], name: str) -> tuple[Journal, Job]:
    """Return a job by the vendor's id or evalkit's name. Raises ``UsageError`` if there is none."""
    for journal in journals:
        if (job := journal.job(name)) is not None:
            return journal, job
    known = [job.id or job.name for journal in journals for job in journal.jobs()]
    raise UsageError(f"no such batch job: {name!r}. Jobs that are waited for: {', '.join(known) or 'none'}")


def _line(job: Job) -> str:
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(job.submitted))
    state = job.state or ("submitted" if job.id else "not yet confirmed by the vendor")
    counts = f"{job.done:,} of {job.lines:,} lines done"
    return f"{job.id or job.name}  {job.model}  {when}  {state}, {counts}"


@contextmanager
def _journals(store_url: str | None) -> Iterator[list[Journal]]:
    """Open the journals beside the score store (of runs) and in the cache folder (of judges)."""
    from evalkit.store import open_store
    from evalkit.util.paths import cache_dir

    homes = [cache_dir()]
    try:
        store = open_store(store_url, create=False)
    except EvalkitError:
        if store_url is not None:
            raise
    else:
        store.close()
        homes.insert(0, store.home)
    with ExitStack() as stack:
        paths = dict.fromkeys(home / JOURNAL for home in homes)
        journals = [Journal(path) for path in paths if path.exists()]
        for journal in journals:
            stack.callback(journal.close)
        yield journals

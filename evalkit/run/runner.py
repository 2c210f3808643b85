"""One run from beginning to end: survey the samples, probe the model, drive the engine, sum up.

``start`` begins a run, ``resume`` goes on with one, ``rescore`` needs no model. What a run needs to be built
again (file, parameters, options) is stored with it as ``RunSpec.reproduction``.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from evalkit.collection.items import Item, plain
from evalkit.collection.sources import item_of
from evalkit.collection.with_metrics import with_metrics
from evalkit.errors import NotInstalled, SetupError
from evalkit.model import Model
from evalkit.models.middleware.call_stats import CallStats
from evalkit.protocols import Backend, described
from evalkit.requests import canonical, changes
from evalkit.run import engine, provenance
from evalkit.run.aggregate import aggregate_run
from evalkit.run.display import RunDisplay
from evalkit.run.fingerprint import Survey, survey
from evalkit.run.history import earlier_lengths, earlier_probe
from evalkit.run.scoring import Scorer
from evalkit.run.session import Session, samples_of
from evalkit.store.records import (
    MetricInfo,
    ParameterInfo,
    Reproduction,
    Run,
    RunSpec,
    RunStatus,
    SampleRecord,
)
from evalkit.types import Sample, ServerInfo

if TYPE_CHECKING:
    from evalkit.models.middleware.cached import CacheMode
    from evalkit.store.store import Store

HEARTBEAT_S = 5.0


@dataclass
class Options:
    """How to run, as opposed to what. ``backend`` answers in place of the one that the model's spec names."""

    limit: int | None = None
    repeats: int = 1
    window: int = 2048
    max_inflight: int | None = None  # None: as many as the server runs; of a resumed run, as it began
    cache: CacheMode | None = None  # None: on; of a resumed run, as it began
    on_start: Callable[[RunSpec], None] = lambda spec: None
    backend: Backend | None = None
    stop: asyncio.Event = field(default_factory=asyncio.Event)


def new_id() -> str:
    """A run id that sorts by time: ``20261121-143015-9f3c1b``."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{os.urandom(3).hex()}"


def spec_of(
    run_id: str, item: Item, name: str, model: Model, model_text: str, found: Survey, options: Options
) -> RunSpec:
    """All that is known of a run before its first sample."""
    return RunSpec(
        id=run_id,
        task=item.id,
        path=item.where,
        model=name,
        model_spec=model_text,
        tags=item.task.tags,
        params={name: plain(value) for name, value in item.shown.items()},
        metrics=metric_infos(item),
        repeats=options.repeats,
        limit=options.limit,
        n_expected=found.n * options.repeats,
        dataset=found.fingerprint,
        reproduction=Reproduction(
            path=str(item.task.path) if item.task.path else None,
            params={name: _anywhere(value) for name, value in item.shown.items()},
            named=item.named,
            parameters={
                name: ParameterInfo(plain(known.default), tuple(map(plain, known.choices)))
                for name, known in item.resolved.params.items()
            },
            metrics=item.task.added,
            cache=options.cache or "on",
            max_inflight=options.max_inflight,
            given=options.backend is not None,
        ),
        provenance={
            **provenance.of_item(item),
            "model": msgspec.to_builtins(model.facts),
            "generation_defaults": dict(model.defaults),
        },
    )


def metric_infos(item: Item) -> tuple[MetricInfo, ...]:
    """What the store keeps of the task's metrics."""
    return tuple(
        MetricInfo(m.name, m.low, m.high, m.higher_is_better, m.kind, m.unit, m.help)
        for m in item.task.metrics
    )


def _anywhere(value: Any) -> Any:
    """A parameter so that ``resume`` finds it from any folder: paths absolute."""
    return str(value.resolve()) if isinstance(value, Path) else plain(value)


async def start(item: Item, model_text: str, store: Store, session: Session, options: Options) -> Run:
    """Evaluate one model on one item. Raises ``SetupError`` where the run cannot begin or cannot go on."""
    async with session.running():
        await _metrics_ready(item)
        samples = await samples_of(item, session)
        found = await survey(item, samples, options.limit)
        run_id = new_id()
        async with _connected(run_id, model_text, item, store, options) as (name, model):
            spec = spec_of(run_id, item, name, model, model_text, found, options)
            store.runs.begin(spec)
            options.on_start(spec)
            try:
                return await _drive(item, spec, model, samples, store, session, options)
            except NotInstalled:
                store.runs.discard(run_id)
                raise


async def resume(run: Run, store: Store, session: Session, options: Options) -> Run:
    """Go on with a run: only what is missing or failed is asked for.

    Raises ``SetupError`` where the data set is no longer what it was.
    """
    item = item_of(run.spec)
    if run.spec.reproduction.given:
        raise SetupError(
            f"run {run.id}: its answers came from a file or a program, not from a served model; "
            "make it again with evalkit score, or as it was made"
        )
    began = run.spec.reproduction
    options = replace(
        options,
        cache=options.cache or began.cache,
        max_inflight=options.max_inflight or began.max_inflight,
    )
    async with session.running():
        await _metrics_ready(item)
        samples = await samples_of(item, session)
        found = await survey(item, samples, run.spec.limit)
        if found.fingerprint != run.spec.dataset:
            raise SetupError(
                f"run {run.id}: the samples are no longer those that it began with "
                f"({found.fingerprint[:12]} now, {run.spec.dataset[:12]} then). Start a new run instead."
            )
        async with _connected(run.id, run.spec.model_spec, item, store, options) as (_, model):
            _check_same_model(run.spec, model.facts)
            store.runs.claim(run.id)
            options.on_start(run.spec)
            return await _drive(item, run.spec, model, samples, store, session, options)


async def _metrics_ready(item: Item) -> None:
    """Raises ``SetupError`` where something that a metric needs is not there."""
    for metric in item.task.metrics:
        if metric.check_requirements is not None:
            await asyncio.to_thread(metric.check_requirements)


def _check_same_model(spec: RunSpec, facts: ServerInfo) -> None:
    before, now = spec.provenance.get("model", {}).get("identity"), msgspec.to_builtins(facts.identity)
    if before is not None and before != now:
        raise SetupError(
            f"run {spec.id}: the served model is not the one it began with ({changes(before, now)}). "
            "Start a new run, or serve the same model again."
        )


def _connected(run_id: str, text: str, item: Item, store: Store, options: Options) -> Any:
    """The model, with the response cache that lies beside the store.

    The cache is written even where it is off: keyed by run then, so that resume finds what was paid for.
    """
    from evalkit.models.connect import connect

    mode = "off" if options.backend is not None else options.cache or "on"
    return connect(
        text,
        item.needs,
        store.home / "responses.db",
        stop=options.stop,
        mode=mode,
        namespace=run_id,
        max_inflight=options.max_inflight,
        given=options.backend,
        earlier=earlier_lengths(store, item, text),
        known=earlier_probe(store, text) if mode == "only" else None,
    )


async def _drive(
    item: Item,
    spec: RunSpec,
    model: Model,
    samples: Callable[[], AsyncIterator[Sample]],
    store: Store,
    session: Session,
    options: Options,
) -> Run:
    done = store.samples.done(spec.id)
    expected = spec.n_expected or 0
    earlier, traffic, began = store.runs.get(spec.id), CallStats(), time.perf_counter()
    status: RunStatus = "incomplete"
    beat = asyncio.create_task(_heartbeat(store, spec.id))
    try:
        with Scorer(item.task, expected - len(done)) as scorer:
            label = f"{spec.model} · {item.id}"
            with session.progress.bar(label, expected) as bar:
                bar.advance(len(done))
                arguments = await session.arguments(item.task.fn, item)
                async with RunDisplay(bar, traffic=traffic) as live:
                    await engine.run(
                        engine.Work(
                            fn=session.for_samples(item),
                            arguments=arguments,
                            model=model,
                            samples=samples,
                            repeats=spec.repeats,
                            done=done,
                            scorer=scorer,
                            write=lambda batch: store.samples.write(spec.id, batch),
                            write_waits=not store.embedded,
                            bar=live,
                            window=options.window,
                            limit=spec.limit,
                            stop=options.stop,
                        )
                    )
        status = "complete"
    except (engine.Stopped, asyncio.CancelledError):
        status = "interrupted"
        raise
    finally:
        beat.cancel()
        facts = {**_described(session.used), **_prompt(store, spec), **_judged(earlier, traffic)}
        store.runs.add_provenance(spec.id, **facts)
        aggregate_run(store, item, spec, status, earlier.wall_s + time.perf_counter() - began)
    return store.runs.get(spec.id)


def _prompt(store: Store, spec: RunSpec) -> dict[str, str]:
    """SHA-256 of the run's first request, rendered: another prompt, template or sampling is another hash."""
    first = next(store.samples.records(spec.id, sequences=[0]), None)
    if first is None or not first.requests:
        return {}
    return {"prompt_sha256": hashlib.sha256(canonical(first.requests[0])).hexdigest()}


def _described(fixtures: Mapping[str, Any]) -> dict[str, Any]:
    """Return what provenance records of the fixtures, once they were used.

    Of an index its corpus, encoder and versions; of a second model what its probe found out.
    """
    said = {
        name: msgspec.to_builtins(value.facts) if isinstance(value, Model) else described(value)
        for name, value in fixtures.items()
    }
    return {f"fixture {name}": facts for name, facts in said.items() if facts}


def _judged(earlier: Run, traffic: CallStats) -> dict[str, dict[str, int]]:
    """What a judge was asked for this run and what that cost, with the part before it was resumed."""
    before = earlier.spec.provenance.get("judged", {})
    whole = {name: before.get(name, 0) + traffic.judged[name] for name in {**before, **traffic.judged}}
    return {"judged": whole} if whole else {}


async def _heartbeat(store: Store, run_id: str) -> None:
    while True:
        await asyncio.sleep(HEARTBEAT_S)
        if store.embedded:  # in a thread it would need a second connection, with a cache of its own
            store.runs.heartbeat(run_id)
        else:
            await asyncio.to_thread(store.runs.heartbeat, run_id)


async def rescore(run: Run, store: Store, metrics: Sequence[str] = ()) -> Run:
    """Score stored answers again with the task's metrics as they are now. No model is called.

    ``metrics`` are added to the run's own, as a task file would write them.
    """
    item = item_of(run.spec)
    item = replace(item, task=with_metrics(item.task, metrics))
    await _metrics_ready(item)
    spec = msgspec.structs.replace(run.spec, metrics=metric_infos(item))
    store.runs.claim(run.id)
    with Scorer(item.task, run.n) as scorer:
        batch: list[SampleRecord] = []
        for record in store.samples.records(run.id):
            if record.answer is not None:
                batch.append(record)
            if len(batch) >= engine.BATCH:
                await _rescore_batch(batch, run.id, store, scorer)
                batch = []
        if batch:
            await _rescore_batch(batch, run.id, store, scorer)
    store.runs.set_metrics(run.id, spec.metrics, item.task.added)
    before: RunStatus = "interrupted" if run.status == "interrupted" else "complete"
    aggregate_run(store, item, spec, before, run.wall_s)
    return store.runs.get(run.id)


async def _rescore_batch(batch: list[SampleRecord], run_id: str, store: Store, scorer: Scorer) -> None:
    answered = [(r.sample, r.answer, r.status) for r in batch if r.answer is not None]
    scores = await scorer.score(answered)
    store.samples.replace_scores(run_id, {r.sequence: s for r, s in zip(batch, scores, strict=True)})

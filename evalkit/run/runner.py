"""One run from beginning to end: survey the samples, probe the model, drive the engine, aggregate.

``start`` begins a run, ``resume`` continues a run. The facts that rebuild a run (file, parameters, options)
are stored with the run as ``RunSpec.reproduction``.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from evalkit.collection.items import Item, plain
from evalkit.collection.sources import item_of
from evalkit.errors import EvalkitError, NotInstalled, SetupError, UsageError
from evalkit.extras import not_installed
from evalkit.model import Model
from evalkit.models.middleware.call_stats import CallStats
from evalkit.models.middleware.meter import Meter
from evalkit.models.middleware.spending import Spending, no_price
from evalkit.models.prices import price_of, shown_name
from evalkit.models.reasoning import ALLOWANCE
from evalkit.protocols import Backend, described
from evalkit.requests import canonical
from evalkit.requests import changes as identity_changes
from evalkit.run import changes, engine, provenance
from evalkit.run.aggregate import aggregate_run
from evalkit.run.call_facts import call_facts
from evalkit.run.display import RunDisplay
from evalkit.run.fingerprint import Survey, survey
from evalkit.run.forecast import Forecast, check_round, forecast
from evalkit.run.history import earlier_calls, earlier_lengths, earlier_probe
from evalkit.run.samples import samples_of
from evalkit.run.sampling import selected
from evalkit.run.scoring import Scorer
from evalkit.run.session import Session
from evalkit.store.conditions import asked
from evalkit.store.records import (
    ParameterInfo,
    Reproduction,
    Run,
    RunSpec,
    RunStatus,
    Sampling,
)
from evalkit.types import Sample, ServerInfo
from evalkit.util.boundary import call_in_thread, contained, place, reason

if TYPE_CHECKING:
    from evalkit.models.middleware.cached import CacheMode
    from evalkit.store.store import Store

HEARTBEAT_S = 5.0


@dataclass
class Options:
    """How to run an item. ``backend`` replaces the one that the model's spec names."""

    limit: int | None = None
    sampling: Sampling | None = None  # None: the first ``limit`` samples
    repeats: int = 1
    window: int | None = None  # None: what suits the model
    max_inflight: int | None = None  # None: what the server can run; when resumed, the value of the run
    cache: CacheMode | None = None  # None: on; when resumed, the value of the run
    allow_changed: bool = False  # resume a run of a task that has changed, and mark it as mixed
    on_start: Callable[[RunSpec], None] = lambda spec: None
    on_forecast: Callable[[Forecast], None] | None = None  # None: the cost is not estimated before the run
    backend: Backend | None = None
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    spending: Spending = field(default_factory=Spending)  # its ``on_limit`` must set ``stop``


def new_id() -> str:
    """Return a new run id that sorts by time: ``20261121-143015-9f3c1b``."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{os.urandom(3).hex()}"


def spec_of(
    run_id: str, item: Item, name: str, model: Model, model_text: str, samples: Survey, options: Options
) -> RunSpec:
    """Return the description of a run before its first sample."""
    return RunSpec(
        id=run_id,
        task=item.id,
        path=item.where,
        model=name,
        model_spec=model_text,
        tags=item.task.tags,
        params={name: plain(value) for name, value in item.shown.items()},
        metrics=provenance.metric_infos(item),
        repeats=options.repeats,
        limit=options.limit,
        sampling=options.sampling,
        n_expected=samples.n * options.repeats,
        dataset=samples.fingerprint,
        reproduction=Reproduction(
            path=str(item.task.path) if item.task.path else None,
            params={name: _absolute(value) for name, value in item.shown.items()},
            named=tuple(name for name in item.named if name not in item.unused),
            parameters={
                name: ParameterInfo(plain(parameter.default), tuple(map(plain, parameter.choices)))
                for name, parameter in item.resolved.params.items()
                if name not in item.unused
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
            **({"reasoning_marks": model.reasoning_marks} if model.reasoning_marks else {}),
        },
    )


def _absolute(value: Any) -> Any:
    """Return a parameter's plain value, a path as absolute, so that ``resume`` works in any folder."""
    return str(value.resolve()) if isinstance(value, Path) else plain(value)


def typed(error: BaseException) -> BaseException:
    """Return evalkit's own errors unchanged, and a ``SetupError`` for what an adapter or fixture raised."""
    if isinstance(error, EvalkitError | engine.Stopped):
        return error
    return not_installed(error) or SetupError(f"{reason(error)} ({place(error)})")


async def start(item: Item, model_text: str, store: Store, session: Session, options: Options) -> Run:
    """Evaluate one model on one item; return the run. Raises ``SetupError`` where the run cannot go on."""
    with contained(typed):
        return await _start(item, model_text, store, session, options)


async def _start(item: Item, model_text: str, store: Store, session: Session, options: Options) -> Run:
    async with session.running():
        await check_metrics(item)
        samples = await selected(item, await samples_of(item, session), options.limit, options.sampling)
        surveyed = await survey(item, samples, options.limit)
        run_id = new_id()
        async with _connected(run_id, model_text, item, store, options) as (name, model):
            await session.arguments(item.task.fn, item)  # a fixture that fails does so before the run begins
            spec = spec_of(run_id, item, name, model, model_text, surveyed, options)
            store.runs.begin(spec)
            try:
                options.on_start(spec)
                return await _drive(item, spec, model, samples, store, session, options)
            except (NotInstalled, UsageError):  # unless a sample was answered, there is nothing to resume
                store.runs.discard(run_id)
                raise


async def resume(run: Run, store: Store, session: Session, options: Options) -> Run:
    """Continue a run: ask for the missing and the failed samples only; return the run.

    Raises ``SetupError`` where the served model has changed; and where samples, code, metrics or prompts
    have, unless ``options.allow_changed``: the run is then marked as mixed.
    """
    with contained(typed):
        return await _resume(run, store, session, options)


async def _resume(run: Run, store: Store, session: Session, options: Options) -> Run:
    item = item_of(run.spec)
    if run.spec.reproduction.given:
        raise SetupError(
            "its answers came from a file or a program, not from a served model; "
            "run evalkit score or that program again"
        )
    began = run.spec.reproduction
    options = replace(
        options,
        cache=options.cache or began.cache,
        max_inflight=options.max_inflight or began.max_inflight,
    )
    async with session.running():
        await check_metrics(item)
        samples = await selected(item, await samples_of(item, session), run.spec.limit, run.spec.sampling)
        surveyed = await survey(item, samples, run.spec.limit)
        found = [] if run.is_complete else changes.of_task(run.spec, item, surveyed)
        if not options.allow_changed:  # known before the model is connected to
            await changes.settle(run, store, found, False, samples)
        async with _connected(run.id, run.spec.model_spec, item, store, options) as (_, model):
            _check_same_model(run.spec, model.facts)
            if not run.is_complete:
                arguments = await session.arguments(item.task.fn, item)
                found += await changes.of_prompt(run, store, item, session, model, arguments)
            await changes.settle(run, store, found, options.allow_changed, samples)
            store.runs.claim(run.id)
            if (model.facts.server.get("started") or 0) > run.started:
                store.runs.add_provenance(run.id, restarted=model.facts.server["started"])
            options.on_start(run.spec)
            return await _drive(item, run.spec, model, samples, store, session, options)


async def check_metrics(item: Item) -> None:
    """Raise ``SetupError`` where something that a metric needs is missing."""
    for metric in item.task.metrics:
        if metric.check_requirements is not None:
            await call_in_thread(metric.check_requirements)


def _check_same_model(spec: RunSpec, facts: ServerInfo) -> None:
    """Raise ``SetupError`` where a fact of the model has changed; an older evalkit stored fewer facts."""
    before = {**spec.provenance.get("model", {}).get("identity", {})}
    before.pop(ALLOWANCE, None)  # a model may reason about one probe's question, and not about the next one's
    identity = msgspec.to_builtins(facts.identity)
    now = {name: value for name, value in identity.items() if name in before}
    if before != now:
        raise SetupError(
            f"the served model has changed since the run began "
            f"({identity_changes(before, now)}). Start a new run, or serve the same model again."
        )


def _connected(run_id: str, text: str, item: Item, store: Store, options: Options) -> Any:
    """Return the connection to the model, with the response cache beside the store.

    With the cache off, replies are still written under the run's own key, so that ``resume`` does not pay
    for them again. Raises ``UsageError`` for a limit of cost without a known price.
    """
    from evalkit.models.connect import connect

    price = price_of(text, options.backend)
    if price is None and options.spending.max_cost is not None:
        raise UsageError(no_price(shown_name(text)))
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
        meter=Meter(shown_name(text), price, "model", options.spending),
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
    earlier, began = store.runs.get(spec.id), time.perf_counter()
    traffic = CallStats(began=earlier.started, spending=options.spending)
    status: RunStatus = "incomplete"
    beat = asyncio.create_task(_heartbeat(store, spec.id))
    try:
        with Scorer(item.task, expected - len(done)) as scorer:
            label = f"{spec.model} · {item.id}"
            with session.progress.bar(label, expected) as bar:
                bar.advance(len(done))
                work = engine.Work(
                    fn=session.for_samples(item),
                    arguments=await session.arguments(item.task.fn, item),
                    model=model,
                    samples=samples,
                    repeats=spec.repeats,
                    done=done,
                    scorer=scorer,
                    write=lambda batch: store.samples.write(spec.id, batch),
                    write_waits=not store.embedded,
                    bar=bar,
                    window=options.window or model.window or engine.WINDOW,
                    limit=spec.limit,
                    stop=options.stop,
                    heartbeat=beat,
                )
                await _forecast(work, item, spec, store, options)
                async with RunDisplay(bar, traffic=traffic) as work.bar:
                    await engine.run(work)
        status = "complete"
    except (engine.Stopped, asyncio.CancelledError):
        status = "interrupted"
        raise
    finally:
        beat.cancel()
        used = {name: value for name, value in session.used.items() if name not in item.unused}
        facts = {**_described(used), **_prompt(store, spec), **call_facts(earlier, traffic)}
        store.runs.add_provenance(spec.id, **facts)
        aggregate_run(store, item, spec, status, earlier.wall_s + time.perf_counter() - began)
    return store.runs.get(spec.id)


async def _forecast(work: engine.Work, item: Item, spec: RunSpec, store: Store, options: Options) -> None:
    """Tell ``on_forecast`` what the run will cost, where somebody is paid or tokens are limited."""
    if options.on_forecast is None or len(work.done) == spec.n_expected:
        return
    price = price_of(spec.model_spec, options.backend)
    payable = price is not None and price.rates is not None
    if payable or options.spending.max_tokens:
        earlier = earlier_calls(store, item, spec.model_spec)
        found = await forecast(
            work, (spec.n_expected or 0) - len(work.done), earlier, price if payable else None
        )
        if found is not None:
            if not work.done:
                store.runs.add_provenance(spec.id, forecast=found.facts())
            if work.model.adapter is not None and work.model.adapter.batches() is not None:
                check_round(found, work.window, options.spending)
            options.on_forecast(found)


def _prompt(store: Store, spec: RunSpec) -> dict[str, Any]:
    """Return what the run asked for its first sample, and the SHA-256 of the whole first request."""
    first = next(store.samples.records(spec.id, sequences=[0]), None)
    replies_of_a_file = ServerInfo(spec.provenance["model"]["identity"]).replies_of_a_file
    if first is None or not first.requests or replies_of_a_file:  # another prompt made them
        return {}
    whole = hashlib.sha256(canonical(first.requests[0])).hexdigest()
    return {"prompt_sha256": whole, "asked": asked(first)}


def _described(fixtures: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts about the used fixtures for the provenance.

    An index has corpus, encoder and versions; a second model has the result of its probe.
    """
    described_fixtures = {
        name: msgspec.to_builtins(value.facts) if isinstance(value, Model) else described(value)
        for name, value in fixtures.items()
    }
    return {f"fixture {name}": facts for name, facts in described_fixtures.items() if facts}


async def _heartbeat(store: Store, run_id: str) -> None:
    while True:
        await asyncio.sleep(HEARTBEAT_S)
        if store.embedded:  # a thread would need a second connection, with its own cache
            store.runs.heartbeat(run_id)
        else:
            await asyncio.to_thread(store.runs.heartbeat, run_id)

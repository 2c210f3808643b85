"""The fixtures of one evalkit command: each is made once for its parameters and torn down in reverse order.

The three nested scopes are the session, the run of one item, and one sample. Each scope holds its fixtures'
values and the stack that tears them down.
"""

from __future__ import annotations

import asyncio
import inspect
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from evalkit.collection.files import display, line_in
from evalkit.collection.items import Item
from evalkit.data.source_location import row_place
from evalkit.errors import EvalkitError, SetupError
from evalkit.extras import not_installed
from evalkit.task import Fixture, Scope
from evalkit.types import Progress, Sample

Key = tuple[Any, ...]


class _Scope:
    """The fixtures' values of one scope, and their teardown."""

    def __init__(self) -> None:
        self.values: dict[Key, Any] = {}
        self.stack = AsyncExitStack()


class Session:
    """Makes and keeps fixtures. Use ``async with Session(progress) as session``."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self._session = _Scope()
        self._task = self._session  # another scope while an item runs
        self.used: dict[str, Any] = {}  # values shared by the samples of the present item, by fixture

    async def __aenter__(self) -> Session:
        await self._session.stack.__aenter__()
        return self

    async def __aexit__(self, *exception: Any) -> None:
        await self._session.stack.__aexit__(*exception)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Enclose the run of one item; the end tears down the fixtures of scope ``task``."""
        self._task, self.used = _Scope(), {}
        try:
            async with self._task.stack:
                yield
        finally:
            self._task = self._session

    async def arguments(self, fn: Callable[..., Any], item: Item) -> dict[str, Any]:
        """Return the arguments of ``fn``, without ``sample``, ``model`` and the fixtures of scope ``sample``.

        The wider fixtures that those depend on are made here too, before samples use them concurrently.
        """
        asks = item.resolved.asks[fn]
        values = asks.values(item.params)
        for name, fixture in asks.fixtures.items():
            if name in values:
                continue
            if fixture.scope == "sample":
                await self.arguments(fixture.fn, item)
            else:
                values[name] = self.used[name] = (await self._fixture(fixture, item, {}, None))[1]
        return values

    def for_samples(self, item: Item) -> Callable[..., Awaitable[Any]]:
        """Return the task's function; each call sets up and tears down the fixtures of scope ``sample``."""
        fn = item.task.fn
        fixtures = {
            name: fixture
            for name, fixture in item.resolved.asks[fn].fixtures.items()
            if fixture.scope == "sample" and name not in item.params
        }
        return partial(self._with_fixtures, item, fixtures) if fixtures else fn

    async def _with_fixtures(
        self, item: Item, fixtures: dict[str, Fixture], /, sample: Any, model: Any, **arguments: Any
    ) -> Any:
        scope, given = _Scope(), {"sample": sample, "model": model}
        async with scope.stack:
            for name, fixture in fixtures.items():
                arguments[name] = (await self._fixture(fixture, item, given, scope))[1]
            return await item.task.fn(sample=sample, model=model, **arguments)

    async def _fixture(
        self, fixture: Fixture, item: Item, given: dict[str, Any], sample: _Scope | None
    ) -> tuple[Key, Any]:
        """Return a fixture's key (function, parameters, keys of the fixtures that it uses) and its value."""
        if fixture.name == "progress" and fixture.above is None:
            return ("progress",), self.progress
        if fixture.when is not None and not fixture.when(item.params):
            return (fixture.fn, None), None
        asks = item.resolved.asks[fixture.fn]
        values = asks.values(item.params)
        settings = tuple((name, repr(value)) for name, value in values.items())
        keys: list[Key] = []
        for name, inner in asks.fixtures.items():
            if name not in values:
                inner_key, values[name] = await self._fixture(inner, item, given, sample)
                keys.append(inner_key)
        values |= {name: given[name] for name in asks.given if name in given}
        key: Key = (fixture.fn, settings, tuple(keys))
        scope = self._scope(fixture.scope, sample)
        if key not in scope.values:
            scope.values[key] = await _make(fixture, values, scope.stack)
        return key, scope.values[key]

    def _scope(self, name: Scope, sample: _Scope | None) -> _Scope:
        if name == "sample" and sample is not None:
            return sample
        return self._session if name == "session" else self._task


async def _make(fixture: Fixture, values: dict[str, Any], stack: AsyncExitStack) -> Any:
    fn = fixture.fn
    if fixture.scope == "sample":  # an exception there is the error of one sample
        return await _call(fn, values, stack, in_thread=False)
    with _setup_error_of(fn, f"fixture {fixture.name}"):
        return await _call(fn, values, stack, in_thread=True)


async def _call(
    fn: Callable[..., Any], values: dict[str, Any], stack: AsyncExitStack, *, in_thread: bool
) -> Any:
    if inspect.isasyncgenfunction(fn):
        return await stack.enter_async_context(asynccontextmanager(fn)(**values))
    if inspect.isgeneratorfunction(fn):
        return stack.enter_context(contextmanager(fn)(**values))
    if inspect.iscoroutinefunction(fn):
        return await fn(**values)
    # Plain fixtures read files and download data sets. A thread keeps the event loop free for Ctrl-C.
    return await asyncio.to_thread(fn, **values) if in_thread else fn(**values)


@contextmanager
def _setup_error_of(fn: Callable[..., Any], what: str) -> Iterator[None]:
    """Turn an exception of a task file's function into a ``SetupError`` that names the file and the line."""
    try:
        yield
    except EvalkitError:
        raise
    except Exception as error:  # a plug-in may raise anything; it becomes one typed error
        if missing := not_installed(error, what):
            raise missing from None
        row = row_place(frame for frame, _ in traceback.walk_tb(error.__traceback__))
        message = f"{_location(fn, error)}{what}: {type(error).__name__}: {error}"
        raise SetupError(f"{message}{row and f' (row of {row})'}") from error


def _location(fn: Callable[..., Any], error: Exception) -> str:
    code = getattr(fn, "__code__", None)
    if code is None:
        return ""
    path = Path(code.co_filename)
    return f"{display(path)}:{line_in(error, path) or code.co_firstlineno}: "


async def samples_of(item: Item, session: Session) -> Callable[[], AsyncIterator[Sample]]:
    """Return a function that starts a pass over the item's samples; every pass yields the same samples.

    A pass raises ``SetupError`` for a value that is no ``Sample``, and where the samples function raises.
    """
    source = item.task.samples
    if not callable(source):
        return lambda: _pass(item, source)
    arguments = await session.arguments(source, item)

    async def start() -> AsyncIterator[Sample]:
        with _setup_error_of(source, "reading the samples"):
            async for sample in _pass(item, source(**arguments)):
                yield sample

    return start


async def _pass(item: Item, source: Any) -> AsyncIterator[Sample]:
    async for sample in source if hasattr(source, "__aiter__") else _from_iterable(source):
        if not isinstance(sample, Sample):
            raise SetupError(f"{item.node_id}: samples must yield Sample, not {type(sample).__name__}")
        target = sample.target
        if not (isinstance(sample.id, str) and isinstance(sample.input, str) and _is_text(target)):
            _refuse(item, sample, row_place(_frames(source)))
        yield sample


def _is_text(target: Any) -> bool:
    return isinstance(target, str) or (
        isinstance(target, tuple | list) and all(isinstance(text, str) for text in target)
    )


def _frames(generator: Any) -> Iterator[FrameType]:
    """Yield the frames of a generator and of those that it yields from; none for another iterable."""
    while frame := getattr(generator, "gi_frame", None) or getattr(generator, "ag_frame", None):
        yield frame
        generator = getattr(generator, "gi_yieldfrom", None)


def _refuse(item: Item, sample: Sample, location: str) -> None:
    """Raise ``SetupError`` for a sample with a number or a null, which would fail later, in a metric."""
    expected = {"id": "a string", "input": "a string", "target": "a string, or a tuple of strings"}
    wrong = [n for n in ("id", "input") if not isinstance(getattr(sample, n), str)] or ["target"]
    value = getattr(sample, wrong[0])
    hint = f": {wrong[0]}=str(…)" if isinstance(value, int | float) else ""
    raise SetupError(
        f"{location and f'{location}: '}{item.node_id}: the {wrong[0]} of sample {sample.id!r} is {value!r} "
        f"({type(value).__name__}), and must be {expected[wrong[0]]}{hint}"
    )


async def _from_iterable(source: Any) -> AsyncIterator[Any]:
    for value in source:
        yield value

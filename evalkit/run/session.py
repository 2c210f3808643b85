"""The fixtures of one evalkit command: each is made once for its parameters and torn down in reverse order.

The three nested scopes are the session, the run of one item, and one sample. Each scope holds its fixtures'
values and the stack that tears them down.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from evalkit.collection.files import display, line_in
from evalkit.collection.items import Item
from evalkit.data.source_location import row_place
from evalkit.errors import EvalkitError, SetupError
from evalkit.extras import not_installed
from evalkit.task import Fixture, Scope
from evalkit.types import Progress
from evalkit.util.boundary import call_in_thread, contained, reason

Key = tuple[Any, ...]
_END = object()


class _Scope:
    """The fixtures' values of one scope, and their teardown.

    A failed teardown is noted in ``failures``: the other teardowns and the results of the run stay. Without
    that list it raises.
    """

    def __init__(self, failures: list[str] | None = None) -> None:
        self.values: dict[Key, Any] = {}
        self.stack = AsyncExitStack()
        self._failures = failures

    async def tear_down(self, fixture: Fixture, generator: Any) -> None:
        """Run a fixture's code after its ``yield``, also where the run or the sample failed."""
        if self._failures is None:
            return await _finished(fixture, generator)
        try:
            with setup_error_of(fixture.fn, f"teardown of fixture {fixture.name}"):
                await _finished(fixture, generator)
        except EvalkitError as error:
            self._failures.append(str(error))


async def _finished(fixture: Fixture, generator: Any) -> None:
    if await _next(generator) is not _END:
        raise RuntimeError(f"fixture {fixture.name} yields twice")


class Session:
    """Makes and keeps fixtures. Use ``async with Session(progress) as session``."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.failures: list[str] = []  # teardowns that raised
        self._session = _Scope(self.failures)
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
        self._task, self.used = _Scope(self.failures), {}
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
            scope.values[key] = await _make(fixture, values, scope)
        return key, scope.values[key]

    def _scope(self, name: Scope, sample: _Scope | None) -> _Scope:
        if name == "sample" and sample is not None:
            return sample
        return self._session if name == "session" else self._task


async def _make(fixture: Fixture, values: dict[str, Any], scope: _Scope) -> Any:
    fn = fixture.fn
    if fixture.scope == "sample":  # an exception there is the error of one sample
        return await _call(fixture, values, scope, in_thread=False)
    with setup_error_of(fn, f"fixture {fixture.name}"):
        return await _call(fixture, values, scope, in_thread=True)


async def _call(fixture: Fixture, values: dict[str, Any], scope: _Scope, *, in_thread: bool) -> Any:
    fn = fixture.fn
    if inspect.isasyncgenfunction(fn) or inspect.isgeneratorfunction(fn):
        generator = fn(**values)
        value = await _next(generator)
        if value is _END:
            raise RuntimeError(f"fixture {fixture.name} ends without a yield")
        scope.stack.push_async_callback(scope.tear_down, fixture, generator)
        return value
    if inspect.iscoroutinefunction(fn):
        return await fn(**values)
    # Plain fixtures read files and download data sets. A thread keeps the event loop free for Ctrl-C.
    return await call_in_thread(fn, **values) if in_thread else fn(**values)


async def _next(generator: Any) -> Any:
    """Return what a generator, async or not, yields next; ``_END`` at its end."""
    return await anext(generator, _END) if hasattr(generator, "__anext__") else next(generator, _END)


def setup_error(fn: Callable[..., Any], what: str, error: BaseException) -> BaseException:
    """Return the error to raise for an exception of a plug-in's function; it has file and line."""
    if isinstance(error, EvalkitError):
        return error
    if missing := not_installed(error, what):
        return missing
    row = row_place(frame for frame, _ in traceback.walk_tb(error.__traceback__))
    return SetupError(f"{_location(fn, error)}{what}: {reason(error)}{row and f' (row of {row})'}")


def setup_error_of(fn: Callable[..., Any], what: str) -> AbstractContextManager[None]:
    """Enclose a call of a plug-in's function: an exception becomes its ``setup_error``."""
    return contained(partial(setup_error, fn, what))


def _location(fn: Callable[..., Any], error: BaseException) -> str:
    code = getattr(fn, "__code__", None)
    if code is None:
        return ""
    path = Path(code.co_filename)
    return f"{display(path)}:{line_in(error, path) or code.co_firstlineno}: "

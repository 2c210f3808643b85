"""The fixtures of one evalkit command: each made once for its parameters, torn down in reverse order."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any

from evalkit.collect import Item
from evalkit.task import parameters_of
from evalkit.types import Progress

Key = tuple[Any, ...]


class Session:
    """Makes and keeps fixtures. Use ``async with Session(progress) as session``."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self._made: dict[Key, Any] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Session:
        await self._stack.__aenter__()
        return self

    async def __aexit__(self, *exception: Any) -> None:
        await self._stack.__aexit__(*exception)

    async def arguments(self, fn: Callable[..., Any], item: Item) -> dict[str, Any]:
        """Everything that ``fn`` asks for but ``sample`` and ``model``: parameters and fixtures."""
        params, wanted = parameters_of(fn)
        values = {name: item.params[name] for name in [*params, *wanted] if name in item.params}
        for name in wanted:
            if name not in values:
                values[name] = (await self._fixture(name, item))[1]
        return values

    async def _fixture(self, name: str, item: Item) -> tuple[Key, Any]:
        """A fixture's identity (its function, parameters and the identities it stands on) and value."""
        if name == "progress":
            return ("progress",), self.progress
        fn = item.fixtures[name].fn
        params, wanted = parameters_of(fn)
        values = {p: item.params[p] for p in [*params, *wanted] if p in item.params}
        settings = tuple((name, repr(value)) for name, value in values.items())
        keys: list[Key] = []
        for dependency in wanted:
            if dependency in values:
                continue
            inner_key, values[dependency] = await self._fixture(dependency, item)
            keys.append(inner_key)
        key: Key = (fn, settings, tuple(keys))
        if key not in self._made:
            self._made[key] = await self._make(fn, values)
        return key, self._made[key]

    async def _make(self, fn: Callable[..., Any], values: dict[str, Any]) -> Any:
        if inspect.isasyncgenfunction(fn):
            return await self._stack.enter_async_context(asynccontextmanager(fn)(**values))
        if inspect.isgeneratorfunction(fn):
            return self._stack.enter_context(contextmanager(fn)(**values))
        if inspect.iscoroutinefunction(fn):
            return await fn(**values)
        # Plain fixtures read files and download data sets: off the event loop, so that Ctrl-C is heard.
        return await asyncio.to_thread(fn, **values)


async def samples_of(item: Item, session: Session) -> Callable[[], AsyncIterator[Any]]:
    """A function that starts a pass over the item's samples; every pass yields the same ones."""
    source = item.task.samples
    if not callable(source):
        return lambda: _from_iterable(source)
    arguments = await session.arguments(source, item)

    def start() -> AsyncIterator[Any]:
        made = source(**arguments)
        return made if hasattr(made, "__aiter__") else _from_iterable(made)

    return start


async def _from_iterable(source: Any) -> AsyncIterator[Any]:
    for value in source:
        yield value

"""A task's samples: read, and checked before any call is paid for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from types import FrameType
from typing import Any

from evalkit.collection.items import Item
from evalkit.data.source_location import row_place
from evalkit.errors import SetupError
from evalkit.run.checks import SAMPLE
from evalkit.run.session import Session, setup_error, setup_error_of
from evalkit.types import Sample
from evalkit.util.boundary import is_request_to_stop

_END = object()


async def samples_of(item: Item, session: Session) -> Callable[[], AsyncIterator[Sample]]:
    """Return a function that starts a pass over the item's samples; every pass yields the same samples.

    A pass raises ``SetupError`` for a value that is no ``Sample`` or has a field of a wrong type, and where
    the samples function raises.
    """
    source = item.task.samples
    if not callable(source):
        return lambda: _pass(item, source)
    arguments = await session.arguments(source, item)

    def start() -> AsyncIterator[Sample]:
        with setup_error_of(source, READING):
            samples = source(**arguments)
        return _pass(item, samples)

    return start


READING = "reading the samples"


async def _pass(item: Item, source: Any) -> AsyncIterator[Sample]:
    fn = item.task.samples if callable(item.task.samples) else item.task.fn
    with setup_error_of(fn, READING):
        several = hasattr(source, "__aiter__")
        samples = aiter(source) if several else iter(source)
    while True:
        try:  # not around ``yield``: what the reader of the samples raises is not theirs
            sample = await anext(samples, _END) if several else next(samples, _END)
        except BaseException as error:
            if is_request_to_stop(error):
                raise
            raise setup_error(fn, READING, error) from error
        if sample is _END:
            return
        if not isinstance(sample, Sample):
            raise SetupError(f"{item.node_id}: samples must yield Sample, not {type(sample).__name__}")
        wrong = SAMPLE.wrong(sample)
        if wrong is None and sample.id == "":
            wrong = "id", "is '' (str), and must be a string that is not empty"
        if wrong:
            row = row_place(_frames(source))
            place, (name, said) = f"{row and f'{row}: '}{item.node_id}", wrong
            raise SetupError(f"{place}: the {name} of sample {sample.id!r} {said}")
        yield sample


def _frames(generator: Any) -> Iterator[FrameType]:
    """Yield the frames of a generator and of those that it yields from; none for another iterable."""
    while frame := getattr(generator, "gi_frame", None) or getattr(generator, "ag_frame", None):
        yield frame
        generator = getattr(generator, "gi_yieldfrom", None)

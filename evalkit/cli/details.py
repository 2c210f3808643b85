"""What a report says of a run besides its scores: read of its samples, where there is something to say."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from evalkit.store.records import Run

if TYPE_CHECKING:
    from evalkit.compare.budget import CutReplies
    from evalkit.compare.repeats import Repeats
    from evalkit.store.store import Store


class Details(NamedTuple):
    """What is read of a run's samples: the replies that were cut, and the repeats; None without any."""

    cut: CutReplies | None = None
    repeats: Repeats | None = None


def details_of(store: Store, runs: Iterable[Run]) -> dict[str, Details]:
    """Return what the samples of each run tell besides its scores, by the run's id."""
    found = {}
    for run in runs:
        cut, repeats = None, None
        if run.counts.get("truncated"):
            from evalkit.compare.budget import cut_replies

            cut = cut_replies(store, run)
        if run.spec.repeats > 1:
            from evalkit.compare.repeats import repeats_of

            repeats = repeats_of(store, run)
        found[run.id] = Details(cut, repeats)
    return found

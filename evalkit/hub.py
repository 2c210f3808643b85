"""Rows of a data set: from the Hugging Face hub, from its local cache, or from a file of the same layout."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evalkit.errors import UsageError

_TIMEOUT_S = 5.0


def hub_rows(
    repository: str, config: str | None, split: str, file: Path | None = None
) -> Iterator[dict[str, Any]]:
    """The rows of one split, or those of a Parquet ``file`` of the same layout.

    Without a network, what an earlier run downloaded is used. Raises ``UsageError`` with the fix where the
    data set can be had neither way.
    """
    if file is None and not _hub_answers():
        os.environ.setdefault("HF_HUB_OFFLINE", "1")  # else every request is tried six times
    try:
        import datasets
    except ModuleNotFoundError:
        raise UsageError(f"{repository} needs the package datasets: pip install 'evalkit[data]'") from None
    datasets.disable_progress_bars()
    try:
        if file is not None:
            rows = datasets.load_dataset("parquet", data_files=str(file), split="train")
        else:
            rows = datasets.load_dataset(repository, config, split=split)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(
            f"{file or repository} could not be loaded: {reason.rstrip(chr(46))}. "
            "Is the hub reachable from here? Local files need no hub: -p data=PATH"
        ) from None
    yield from rows


def _hub_answers() -> bool:
    """Whether the hub can be reached at all, asked once and briefly."""
    try:
        endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
        urllib.request.urlopen(endpoint, timeout=_TIMEOUT_S).close()  # noqa: S310 - the user's own endpoint
    except urllib.error.HTTPError:
        return True
    except (urllib.error.URLError, OSError, ValueError):
        return False
    return True

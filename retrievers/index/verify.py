"""The checks of ``evalkit index verify`` on files, counts and corpus."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from evalkit.protocols import Check


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_files(folder: Path, sums: Mapping[str, str]) -> Check:
    """Check that all files of an index are there and match their checksums."""
    if not sums:
        return Check("files", None, "the manifest has no checksums: an older evalkit wrote it")
    missing = [name for name in sums if not (folder / name).is_file()]
    present = {name: sum for name, sum in sums.items() if name not in missing}
    changed = [name for name, sum in present.items() if sha256(folder / name) != sum]
    wrong = [f"{name} is missing" for name in missing] + [f"{name} has changed" for name in changed]
    return Check("files", not wrong, "; ".join(wrong) or f"{len(sums)} files match their checksums")


def check_count(name: str, found: int, expected: int | None) -> Check:
    """Check a number against the manifest's."""
    return Check(name, found == expected, f"{found:,}" + ("" if found == expected else f", not {expected:,}"))


def check_corpus(found: str, expected: str) -> Check:
    """Check the fingerprint of the corpus against that of the indexed one."""
    same = found == expected
    return Check("corpus", same, f"its content is {'that' if same else 'not that'} of the index")

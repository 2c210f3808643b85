"""An index with a damaged part: a message that names the folder, never a traceback, and nothing unpickled."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evalkit_retrievers.index.bm25 import BM25Retriever
from evalkit_retrievers.index.hybrid import HybridRetriever

from evalkit.errors import SetupError
from evalkit.util.progress import Silent


class RunsCode:
    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, ("code-was-run",))


def damage(file: Path, how: str) -> None:
    raw = file.read_bytes()
    if how == "missing":
        file.unlink()
    elif how == "pickle":
        values = np.empty(1, object)
        values[0] = RunsCode()
        with file.open("wb") as stream:
            np.save(stream, values, allow_pickle=True)
    else:
        contents = {"empty": b"", "half": raw[: len(raw) // 2], "list": b"[]", "other": b"\xff" * len(raw)}
        file.write_bytes(contents[how])


@pytest.fixture
async def index(write: Any, documents: list[dict[str, Any]], tmp_path: Path) -> Path:
    made = HybridRetriever(write(documents), tmp_path / "index", progress=Silent())
    await made.prepare()
    await made.close()
    return tmp_path / "index"


async def search(directory: Path) -> None:
    made = HybridRetriever.open(directory, progress=Silent())
    try:
        await made.search("aspirin", 3)
    finally:
        await made.close()


async def test_each_part_is_missed_and_its_damage_named(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    await search(index)
    for file in sorted(index.iterdir()):
        whole = file.read_bytes()
        for how in ("missing", "empty", "half", "list", "other", "pickle"):
            damage(file, how)
            with pytest.raises(SetupError, match=r"damaged|missing|holds no index") as caught:
                if file.name == "manifest.json" and how == "missing":
                    HybridRetriever.open(index, progress=Silent())
                await search(index)
            assert str(index) in str(caught.value), (file.name, how)
            file.write_bytes(whole)
    await search(index)
    assert not (tmp_path / "code-was-run").exists()


async def test_parts_of_two_indexes_do_not_pass_as_one(
    index: Path, write: Any, documents: list[dict[str, Any]], tmp_path: Path
) -> None:
    small = HybridRetriever(write(documents[:5], "small.jsonl"), tmp_path / "small", progress=Silent())
    await small.prepare()
    await small.close()
    groups = [
        ["rows.npy", "ids.bin"],
        ["vectors-00000.faiss"],
        ["data.csc.index.npy", "indices.csc.index.npy"],
    ]
    for names in groups:
        whole = {name: (index / name).read_bytes() for name in names}
        for name in names:
            (index / name).write_bytes((tmp_path / "small" / name).read_bytes())
        with pytest.raises(SetupError, match="damaged"):
            await search(index)
        for name, content in whole.items():
            (index / name).write_bytes(content)


async def test_vectors_of_another_dimension_are_named(index: Path) -> None:
    import faiss

    flat = faiss.IndexFlatIP(7)
    flat.add(np.zeros((32, 7), np.float32))
    faiss.write_index(flat, str(index / "vectors-00000.faiss"))
    with pytest.raises(SetupError, match="its vectors have 7 dimensions, not 384 as the encoder's"):
        await search(index)


@pytest.mark.parametrize("facts", [{}, {"index": []}, {"index": {"family": None}}])
async def test_a_manifest_without_the_facts_of_its_vectors_is_named(
    index: Path, facts: dict[str, Any]
) -> None:
    manifest = json.loads((index / "manifest.json").read_text())
    (index / "manifest.json").write_text(json.dumps(manifest | {"facts": facts}))
    if facts == {"index": {"family": None}}:
        await search(index)  # only the family is lost, which decides nothing here
    else:
        with pytest.raises(SetupError, match="damaged"):
            await search(index)


def test_the_command_line_prints_no_traceback(evalkit: Any, write: Any) -> None:
    write([{"id": "1", "text": "aspirin helps"}])
    evalkit("index", "build", "corpus.jsonl", "--out", "index", "--retriever", "bm25")
    manifest = evalkit.folder / "index" / "manifest.json"
    for part in ("data.csc.index.npy", "vocab.index.json", "rows.npy"):
        (evalkit.folder / "index" / part).write_bytes(b"[]")
        for command in (["search", "index", "aspirin"], ["info", "index"], ["verify", "index"]):
            code = {"search": 2, "info": 0, "verify": 1}[command[0]]
            assert "Traceback" not in evalkit("index", *command, code=code).stderr
    for content in ("[]", "{}", '{"kind": "bm25", "corpus": 5}', "[" * 100_000):
        manifest.write_text(content)
        for command in (["search", "index", "aspirin"], ["info", "index"], ["verify", "index"]):
            assert "cannot be read" in evalkit("index", *command, code=2).stderr


async def test_a_row_that_bm25_does_not_have_is_damage(write: Any, tmp_path: Path) -> None:
    made = BM25Retriever(write([{"id": "1", "text": "aspirin helps"}]), tmp_path / "index", progress=Silent())
    await made.prepare()
    await made.close()
    rows = np.load(tmp_path / "index" / "indices.csc.index.npy")
    np.save(tmp_path / "index" / "indices.csc.index.npy", rows + 10**6)
    again = BM25Retriever.open(tmp_path / "index", progress=Silent())
    with pytest.raises(SetupError, match="damaged"):
        await again.search("aspirin", 1)
    await again.close()

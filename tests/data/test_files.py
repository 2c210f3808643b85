"""Local files of data sets: every layout, the very file that is named, and the splits that are there."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from evalkit.data.files import file_rows, split_rows
from evalkit.data.tables import table_rows
from evalkit.errors import CorpusError, UsageError
from tests.data.sheets import write_sheet

ROWS = [{"id": "1", "text": "zinc, a metal"}, {"id": "2", "text": "gout"}]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)


def write(folder: Path, name: str) -> Path:
    """Write ROWS in the layout that the name asks for."""
    path = folder / name
    match name.partition(".")[2]:
        case "jsonl" | "ndjson":
            path.write_text(LINES)
        case "jsonl.gz":
            path.write_bytes(gzip.compress(LINES.encode()))
        case "json":
            path.write_text(json.dumps(ROWS))
        case "csv":
            path.write_text('\ufeffid,text\r\n1,"zinc, a metal"\r\n2,gout\r\n', encoding="utf-8")
        case "tsv":
            path.write_text("id\ttext\n1\tzinc, a metal\n2\tgout\n")
        case "xlsx":
            write_sheet(path, [["id", "text"], *(list(row.values()) for row in ROWS)])
        case "parquet":
            import pyarrow
            from pyarrow import parquet

            parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
    return path


@pytest.mark.parametrize(
    "name", ["a.jsonl", "a.ndjson", "a.jsonl.gz", "a.json", "a.csv", "a.tsv", "a.xlsx", "a.parquet"]
)
def test_every_layout_gives_the_same_rows(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, name)
    assert list(table_rows(path)) == ROWS
    assert list(file_rows(path, "any other name", "id", "text")) == ROWS, "the very file that is named"
    assert list(split_rows(path, "any other split", "id")) == ROWS
    assert [row["text"] for row in table_rows(path, {"text": "text", "id": "name"})][1] == "gout"
    assert next(table_rows(path, {"id": "name"}))["name"] == "1"


@pytest.mark.parametrize(
    ("document", "rows"),
    [
        ({"data": ROWS}, ROWS),
        ({"1": {"text": "zinc, a metal"}, "2": {"text": "gout"}}, ROWS),
        ({"id": "1", "text": "x"}, [{"id": "1", "text": "x"}]),
    ],
)
def test_json_documents_as_data_sets_are_published(tmp_path: Path, document: object, rows: object) -> None:
    (tmp_path / "a.json").write_text(json.dumps(document))
    assert list(table_rows(tmp_path / "a.json")) == rows


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"id": 1}\n[2]\n', r"a\.jsonl:2: not a JSON object"),
        ("a.json", '[{"id": 1}, 2]', r"a\.json: entry 2 is no object but '2'"),
        ("a.csv", "id,text\n1\n", r"a\.csv:2: it has not 2 columns"),
        ("a.csv", "id,text\n1,2,3\n", r"a\.csv:2: it has not 2 columns"),
        ("a.xlsx", "no zip", r"a\.xlsx is no Excel file"),
    ],
)
def test_a_broken_file_is_named_with_its_line(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(CorpusError, match=message):
        list(table_rows(tmp_path / name))


def test_any_split_that_is_there_is_read_and_an_unknown_one_names_them(tmp_path: Path) -> None:
    for name in ("dev.jsonl.gz", "train.csv", "odd_one.json", "notes.txt"):
        write(tmp_path, name)
    for split in ("dev", "train", "odd_one"):
        assert list(split_rows(tmp_path, split, "id", "text")) == ROWS
    with pytest.raises(UsageError, match=r"-p split=dve: .* it has the splits dev, odd_one, train\. Did you"):
        list(split_rows(tmp_path, "dve"))
    with pytest.raises(
        UsageError, match=r"no test\.jsonl .*; it has dev\.jsonl\.gz, odd_one\.json, train\.csv"
    ):
        list(file_rows(tmp_path, "test"))
    with pytest.raises(UsageError, match="no such file or folder"):
        list(split_rows(tmp_path / "nowhere", "dev"))


def test_published_names_stand_for_splits_also_in_inner_folders(tmp_path: Path) -> None:
    inner = tmp_path / "Main-Dataset"
    inner.mkdir()
    write(inner, "Set-TestSet-1-2023.csv")
    official = {"test1": ("Set-TestSet-1*",), "test2": ("Set-TestSet-2*",)}
    assert list(split_rows(tmp_path, "test1", official=official)) == ROWS
    assert list(split_rows(inner, "test1", official=official)) == ROWS
    with pytest.raises(UsageError, match=r"it has the splits test1\."):
        list(split_rows(inner, "test2", official=official))
    (tmp_path / "claims.dev.jsonl").write_text(LINES)
    (tmp_path / "claims_train.jsonl").write_text(LINES)
    for split in ("dev", "train"):
        assert list(split_rows(tmp_path, split, names=("claims.{}", "claims_{}"))) == ROWS

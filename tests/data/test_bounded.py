"""Files that users name: one bound on what a record takes, and a message instead of gigabytes."""

from __future__ import annotations

import gzip
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from evalkit.data.bounded import blocks, lines, read_whole, record_limit
from evalkit.data.files import file_rows
from evalkit.data.tables import table_rows
from evalkit.errors import CorpusError, UsageError
from evalkit.models.predictions import read_predictions
from evalkit.retrieval.trec import read_qrels, read_queries, read_run

MB = 2**20


def put(path: Path, content: bytes) -> Path:
    path.write_bytes(gzip.compress(content, 1) if path.suffix == ".gz" else content)
    return path


@pytest.fixture
def one_mb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVALKIT_MAX_RECORD_MB", "1")


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_lines_come_with_number_and_offset_and_blank_ones_do_not_count(tmp_path: Path, name: str) -> None:
    path = put(tmp_path / name, b"one\n\n  \nfour")
    assert list(lines(path)) == [(1, 0, b"one\n"), (4, 8, b"four")]
    assert b"".join(blocks(path)) == read_whole(path) == b"one\n\n  \nfour"


READERS: dict[str, tuple[Callable[[Path], Any], bytes]] = {
    "queries": (read_queries, b'{"_id": "q", "text": "%s"}'),
    "qrels": (read_qrels, b"q\t%s\t1"),
    "run": (read_run, b"q Q0 %s 1 2.0 x"),
    "predictions": (read_predictions, b'{"id": "s", "prediction": "%s"}'),
    "rows": (lambda path: list(file_rows(path.parent, path.name.split(".")[0])), b'{"id": "s", "x": "%s"}'),
}


@pytest.mark.usefixtures("one_mb")
@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("reader", READERS)
def test_every_reader_refuses_a_line_that_is_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: str, ending: str
) -> None:
    read, line = READERS[reader]
    path = put(tmp_path / f"file.jsonl{ending}", line % (b"a" * MB))
    expected = rf"file\.jsonl{ending}:1: the line has more than 1 MiB.*EVALKIT_MAX_RECORD_MB=4"
    with pytest.raises((CorpusError, UsageError), match=expected):
        read(path)
    monkeypatch.setenv("EVALKIT_MAX_RECORD_MB", "4")
    assert len(read(path)) in (1, 2)


@pytest.mark.parametrize("reader", ["queries", "predictions", "rows"])
def test_a_line_of_a_hundred_thousand_brackets_is_not_json(tmp_path: Path, reader: str) -> None:
    path = put(tmp_path / "file.jsonl", b'{"id": ' + b"[" * 100_000)
    with pytest.raises((CorpusError, UsageError), match=r"file\.jsonl:1: "):
        READERS[reader][0](path)


@pytest.mark.usefixtures("one_mb")
def test_a_document_that_is_read_whole_may_have_four_times_as_much(tmp_path: Path) -> None:
    assert len(read_whole(put(tmp_path / "a.json.gz", b"1" * 4 * MB))) == 4 * MB
    with pytest.raises(
        CorpusError, match=r"a\.json\.gz: the file has more than 4 MiB.*EVALKIT_MAX_RECORD_MB="
    ):
        read_whole(put(tmp_path / "a.json.gz", b"1" * (4 * MB + 1)))


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    damaged = put(tmp_path / "a.jsonl.gz", b"x\n" * 999)
    damaged.write_bytes(damaged.read_bytes()[:-9])
    for path, message in (
        (tmp_path / "none.jsonl", "none.jsonl: No such file"),
        (tmp_path, "Is a directory"),
        (damaged, "a damaged gzip file"),
    ):
        with pytest.raises(CorpusError, match=message):
            list(lines(path))


@pytest.mark.parametrize("text", ["many", "-1", "0", "1.5"])
def test_a_bound_that_is_no_number_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("EVALKIT_MAX_RECORD_MB", text)
    with pytest.raises(UsageError, match=f"EVALKIT_MAX_RECORD_MB={text}"):
        record_limit()


BUILD = """
import re, sys
from pathlib import Path
from evalkit_retrievers.corpus.corpus import Corpus
from evalkit.errors import CorpusError
try:
    len(Corpus(Path(sys.argv[1])))
except CorpusError as error:
    print(error)
# Not getrusage: it begins with the memory of the process that started this one.
print(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs the peak memory that Linux tells")
@pytest.mark.parametrize("kind", ["element", "comment", "siblings", "nested", "line"])
def test_a_small_gzip_that_unpacks_to_gigabytes_stays_small(tmp_path: Path, kind: str) -> None:
    head = b"<PubmedArticleSet><PubmedArticle><MedlineCitation><PMID>1</PMID><Article><ArticleTitle>"
    start, part = {
        "element": (head, b"a " * 500_000),
        "comment": (b"<PubmedArticleSet><!--", b"a " * 500_000),
        "siblings": (head, b"<i/>" * 250_000),
        "nested": (head, b"<i>" * 333_333),
        "line": (b'{"id": "1", "text": "', b"a " * 500_000),
    }[kind]
    path = tmp_path / ("b.jsonl.gz" if kind == "line" else "b.xml.gz")
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(start)
        for _ in range(100):
            file.write(part)
    done = subprocess.run([sys.executable, "-c", BUILD, path], capture_output=True, text=True, timeout=300)
    said, kilobytes = done.stdout.splitlines()
    assert "elements stand in each other 201 deep" in said if kind == "nested" else "more than 16 MiB" in said
    assert int(kilobytes) < 1_500_000


@pytest.mark.usefixtures("one_mb")
def test_a_field_of_a_table_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path / "a.csv", b"id,text\n1," + b"a" * (MB + 1) + b"\n")
    with pytest.raises(CorpusError, match=r"a\.csv:\d: a field has more than 1 MiB.*EVALKIT_MAX_RECORD_MB=4"):
        list(table_rows(path))
    monkeypatch.setenv("EVALKIT_MAX_RECORD_MB", "4")
    ((_, text),) = (row.values() for row in table_rows(path))
    assert len(text) == MB + 1, "longer than the 131,072 characters that Python's csv reads by default"


@pytest.mark.usefixtures("one_mb")
def test_a_sheet_that_unpacks_to_more_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.xlsx", "w", zipfile.ZIP_DEFLATED) as book:
        book.writestr("xl/worksheets/sheet1.xml", b"<worksheet>" + b"<row/>" * (MB // 4) + b"</worksheet>")
    assert (tmp_path / "a.xlsx").stat().st_size < 10_000
    with pytest.raises(CorpusError, match=r"a\.xlsx, .*sheet1\.xml: the sheet, unpacked, has more"):
        list(table_rows(tmp_path / "a.xlsx"))


@pytest.mark.usefixtures("one_mb")
def test_rows_of_parquet_come_a_few_at_a_time(tmp_path: Path) -> None:
    table = pyarrow.table({"id": range(8), "text": ["a" * (MB // 2)] * 8})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet", use_dictionary=False)
    assert [row["id"] for row in table_rows(tmp_path / "a.parquet")] == list(range(8))
    put(tmp_path / "b.parquet", b"no table")
    with pytest.raises(CorpusError, match=r"b\.parquet: cannot be read as Parquet"):
        list(table_rows(tmp_path / "b.parquet"))

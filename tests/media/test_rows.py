"""Pictures in rows of data sets: bytes, paths, and rows that have none."""

from __future__ import annotations

from pathlib import Path

import pytest

from evalkit.data.hub import hub_rows
from evalkit.data.source_location import Row
from evalkit.errors import CorpusError
from evalkit.media import row_image
from evalkit.media.pixels import plain_png
from tests.media.pictures import gradient, saved

PNG = plain_png(5, 5, (1, 2, 3))


def placed(**fields) -> Row:
    row = Row(fields)
    row.place = "scans.parquet, row 7"
    return row


def test_a_picture_comes_as_bytes_or_as_the_path_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    absolute = str(tmp_path / "a.png")
    for value in (
        {"bytes": PNG, "path": None},
        {"bytes": PNG, "path": "gone.png"},
        PNG,
        {"bytes": None, "path": "a.png"},
        {"bytes": None, "path": absolute},
        {"bytes": b"", "path": "a.png"},
        "a.png",
    ):
        assert row_image(placed(image=value), "image", tmp_path).read() == PNG
    jpeg = row_image(placed(image=saved(gradient(), "JPEG").read()), "image")
    assert jpeg.media_type == "image/jpeg"


@pytest.mark.parametrize(
    "value", [None, {"bytes": None, "path": None}, {"bytes": b"", "path": ""}, "", 3, [1]]
)
def test_a_row_without_a_picture_is_named(value: object) -> None:
    with pytest.raises(CorpusError, match=r"scans\.parquet, row 7: there is no picture in 'image', but"):
        row_image(placed(image=value), "image")


def test_a_path_that_does_not_resolve_is_named_with_its_row(tmp_path: Path) -> None:
    for path in ("gone.png", "zip://pictures/a.png::https://example.org/a.zip"):
        with pytest.raises(CorpusError, match=r"row 7: 'image' holds no bytes, .*cannot be read: No such"):
            row_image(placed(image={"bytes": None, "path": path}), "image", tmp_path)


def test_rows_of_a_parquet_file_know_their_number(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    cells = [{"bytes": PNG, "path": None}, None]
    kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    table = pyarrow.table({"image": pyarrow.array(cells, type=kind)})
    parquet.write_table(table, tmp_path / "scans.parquet")
    first, second = hub_rows("any/name", None, "test", tmp_path / "scans.parquet")
    assert row_image(first, "image").read() == PNG
    with pytest.raises(CorpusError, match=r"scans\.parquet, row 2: there is no picture"):
        row_image(second, "image")

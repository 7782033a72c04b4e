"""DATA folders: read in each form of the ImageFolder convention, and refused in a sentence."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from pinembed.catalogue.files import scan_images
from pinembed.catalogue.folder import read_catalogue, scan_folder
from pinembed.errors import DataError
from tests.conftest import draw_item


def write_metadata(folder: Path, text: str) -> Path:
    path = folder / "metadata.csv"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def two_images(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png"):
        draw_item("red", "circle", 0).save(tmp_path / name)
    return tmp_path


def test_catalogue_holds_rows_with_types_and_splits(catalogue_folder) -> None:
    catalogue = read_catalogue(catalogue_folder)
    assert len(catalogue) == 24
    assert catalogue.splits == ("test", "train", "val")
    assert catalogue.schema.field("price").type == pa.float64()
    first = catalogue.items[0]
    assert (first.id, first.file_name) == ("blue-circle-0", "images/blue-circle-0.png")
    assert first.fields == {"product": "blue-circle", "title": "A blue circle", "color": "blue", "price": 10.0}
    assert first.path.is_file()


def test_items_are_sorted_by_file_name(catalogue_folder) -> None:
    names = [item.file_name for item in read_catalogue(catalogue_folder)]
    assert names == sorted(names)


def test_id_falls_back_to_the_file_name(two_images) -> None:
    write_metadata(two_images, "file_name,title\na.png,one\nb.png,two\n")
    assert [item.id for item in read_catalogue(two_images)] == ["a.png", "b.png"]


def test_numeric_ids_keep_their_leading_zeros(two_images) -> None:
    write_metadata(two_images, "file_name,id\na.png,007\nb.png,8\n")
    assert [item.id for item in read_catalogue(two_images)] == ["007", "8"]


def test_missing_values_are_none(two_images) -> None:
    write_metadata(two_images, 'file_name,title,price\na.png,,\nb.png,"two\nlines",2.5\n')
    first, second = read_catalogue(two_images)
    assert first.fields == {"title": None, "price": None}
    assert second.fields == {"title": "two\nlines", "price": 2.5}


def test_json_lines_keep_lists(two_images) -> None:
    rows = [{"file_name": "a.png", "tags": ["x", "y"]}, {"file_name": "b.png", "tags": []}]
    (two_images / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert read_catalogue(two_images).items[0].fields == {"tags": ["x", "y"]}


def test_parquet_is_read(two_images) -> None:
    table = pa.table({"file_name": ["a.png", "b.png"], "title": ["one", "two"]})
    pa.parquet.write_table(table, two_images / "metadata.parquet")
    assert [item.fields["title"] for item in read_catalogue(two_images)] == ["one", "two"]


def test_split_folders_name_the_split_and_hold_their_own_metadata(tmp_path) -> None:
    for split in ("train", "validation", "test"):
        (tmp_path / split).mkdir()
        draw_item("red", "circle", 0).save(tmp_path / split / "a.png")
        write_metadata(tmp_path / split, "file_name,title\na.png,one\n")
    items = read_catalogue(tmp_path).items
    assert {item.file_name: item.split for item in items} == {
        "test/a.png": "test",
        "train/a.png": "train",
        "validation/a.png": "val",
    }


def test_folder_without_metadata_is_a_catalogue_for_a_scan(two_images) -> None:
    scan = scan_folder(two_images)
    assert scan.metadata is None
    assert [item.id for item in scan.candidates] == ["a.png", "b.png"]


def test_metadata_file_elsewhere_is_used(two_images, tmp_path_factory) -> None:
    elsewhere = write_metadata(tmp_path_factory.mktemp("elsewhere"), "file_name,title\na.png,one\nb.png,two\n")
    assert read_catalogue(two_images, metadata=elsewhere).metadata == elsewhere


def test_scan_passes_over_hidden_and_other_files_and_never_walks_in_circles(two_images) -> None:
    (two_images / ".hidden.png").write_bytes(b"")
    (two_images / "notes.txt").write_text("no image")
    os.mkfifo(two_images / "pipe.png")
    (two_images / "loop").symlink_to(two_images)
    (two_images / "linked.png").symlink_to(two_images / "a.png")
    (two_images / "no-suffix").write_bytes((two_images / "a.png").read_bytes())
    assert sorted(scanned.file_name for scanned in scan_images(two_images)) == [
        "a.png",
        "b.png",
        "linked.png",
        "no-suffix",
        "pipe.png",  # whoever reads it says that it is no regular file
    ]


def test_missing_folder_is_refused(tmp_path) -> None:
    with pytest.raises(DataError, match="nowhere does not exist; wanted a folder of images"):
        read_catalogue(tmp_path / "nowhere")


def test_file_in_place_of_the_folder_is_refused(two_images) -> None:
    with pytest.raises(DataError, match=r"a\.png is a file; wanted a folder of images"):
        read_catalogue(two_images / "a.png")


def test_empty_folder_is_refused(tmp_path) -> None:
    with pytest.raises(DataError, match="holds no image file"):
        scan_folder(tmp_path)


def test_folder_without_metadata_is_refused_where_metadata_is_needed(two_images) -> None:
    with pytest.raises(DataError, match=r"has no metadata; wanted one of metadata\.csv"):
        read_catalogue(two_images)


def test_metadata_row_without_a_file_is_named(two_images) -> None:
    write_metadata(two_images, "file_name,title\na.png,one\nb.png,two\ngone.png,three\n")
    with pytest.raises(DataError, match=r"names 1 file\(s\) that .* does not hold: gone\.png"):
        read_catalogue(two_images)


def test_file_without_a_metadata_row_is_named(two_images) -> None:
    write_metadata(two_images, "file_name,title\na.png,one\n")
    with pytest.raises(DataError, match=r"holds 1 image\(s\) without a row in .*: b\.png"):
        read_catalogue(two_images)


def test_duplicate_ids_are_named(two_images) -> None:
    write_metadata(two_images, "file_name,id\na.png,x\nb.png,x\n")
    with pytest.raises(DataError, match=r"holds 1 id\(s\) more than once: x"):
        read_catalogue(two_images)


def test_metadata_without_file_name_column_is_refused(two_images) -> None:
    write_metadata(two_images, "image,title\na.png,one\n")
    with pytest.raises(DataError, match="has no file_name column; found image, title"):
        read_catalogue(two_images)


def test_row_without_a_file_name_is_refused(two_images) -> None:
    write_metadata(two_images, "file_name,title\na.png,one\n,two\n")
    with pytest.raises(DataError, match=r"has 1 row\(s\) without a file_name"):
        read_catalogue(two_images)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"file_name,title\na.png,\xff\xfe\n", "column title is not UTF-8"),
        (
            b'file_name,title\na.png,"two\nlines"\nb.png,"one\nc.png,two\n',
            "the quote that opens on line 4 is never closed",
        ),
        (b'file_name,title\na.png\nb.png,"one\nc.png,two\n', "the quote that opens on line 3 is never closed"),
        (b"", "Empty CSV file"),
    ],
)
def test_unreadable_metadata_is_refused(two_images, content, reason) -> None:
    (two_images / "metadata.csv").write_bytes(content)
    with pytest.raises(DataError, match=rf"metadata\.csv cannot be read as metadata: .*{reason}"):
        read_catalogue(two_images)


def test_json_that_is_nested_without_end_is_refused(two_images) -> None:
    (two_images / "metadata.jsonl").write_text('{"file_name":"a.png","t":' + "[" * 5000 + "]" * 5000 + "}\n")
    with pytest.raises(DataError, match=r"metadata\.jsonl cannot be read as metadata: .*recursion"):
        read_catalogue(two_images)

"""encode and finetune see the same folder: the same ids, splits and columns, and the same things wrong with it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from pinembed.catalogue.folder import SPLIT, read_catalogue
from pinembed.catalogue.inputs import find_inputs
from pinembed.catalogue.parts import Inputs
from pinembed.errors import DataError
from pinembed.settings.encoding import EncodeSettings
from tests.conftest import draw_item

FILES = ("a.png", "dev/b.png", "test/c.png", "train/d.png", "z.png")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        draw_item("red", "circle", 0).save(tmp_path / name)
    return tmp_path


def write_rows(folder: Path, *rows: dict[str, Any]) -> None:
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))


def inputs_of(folder: Path) -> Inputs:
    [found] = find_inputs(EncodeSettings(images=folder, table="db/pins", encoder="none"))
    return found


def seen_by_finetune(folder: Path) -> list[tuple[str, str, Path, dict[str, Any], str | None]]:
    return [(item.id, item.file_name, item.path, dict(item.fields), item.split) for item in read_catalogue(folder)]


def seen_by_encode(folder: Path) -> list[tuple[str, str, Path, dict[str, Any], str | None]]:
    seen = []
    for candidate in inputs_of(folder).candidates:
        fields = dict(candidate.fields)
        split = fields.pop(SPLIT, None)
        assert isinstance(candidate.image, Path)
        seen.append((candidate.id, candidate.file_name, candidate.image, fields, split))
    return seen


def test_ids_splits_and_columns_are_the_same(folder: Path) -> None:
    write_rows(
        folder,
        {"file_name": "z.png", "id": None, "split": "Holdout", "price": 2, "tags": ["x", "y"]},
        {"file_name": "train/d.png", "id": "007", "split": None, "price": 2.5, "tags": []},
        {"file_name": "dev/b.png", "split": "validation", "title": "two\nlines"},
        {"file_name": "test/c.png", "id": "", "split": "", "title": None},
        {"file_name": "a.png", "id": "8", "price": 1},
    )

    found = seen_by_finetune(folder)

    assert [(item_id, name, split) for item_id, name, _, _, split in found] == [
        ("8", "a.png", None),
        ("dev/b.png", "dev/b.png", "val"),
        ("test/c.png", "test/c.png", "test"),  # what is empty is none, as in a CSV
        ("007", "train/d.png", "train"),
        ("z.png", "z.png", "Holdout"),
    ]
    assert found == seen_by_encode(folder)
    schema = inputs_of(folder).schema
    assert read_catalogue(folder).schema == schema.remove(schema.get_field_index(SPLIT))


def test_columns_of_codes_and_an_image_with_two_rows_are_the_same(folder: Path) -> None:
    names = [*FILES, "a.png"]
    codes = pa.array(["dev", "x", "valid", None, "train", "test"]).dictionary_encode()
    rows = {"file_name": names, "id": list(range(6)), "split": codes, "kind": codes, "none": pa.nulls(6)}
    pa.parquet.write_table(pa.table(rows), folder / "metadata.parquet")

    found = seen_by_finetune(folder)

    assert [item_id for item_id, *_ in found] == ["0", "5", "1", "2", "3", "4"]
    assert [split for *_, split in found] == ["val", "test", "x", "val", "train", "train"]
    assert found == seen_by_encode(folder)


def test_what_finetune_refuses_is_what_encode_calls_missing(folder: Path) -> None:
    write_rows(folder, *({"file_name": name} for name in (*FILES, "gone.png", "lost.png")))

    lacking = [failure.file_name for failure in inputs_of(folder).failures if failure.reason == "missing_file"]

    assert lacking == ["gone.png", "lost.png"]
    with pytest.raises(DataError, match=r"names 2 file\(s\) that .* does not hold: gone\.png, lost\.png\."):
        read_catalogue(folder)


def test_files_that_no_row_names_are_the_same(folder: Path) -> None:
    write_rows(folder, {"file_name": "a.png", "id": "z.png", "title": "red"}, {"file_name": "test/c.png"})

    inputs = inputs_of(folder)

    assert [candidate.id for candidate in inputs.candidates] == ["z.png", "test/c.png", "dev/b.png", "train/d.png"]
    assert [(failure.id, failure.reason) for failure in inputs.failures] == [("z.png", "id_taken")]
    assert inputs.notes[0].startswith("3 image(s) have no row in the metadata")
    with pytest.raises(DataError, match=r"holds 3 image\(s\) without a row in .*: dev/b\.png, train/d\.png, z\.png"):
        read_catalogue(folder)


def test_a_file_without_a_row_has_the_split_of_its_folder_as_in_a_folder_without_metadata(folder: Path) -> None:
    bare = {name: split for _, name, _, _, split in seen_by_encode(folder)}
    write_rows(folder, {"file_name": "a.png", "title": "red"})

    assert bare == {name: split for _, name, _, _, split in seen_by_encode(folder)}
    assert bare == {"a.png": None, "dev/b.png": "val", "test/c.png": "test", "train/d.png": "train", "z.png": None}


def test_a_name_that_is_no_text_is_no_item_for_either(folder: Path) -> None:
    write_rows(folder, *({"file_name": name} for name in FILES))
    Path(os.fsdecode(bytes(folder) + b"/\xff.png")).touch()

    [failure] = inputs_of(folder).failures

    assert (failure.id, failure.reason) == ("\\xff.png", "name_not_utf8")
    with pytest.raises(DataError, match=r"holds 1 image\(s\) without a row in .*: \\xff\.png"):
        read_catalogue(folder)


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ("file_name,id\na.png,z.png\nz.png,\n", r"metadata\.csv holds 1 id\(s\) more than once: z\.png"),
        ("file_name\na.png\na.png\n", r"metadata\.csv holds 1 file_name\(s\) more than once: a\.png"),
        (
            "file_name,title,title\na.png,1,2\n",
            r"metadata\.csv cannot be read .*: it has several columns title",
        ),
        ("file_name,id,id\na.png,1,2\n", r"metadata\.csv cannot be read .*: it has several columns id"),
    ],
)
def test_metadata_that_is_refused_is_refused_by_both(folder: Path, metadata: str, reason: str) -> None:
    (folder / "metadata.csv").write_text(metadata)

    for read in (inputs_of, read_catalogue):
        with pytest.raises(DataError, match=reason):
            read(folder)


def test_an_id_that_is_a_list_is_refused_by_both(folder: Path) -> None:
    write_rows(folder, {"file_name": "a.png", "id": [1]})

    for read in (inputs_of, read_catalogue):
        with pytest.raises(DataError, match=r"metadata\.jsonl cannot be read as metadata: its column id holds list"):
            read(folder)


def test_split_folders_with_a_number_here_and_a_word_there_are_text_for_both(folder: Path) -> None:
    for name in ("a.png", "dev/b.png", "z.png"):  # which have no row
        (folder / name).unlink()
    (folder / "train/metadata.csv").write_text("file_name,price\nd.png,01.50\n")
    (folder / "test/metadata.csv").write_text("file_name,price\nc.png,cheap\n")

    prices = {item.file_name: item.fields.get("price") for item in read_catalogue(folder)}
    assert (prices["train/d.png"], prices["test/c.png"]) == ("01.50", "cheap")
    encoded = {candidate.file_name: candidate.fields["price"] for candidate in inputs_of(folder).candidates}
    assert encoded == prices


def test_split_folders_whose_columns_do_not_go_together_are_refused_by_both(folder: Path) -> None:
    (folder / "train/metadata.jsonl").write_text('{"file_name": "d.png", "price": [1]}\n')
    (folder / "test/metadata.csv").write_text("file_name,price\nc.png,1\n")

    for read in (inputs_of, read_catalogue):
        with pytest.raises(DataError, match=r"metadata.* and the metadata files beside it hold .*: .*price"):
            read(folder)

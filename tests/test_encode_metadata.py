"""encode and metadata: columns with their types, and rows that follow what the catalogue says today."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from lance import LanceDataset

from pinembed.errors import DataError
from pinembed.reports.encode import EncodeReport
from pinembed.table.embedding_table import EmbeddingTable
from tests.conftest import CliResult, Said
from tests.encoding import counts, failures_of, rows_of

pytest_plugins = ("tests.encoding_fixtures",)
Cli = Callable[..., CliResult]


def change_metadata(folder: Path, change: Callable[[list[dict[str, str]]], list[dict[str, str]]]) -> None:
    path = folder / "metadata.csv"
    with path.open(newline="", encoding="utf-8") as file:
        rows = change(list(csv.DictReader(file)))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_metadata_columns_keep_their_types(
    run: Callable[..., EncodeReport], catalogue_folder: Path, table: str
) -> None:
    report = run(catalogue_folder)

    assert report.counts.added == 24
    opened = EmbeddingTable.open(table)
    kinds = {name: opened.schema.field(name).type for name in ("title", "price", "split")}
    assert kinds == {"title": pa.string(), "price": pa.float64(), "split": pa.string()}
    row = rows_of(table)["red-circle-1"]
    assert (row["title"], row["price"], row["split"]) == ("A red circle", 11.0, "val")


def test_changed_metadata_updates_the_row_without_encoding(
    run: Callable[..., EncodeReport], catalogue_folder: Path, table: str
) -> None:
    run(catalogue_folder)
    before = rows_of(table)["red-circle-1"]

    def change(rows: list[dict[str, str]]) -> list[dict[str, str]]:
        return [{**row, "title": "Sold out"} if row["id"] == "red-circle-1" else row for row in rows]

    change_metadata(catalogue_folder, change)
    report = run(catalogue_folder)

    assert (counts(report), report.counts.encoded) == ({"updated": 1, "unchanged": 23}, 0)
    assert rows_of(table)["red-circle-1"] == {**before, "title": "Sold out"}


def test_new_metadata_column_appears_in_the_table(
    run: Callable[..., EncodeReport], catalogue_folder: Path, table: str
) -> None:
    run(catalogue_folder)
    change_metadata(catalogue_folder, lambda rows: [{**row, "stock": str(n)} for n, row in enumerate(rows)])

    report = run(catalogue_folder)

    assert (counts(report), report.counts.encoded) == ({"updated": 24}, 0)
    assert EmbeddingTable.open(table).schema.field("stock").type == pa.int64()
    assert {row["stock"] for row in rows_of(table).values()} == set(range(24))
    assert counts(run(catalogue_folder)) == {"unchanged": 24}


def test_metadata_column_that_was_whole_numbers_takes_fractions(
    run: Callable[..., EncodeReport], catalogue_folder: Path, table: str
) -> None:
    change_metadata(catalogue_folder, lambda rows: [{**row, "price": "3"} for row in rows])
    run(catalogue_folder)
    change_metadata(catalogue_folder, lambda rows: [{**row, "price": "3.5"} for row in rows])

    assert run(catalogue_folder).counts.updated == 24
    assert rows_of(table)["red-circle-1"]["price"] == 3.5
    assert EmbeddingTable.open(table).schema.field("price").type == pa.float64()


def test_widening_of_a_column_that_was_killed_midway_is_completed(
    run: Callable[..., EncodeReport], catalogue_folder: Path, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_metadata(catalogue_folder, lambda rows: [{**row, "price": "3"} for row in rows])
    run(catalogue_folder)
    change_metadata(catalogue_folder, lambda rows: [{**row, "price": "3.5"} for row in rows])
    dataset = type(EmbeddingTable.open(table).dataset)
    for killed in ("drop_columns", "alter_columns"):
        with monkeypatch.context() as patch:
            patch.setattr(dataset, killed, lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                run(catalogue_folder)

    assert run(catalogue_folder).counts.updated == 24
    assert {row["price"] for row in rows_of(table).values()} == {3.5}


def test_table_is_asked_as_often_about_many_metadata_columns_as_about_few(
    run: Callable[..., EncodeReport], catalogue_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked_of(columns: int) -> int:
        change_metadata(catalogue_folder, lambda rows: [row | wide(n, columns) for n, row in enumerate(rows)])
        run(catalogue_folder)
        asked.clear()
        run(catalogue_folder)
        return len(asked)

    def wide(number: int, columns: int) -> dict[str, str]:
        return {f"text {index}": f"word {number}" for index in range(columns)}

    asked: list[str] = []
    schema, scanner = LanceDataset.schema, LanceDataset.scanner
    monkeypatch.setattr(LanceDataset, "schema", property(lambda self: asked.append("schema") or schema.fget(self)))
    monkeypatch.setattr(LanceDataset, "scanner", lambda *args, **how: asked.append("rows") or scanner(*args, **how))

    few = asked_of(2)
    assert asked_of(20) == few


def test_metadata_column_of_another_kind_leaves_its_values_out_and_stops_no_run(
    run: Callable[..., EncodeReport], catalogue_folder: Path, table: str
) -> None:
    run(catalogue_folder)
    change_metadata(catalogue_folder, lambda rows: [{**rows[0], "price": "cheap"}, *rows[1:]])

    listener = Said()
    report = run(catalogue_folder, progress=listener)

    assert (report.counts.updated, report.counts.unchanged) == (1, 23)
    assert "1 value(s) of the metadata column price are no double" in listener.lines[0]
    assert rows_of(table)["red-circle-0"]["price"] is None
    assert rows_of(table)["red-circle-1"]["price"] == 11.0


def test_metadata_column_with_a_name_of_the_table_is_refused(
    run: Callable[..., EncodeReport], catalogue_folder: Path
) -> None:
    change_metadata(catalogue_folder, lambda rows: [{**row, "vector": "1"} for row in rows])

    with pytest.raises(DataError, match="The metadata column 'vector' cannot be a column of the table: the name is"):
        run(catalogue_folder)


def test_metadata_file_elsewhere_is_used(
    cli: Cli, catalogue_folder: Path, table: str, tiny_encoder: Path, tmp_path: Path
) -> None:
    moved = (catalogue_folder / "metadata.csv").rename(tmp_path / "rows.csv")

    result = cli(
        "encode",
        catalogue_folder,
        "--table",
        table,
        "--encoder",
        tiny_encoder,
        "--metadata",
        moved,
        "--json",
        "--quiet",
    )

    assert result.json["added"] == 24
    assert rows_of(table)["red-circle-1"]["title"] == "A red circle"


def test_row_without_file_fails_and_file_without_row_is_encoded(
    run: Callable[..., EncodeReport], catalogue_folder: Path, table: str
) -> None:
    (catalogue_folder / "images/red-circle-0.png").rename(catalogue_folder / "images/stray.png")
    listener = Said()
    report = run(catalogue_folder, progress=listener)

    assert (counts(report), report.failures) == ({"added": 24, "failed": 1}, {"missing_file": 1})
    assert failures_of(table) == {"images/red-circle-0.png": "missing_file"}
    assert rows_of(table)["images/stray.png"]["title"] is None
    assert listener.lines == [
        "1 image(s) have no row in the metadata; they are encoded under their file names, with empty columns."
    ]

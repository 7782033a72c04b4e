"""EmbeddingTable: open, create, read, and sentences for what goes wrong."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import pyarrow as pa
import pytest
from lance import LanceDataset
from lance.commit import CommitConflictError

from pinembed.errors import DataError, TableError, UsageError
from pinembed.nouns.encoder_spec import EncoderSpec, Preprocessing
from pinembed.table import append, embedding_table, upkeep
from pinembed.table.address import parse_address
from pinembed.table.embedding_table import SCORE, EmbeddingTable, writing
from pinembed.table.lock import fence, lease_place
from pinembed.table.rows import EmbeddingRow
from pinembed.table.side_tables import FailureTable
from pinembed.table.upkeep import compact, index_if_large
from pinembed.table.writer import TableWriter
from pinembed.taste.store import StoreTable

SPEC = EncoderSpec(
    architecture="tiny",
    config_sha256="c",
    weights_sha256="w",
    dim=8,
    preprocessing=Preprocessing(image_px=32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
)
SCHEMA = pa.schema([("title", pa.string()), ("tags", pa.list_(pa.string()))])


def made(table: str, rows: int) -> EmbeddingTable:
    opened = EmbeddingTable.create(table, SPEC, SCHEMA, reference="encoders/tiny")
    writer = TableWriter(opened, FailureTable(opened.address), commit_rows=10_000, commit_s=60)
    for number in range(rows):
        writer.add(row(number))
    writer.flush()
    return opened


def row(number: int, *, title: str = "some title", is_new: bool = True) -> EmbeddingRow:
    vector_D = np.random.default_rng(number).standard_normal(8).astype(np.float32)
    return EmbeddingRow(
        id=f"item-{number}",
        folder="/photos",
        file_name=f"{number}.jpg",
        sha256=f"{number:064x}",
        size_bytes=number,
        mtime_ns=number,
        width_px=640,
        height_px=480,
        fields={"title": title, "tags": ["a", "b"]},
        vector_D=vector_D / np.linalg.norm(vector_D),
        is_new=is_new,
    )


@pytest.mark.parametrize(
    ("written", "database", "name"),
    [
        ("catalog/pins", "catalog", "pins"),
        ("catalog/pins.lance", "catalog", "pins"),
        ("catalog/pins/", "catalog", "pins"),
        ("/a/b/pins", "/a/b", "pins"),
        ("pins", ".", "pins"),
        ("s3://bucket/db/pins", "s3://bucket/db", "pins"),
        ("s3a://bucket/pins.lance/", "s3://bucket", "pins"),
        ("file:///db/pins", "/db", "pins"),
    ],
)
def test_address_is_database_and_name(written: str, database: str, name: str) -> None:
    address = parse_address(written)

    assert (address.database, address.name) == (database, name)


def test_what_locks_a_table_lies_beside_it() -> None:
    assert str(lease_place(parse_address("s3://bucket/db/pins"))) == "s3://bucket/db/.pins.lease"
    assert parse_address("db/pins").lock_path == Path("db/.pins.lock")


@pytest.mark.parametrize("written", ["", "/", "db/ ", "db/my pins", "s3://pins", "db/pi'ns"])
def test_address_without_a_usable_name_is_refused(written: str) -> None:
    with pytest.raises(UsageError, match="names no table; wanted DATABASE/NAME"):
        parse_address(written)


def test_table_remembers_its_encoder(tmp_path: Path) -> None:
    made(str(tmp_path / "pins"), 1)

    opened = EmbeddingTable.open(str(tmp_path / "pins"))

    assert opened.spec == SPEC
    assert opened.reference == "encoders/tiny"


def test_table_batches_give_chosen_columns_in_bounded_pieces(tmp_path: Path) -> None:
    opened = made(str(tmp_path / "pins"), 25)

    batches = list(opened.batches(["id", "vector"], batch_rows=10))

    assert [batch.num_rows for batch in batches] == [10, 10, 5]
    assert batches[0].schema.names == ["id", "vector"]
    assert batches[0].schema.field("vector").type == pa.list_(pa.float16(), 8)
    assert [item for batch in batches for item in batch["id"].to_pylist()] == [f"item-{n}" for n in range(25)]


def test_table_names_the_columns_it_has_when_one_is_missing(tmp_path: Path) -> None:
    opened = made(str(tmp_path / "pins"), 1)

    with pytest.raises(TableError, match="has no column colour; it has id, folder, file_name"):
        list(opened.batches(["id", "colour"]))


def test_writer_merges_known_rows_and_appends_new_ones(tmp_path: Path) -> None:
    opened = made(str(tmp_path / "pins"), 5)
    writer = TableWriter(opened, FailureTable(opened.address), commit_rows=10_000, commit_s=60)

    writer.add(row(3, title="changed", is_new=False))
    writer.add(row(7))
    writer.flush()

    rows = {found["id"]: found for batch in opened.batches(["id", "title", "tags"]) for found in batch.to_pylist()}
    assert len(rows) == opened.count_rows() == 6
    assert rows["item-3"] == {"id": "item-3", "title": "changed", "tags": ["a", "b"]}


def test_writer_commits_by_rows_and_by_seconds(tmp_path: Path) -> None:
    opened = EmbeddingTable.create(str(tmp_path / "pins"), SPEC, SCHEMA)
    by_rows = TableWriter(opened, FailureTable(opened.address), commit_rows=3, commit_s=1e9)
    stored = []
    for number in range(4):
        by_rows.add(row(number))
        stored.append(opened.count_rows())
    at_once = TableWriter(opened, FailureTable(opened.address), commit_rows=1000, commit_s=0)
    at_once.add(row(9))

    assert stored == [0, 0, 3, 3]
    assert opened.count_rows() == 4


def test_table_twice_is_refused(tmp_path: Path) -> None:
    made(str(tmp_path / "pins"), 1)

    with pytest.raises(TableError, match="already exists"):
        EmbeddingTable.create(str(tmp_path / "pins"), SPEC, SCHEMA)


def test_table_that_pinembed_did_not_make_is_refused(tmp_path: Path) -> None:
    lancedb.connect(tmp_path).create_table("foreign", [{"id": "a"}])

    with pytest.raises(TableError, match="holds no encoder identity in its schema; pinembed did not make it"):
        EmbeddingTable.open(str(tmp_path / "foreign"))


def test_table_folder_that_is_damaged_is_explained(tmp_path: Path) -> None:
    made(str(tmp_path / "pins"), 1)
    for manifest in (tmp_path / "pins.lance/_versions").glob("*.manifest"):
        manifest.write_bytes(b"damaged")

    with pytest.raises(TableError, match="cannot be opened"):
        EmbeddingTable.open(str(tmp_path / "pins"))


def test_table_that_was_killed_in_its_first_commit_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "pins.lance/_versions").mkdir(parents=True)

    with pytest.raises(TableError, match="There is no table"):
        EmbeddingTable.open(str(tmp_path / "pins"))

    assert made(str(tmp_path / "pins"), 1).count_rows() == 1


def test_table_has_its_primary_key_from_the_first_version_on(tmp_path: Path) -> None:
    opened = EmbeddingTable.create(str(tmp_path / "pins"), SPEC, SCHEMA)

    assert opened.dataset.version == 1
    assert opened.schema.field("id").metadata == {b"lance-schema:unenforced-primary-key:position": b"1"}


@pytest.mark.parametrize("name", ["vector", "id", "a.b", ""])
def test_metadata_column_that_the_table_cannot_take_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="cannot be a column of the table"):
        EmbeddingTable.create(str(tmp_path / "pins"), SPEC, pa.schema([(name, pa.string())]))


def test_full_disk_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = made(str(tmp_path / "pins"), 1)
    full = "lance error: LanceError(IO): No space left on device (os error 28), /x/lance-13.0.0/src/writer.rs:191:9"
    monkeypatch.setattr(append, "write_fragments", lambda *args: (_ for _ in ()).throw(RuntimeError(full)))
    writer = TableWriter(opened, FailureTable(opened.address), commit_rows=1, commit_s=60)

    with pytest.raises(
        TableError, match=r"cannot be written: LanceError.IO.: No space left on device .os error 28.$"
    ) as caught:
        writer.add(row(2))

    assert "free disk space" in caught.value.remedy
    assert EmbeddingTable.open(str(tmp_path / "pins")).count_rows() == 1


def test_many_small_commits_are_joined_and_a_tagged_version_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "KEPT_FOR", timedelta(0))
    opened = EmbeddingTable.create(str(tmp_path / "pins"), SPEC, SCHEMA)
    writer = TableWriter(opened, FailureTable(opened.address), commit_rows=1, commit_s=60)
    for number in range(20):
        writer.add(row(number))
        if number == 4:
            opened.dataset.tags.create("first", opened.dataset.version)

    assert compact(opened.address, opened.dataset)
    assert not compact(opened.address, opened.dataset)

    assert opened.dataset.stats.dataset_stats()["num_fragments"] == 1
    assert opened.count_rows() == 20
    assert len(opened.dataset.versions()) < 6
    assert opened.dataset.checkout_version("first").count_rows() == 5


def test_large_table_gets_an_index_that_finds_what_exact_search_finds(tmp_path: Path) -> None:
    opened = made(str(tmp_path / "pins"), 400)

    built = index_if_large(opened, from_rows=300)

    assert built is not None
    assert built.recall > 0.9
    assert (built.segments, built.is_kept) == (1, True)
    assert index_if_large(opened, from_rows=300) is None
    assert [index.index_type for index in opened.lance.list_indices()] == ["IvfRq"]
    best = opened.nearest(opened.vector_of("item-7"), 1).to_pylist()[0]
    assert (best["id"], round(best[SCORE], 2)) == ("item-7", 1.0)


def add_rows(opened: EmbeddingTable, first: int, count: int) -> None:
    writer = TableWriter(opened, FailureTable(opened.address), commit_rows=10_000, commit_s=60)
    for number in range(first, first + count):
        writer.add(row(number))
    writer.flush()


def test_rows_that_come_later_are_a_segment_of_the_index_and_nothing_is_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = made(str(tmp_path / "pins"), 400)
    index_if_large(opened, from_rows=300)
    monkeypatch.setattr(upkeep, "_build", None)
    add_rows(opened, 400, 150)

    grown = index_if_large(opened, from_rows=300)

    assert grown is not None
    assert grown.recall > 0.9
    assert (grown.segments, grown.is_kept) == (2, True)
    assert opened.dataset.stats.index_stats(upkeep.INDEX_NAME)["num_unindexed_rows"] == 0
    assert opened.nearest(opened.vector_of("item-500"), 1)["id"].to_pylist() == ["item-500"]


def test_index_that_finds_too_little_is_built_anew_and_else_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = made(str(tmp_path / "pins"), 400)
    index_if_large(opened, from_rows=300)
    recalls = iter([0.07, 0.95, 0.07, 0.07])
    monkeypatch.setattr(upkeep, "recall_of_index", lambda table, queries: next(recalls))
    add_rows(opened, 400, 150)

    anew = index_if_large(opened, from_rows=300)
    add_rows(opened, 550, 200)
    dropped = index_if_large(opened, from_rows=300)

    assert anew is not None
    assert (anew.recall, anew.segments, anew.is_kept) == (0.95, 1, True)
    assert dropped is not None
    assert (dropped.segments, dropped.is_kept) == (0, False)
    assert opened.nearest(opened.vector_of("item-700"), 1)["id"].to_pylist() == ["item-700"]


def test_small_table_gets_no_index(tmp_path: Path) -> None:
    assert index_if_large(made(str(tmp_path / "pins"), 5)) is None


@pytest.mark.parametrize("lost", [OSError("connection reset by peer"), CommitConflictError("version 2 is there")])
def test_commit_that_came_through_without_an_answer_is_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: OSError
) -> None:
    opened = made(str(tmp_path / "pins"), 2)
    honest, calls = LanceDataset.commit, []

    def answerless(*args: Any, **options: Any) -> None:
        calls.append(options["max_retries"])
        honest(*args, **options)
        raise lost

    monkeypatch.setattr(LanceDataset, "commit", staticmethod(answerless))

    add_rows(opened, 2, 3)

    assert calls == [0]
    assert opened.count_rows() == EmbeddingTable.open(str(tmp_path / "pins")).count_rows() == 5


def test_commit_goes_on_after_another_writers_version_and_not_after_a_fence(tmp_path: Path) -> None:
    opened = made(str(tmp_path / "pins"), 2)
    EmbeddingTable.open(str(tmp_path / "pins")).dataset.delete("id = 'item-0'")
    add_rows(opened, 2, 3)
    assert opened.count_rows() == 4

    fence(parse_address(str(tmp_path / "pins")))
    with pytest.raises(TableError, match="incompatible with concurrent transaction Restore"):
        add_rows(opened, 5, 1)

    assert EmbeddingTable.open(str(tmp_path / "pins")).count_rows() == 4


WIDE = [f"column_{number}" for number in range(20)]
WIDE_SCHEMA = pa.schema([pa.field("key", pa.string()), *(pa.field(name, pa.string()) for name in WIDE)])


def wide(*keys: str) -> pa.Table:
    return pa.Table.from_pylist([{"key": key, **dict.fromkeys(WIDE, key)} for key in keys], schema=WIDE_SCHEMA)


@contextmanager
def files_of_at_most(limit_bytes: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


WRITES: dict[str, Callable[[StoreTable], None]] = {
    "upsert": lambda table: table.upsert_rows(wide("second")),
    "append": lambda table: table.append(wide("second")),
    "replace": lambda table: table.replace(wide("second").to_batches(), purge=True),
}


@pytest.mark.parametrize("limit_bytes", [300, 1500, 2500, 3500])
@pytest.mark.parametrize("way", WRITES)
@pytest.mark.parametrize("held", [["first"], []])
def test_a_commit_whose_file_lost_its_end_is_taken_back(
    tmp_path: Path, limit_bytes: int, way: str, held: list[str]
) -> None:
    address = parse_address(f"{tmp_path}/db/side")
    table = StoreTable(address, WIDE_SCHEMA)
    if held:
        table.append(wide(*held))
    lost = r"cannot be written: .*(File too large|was lost, as on a full disk)"
    with files_of_at_most(limit_bytes), pytest.raises(TableError, match=lost):
        WRITES[way](table)
    again = StoreTable(address, WIDE_SCHEMA)
    assert again.read()["key"].to_pylist() == held
    WRITES[way](again)
    assert again.read()["key"].to_pylist()[-1] == "second"
    assert StoreTable(address, WIDE_SCHEMA).count() == (1 if way == "replace" else 1 + len(held))


def test_what_a_full_disk_cuts_of_joined_pieces_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "KEPT_FOR", timedelta(0))
    address = parse_address(f"{tmp_path}/db/side")
    table = StoreTable(address, WIDE_SCHEMA)
    keys = [f"{number:02}" for number in range(upkeep.COMPACT_FROM_FRAGMENTS)]
    for key in keys:
        table.append(wide(key))
    written = max((tmp_path / "db" / "side.lance" / "data").iterdir(), key=lambda path: path.stat().st_size)
    with files_of_at_most(written.stat().st_size), pytest.raises(TableError, match="cannot be written"):
        table.compact()
    again = StoreTable(address, WIDE_SCHEMA)
    assert sorted(again.read()["key"].to_pylist()) == keys
    assert again.compact()


@pytest.mark.parametrize("error", [OSError("Unable to rename file: no links (os error 95)"), KeyboardInterrupt()])
def test_a_table_that_cannot_be_made_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fail(_: pa.Table, uri: str, **options: Any) -> None:
        Path(uri, "_transactions").mkdir(parents=True)
        raise error

    (tmp_path / "theirs.lance").mkdir()
    (tmp_path / "theirs.lance/notes.txt").touch()
    monkeypatch.setattr(embedding_table, "write_dataset", fail)
    for name in ("pins", "theirs"):
        with pytest.raises((TableError, KeyboardInterrupt)):
            EmbeddingTable.create(str(tmp_path / name), SPEC, SCHEMA)
    assert [path.name for path in tmp_path.iterdir()] == ["theirs.lance"]
    assert (tmp_path / "theirs.lance/notes.txt").is_file()


@pytest.mark.parametrize("reason", ["Operation not permitted (os error 1)", "Too many links (os error 31)"])
def test_a_file_system_without_hard_links_is_named(tmp_path: Path, reason: str) -> None:
    address = parse_address(str(tmp_path / "db/pins"))
    said = f"LanceError(IO): Generic LocalFileSystem error: Unable to rename file: {reason}"
    with pytest.raises(TableError, match="its file system has no hard links") as refused, writing(address):
        raise OSError(said)
    assert refused.value.remedy == "Put it on a local disk, or into an object store."

"""New rows of a source lie on the disk once: the file of the table that holds them is a shard of it."""

from __future__ import annotations

import dataclasses
import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pinembed import EmbeddingSource
from pinembed.jobs.export import export
from pinembed.jobs.verify import verify
from pinembed.settings.source import ExportSettings, VerifySettings
from pinembed.source import table_files
from pinembed.table import fragments
from pinembed.table.embedding_table import EmbeddingTable
from tests.source_material import SPEC, item_ids
from tests.test_source import documented_reader

DIM = 256  # Lance lays narrow vectors out in another form
WIDE = dataclasses.replace(SPEC, dim=DIM)
OLD, NEW, ONE = item_ids(25), ["new-0", "new-1", "new-2"], "one"
ROWS_ND = np.random.default_rng(0).standard_normal((29, DIM)).astype(np.float16)
ALL = dict(zip([*OLD, *NEW, ONE], ROWS_ND, strict=True))
WANTED = {name: ALL[name] for name in (*OLD, *NEW)}


def insert(table: EmbeddingTable, ids: list[str]) -> None:
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.stack([ALL[name] for name in ids]).reshape(-1)), DIM)
    columns = {"id": pa.array(ids), "vector": vectors}
    arrays = [columns.get(field.name, pa.nulls(len(ids), field.type)) for field in table.schema]
    table.dataset.insert(pa.Table.from_arrays(arrays, schema=table.schema))


def one_night(old: str, new: Path, ids: list[str]) -> EmbeddingTable:
    """A clone of a table with more rows."""
    shutil.copytree(Path(old).parent, new / "catalog", copy_function=os.link)
    clone = EmbeddingTable.open(f"{new}/catalog/pins")
    insert(clone, ids)
    return clone


@pytest.fixture
def first(tmp_path: Path) -> tuple[str, Path]:
    table = f"{tmp_path}/catalog/pins"
    insert(EmbeddingTable.create(table, WIDE, pa.schema([]), reference=""), OLD)
    export(ExportSettings(table=table, out=tmp_path / "first"))
    return table, tmp_path / "first"


def second(first: tuple[str, Path], tmp_path: Path) -> Path:
    """The source of a night with three new items."""
    table, base = first
    clone = one_night(table, tmp_path / "night", NEW)
    out = tmp_path / "second"
    export(ExportSettings(table=str(clone.address), out=out, base=base, base_table=table))
    return out


def check(folder: Path, wanted: dict[str, np.ndarray]) -> None:
    assert not verify(VerifySettings(folder=folder)).findings
    look_up = documented_reader()
    with EmbeddingSource.open(folder) as source:
        assert sorted(source.ids) == sorted(wanted)
        np.testing.assert_array_equal(source.get(list(wanted)), np.stack(list(wanted.values())))
        read = {item: row for ids, rows in source.batches(2) for item, row in zip(ids, rows, strict=True)}
    for item, vector in wanted.items():
        np.testing.assert_array_equal(read[item], vector)
        np.testing.assert_array_equal(np.array(look_up(folder, item), np.float16), vector)


def test_the_file_of_new_rows_is_a_shard_under_a_second_name(first: tuple[str, Path], tmp_path: Path) -> None:
    out = second(first, tmp_path)
    check(out, WANTED)
    shard = out / "embeddings-00001.lance"
    assert shard.stat().st_nlink == 2
    assert shard.stat().st_ino in {path.stat().st_ino for path in (tmp_path / "night").rglob("*.lance")}
    assert [path.name for path in out.glob("*.safetensors") if path.stat().st_nlink == 1] == ["ids-00001.safetensors"]


def test_a_later_night_takes_such_a_shard_over(first: tuple[str, Path], tmp_path: Path) -> None:
    out = second(first, tmp_path)
    table = f"{tmp_path}/night/catalog/pins"
    clone = one_night(table, tmp_path / "later", [ONE])
    export(ExportSettings(table=str(clone.address), out=tmp_path / "third", base=out, base_table=table))
    check(tmp_path / "third", ALL)
    assert (tmp_path / "third" / "embeddings-00001.lance").samefile(out / "embeddings-00001.lance")


@pytest.mark.parametrize("condition", ["id = 'new-1'", "id = 'item-0000'"])
def test_rows_that_go_leave_the_others_right(first: tuple[str, Path], tmp_path: Path, condition: str) -> None:
    out = second(first, tmp_path)
    table = f"{tmp_path}/night/catalog/pins"
    clone = one_night(table, tmp_path / "later", [ONE])
    clone.dataset.delete(condition)
    export(ExportSettings(table=str(clone.address), out=tmp_path / "third", base=out, base_table=table))
    gone = condition.split("'")[1]
    check(tmp_path / "third", {name: row for name, row in ALL.items() if name != gone})


def no_links(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(table_files.os, "link", refuse)


def other_form(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lance lays the vectors out otherwise than it does now."""
    monkeypatch.setattr(table_files, "_holds", lambda file, _: False)


def other_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of vectors that Lance packs."""
    monkeypatch.setattr(fragments.Fragments, "_row_bytes", 7)


@pytest.mark.parametrize("make", [no_links, other_form, other_pages])
def test_rows_are_written_where_no_file_of_the_table_can_be_a_shard(
    first: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[pytest.MonkeyPatch], None]
) -> None:
    table, base = first
    clone = one_night(table, tmp_path / "night", NEW)
    make(monkeypatch)
    export(ExportSettings(table=str(clone.address), out=tmp_path / "out", base=base, base_table=table))
    check(tmp_path / "out", WANTED)
    assert not list((tmp_path / "out").glob("*.lance"))


def test_bytes_that_are_no_vectors_are_not_taken_for_them(
    first: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages of the right length at the wrong place: nothing but the comparison tells."""
    found = fragments.Fragments._vector_file

    def moved(self: fragments.Fragments, *args: object) -> fragments.VectorFile | None:
        file = found(self, *args)  # type: ignore[arg-type]
        assert file is not None
        return fragments.VectorFile(path=file.path, first=file.first, rows=file.rows, pages=((0, file.rows),))

    monkeypatch.setattr(fragments.Fragments, "_vector_file", moved)
    check(second(first, tmp_path), WANTED)


def test_verify_finds_what_became_of_such_a_shard(first: tuple[str, Path], tmp_path: Path) -> None:
    out = second(first, tmp_path)
    path = out / "embeddings-00001.lance"
    content = bytearray(path.read_bytes())
    begin = content.index(ALL[NEW[0]].tobytes())
    content[begin : begin + 2] = np.array([np.nan], np.float16).tobytes()
    path.chmod(0o644)
    path.write_bytes(content)
    findings = verify(VerifySettings(folder=out)).findings
    assert [finding.file for finding in findings] == [path.name, path.name]
    assert [finding.problem for finding in findings] == ["checksum", "non_finite"]
    assert "in 1 row(s): 0" in findings[1].detail

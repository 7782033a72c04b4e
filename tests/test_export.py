"""Export: a table's rows as files, in every format, whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pinembed import EmbeddingSource
from pinembed.errors import NonFiniteEmbeddingError, OutputError, OutputExistsError, SourceError
from pinembed.jobs import export as export_job
from pinembed.jobs.export import export
from pinembed.settings.source import ExportSettings
from pinembed.table.embedding_table import EmbeddingTable
from tests.conftest import CliResult
from tests.source_material import DIM, SPEC, embeddings, item_ids

Cli = Callable[..., CliResult]


def make_table(index: Path, ids: list[str] | None = None, vectors: np.ndarray | None = None) -> str:
    """A table of rows with a title and a price."""
    ids = item_ids(25) if ids is None else ids
    vectors = embeddings(len(ids)) if vectors is None else vectors
    table = f"{index}/catalog/pins"
    opened = EmbeddingTable.create(table, SPEC, pa.schema([("title", pa.string()), ("price", pa.float64())]))
    schema = opened.schema
    columns = {
        "id": pa.array(ids, pa.string()),
        "title": pa.array([f"Item {item_id}" for item_id in ids]),
        "price": pa.array([float(index) for index in range(len(ids))]),
        "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1), pa.float16()), DIM),
    }
    arrays = [columns.get(field.name, pa.nulls(len(ids), field.type)) for field in schema]
    if ids:
        opened.lance.add(pa.Table.from_arrays(arrays, schema=schema))
    return table


@pytest.fixture
def table(tmp_path: Path) -> str:
    return make_table(tmp_path)


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_export_writes_a_source_that_gives_the_tables_rows(cli: Cli, table: str, tmp_path: Path) -> None:
    done = cli("export", "--table", table, "--out", tmp_path / "source", "--json")
    assert done.exit_code == 0
    report = done.json
    assert (report["items"], report["dim"], report["shards"], report["format"]) == (25, DIM, 1, "source")
    assert report["fingerprint"] == SPEC.fingerprint
    assert report["size_bytes"] == sum(
        (tmp_path / "source" / name).stat().st_size
        for name in ("embeddings-00000.safetensors", "ids-00000.safetensors")
    )
    source = EmbeddingSource.open(tmp_path / "source")
    assert source.spec == SPEC
    np.testing.assert_array_equal(source.get(item_ids(25)), embeddings(25))
    assert "25 items x 8 floats as source in 1 file(s)" in done.stderr


def test_export_twice_gives_the_same_bytes(table: str, tmp_path: Path) -> None:
    for format in ("source", "npy", "parquet"):
        for name in ("a", "b"):
            export(ExportSettings(table=table, out=tmp_path / f"{format}-{name}", format=format))
        for path in (tmp_path / f"{format}-a").iterdir():
            assert path.read_bytes() == (tmp_path / f"{format}-b" / path.name).read_bytes(), path.name


def test_export_npy_is_read_without_pickles(table: str, tmp_path: Path) -> None:
    export(ExportSettings(table=table, out=tmp_path / "npy", format="npy"))
    np.testing.assert_array_equal(np.load(tmp_path / "npy" / "vectors.npy", allow_pickle=False), embeddings(25))
    lines = (tmp_path / "npy" / "ids.jsonl").read_text().split("\n")
    assert [json.loads(line) for line in lines[:-1]] == item_ids(25)


def test_export_npy_keeps_ids_with_line_breaks(tmp_path: Path) -> None:
    ids = ["a\nb", 'quo"te', "\u2028", "日本"]
    export(ExportSettings(table=make_table(tmp_path, ids), out=tmp_path / "npy", format="npy"))
    with (tmp_path / "npy" / "ids.jsonl").open("rb") as file:
        assert [json.loads(line) for line in file] == ids


def test_export_parquet_keeps_ids_vectors_and_metadata(table: str, tmp_path: Path) -> None:
    export(ExportSettings(table=table, out=tmp_path / "parquet", format="parquet"))
    file = pq.ParquetFile(tmp_path / "parquet" / "embeddings-00000.parquet")
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"
    read = file.read()
    assert read.schema.equals(EmbeddingTable.open(table).schema)
    assert read.schema.metadata[b"pinembed.fingerprint"].decode() == SPEC.fingerprint
    assert read["id"].to_pylist() == item_ids(25)
    assert read["title"][3].as_py() == "Item item-0003"
    vectors = read["vector"].combine_chunks().flatten().to_numpy().reshape(-1, DIM)
    np.testing.assert_array_equal(vectors, embeddings(25))


@pytest.mark.parametrize(("format", "suffix"), [("source", "safetensors"), ("parquet", "parquet")])
def test_export_cuts_shards_where_it_is_told(tmp_path: Path, format: str, suffix: str) -> None:
    count = (1 << 20) // (2 * DIM) + 1000  # one MiB of embeddings and a little
    table = make_table(tmp_path, item_ids(count), embeddings(count))
    report = export(ExportSettings(table=table, out=tmp_path / "out", format=format, shard_mib=1))
    assert report.shards == 2
    assert [name for name in names(tmp_path / "out") if name.startswith("embeddings")] == [
        f"embeddings-00000.{suffix}",
        f"embeddings-00001.{suffix}",
    ]
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert [shard["rows"] for shard in manifest["shards"]] == [65_536, 1000]


@pytest.mark.parametrize("format", ["source", "npy", "parquet"])
def test_export_refuses_rows_that_are_not_finite(tmp_path: Path, format: str) -> None:
    vectors = embeddings(25)
    vectors[7, 1] = np.inf  # LanceDB itself refuses NaN
    table = make_table(tmp_path, vectors=vectors)
    with pytest.raises(NonFiniteEmbeddingError, match=r"1 embedding\(s\) hold NaN or inf: item\(s\) 'item-0007'"):
        export(ExportSettings(table=table, out=tmp_path / "out", format=format))
    assert names(tmp_path) == ["catalog"]


@pytest.mark.parametrize("format", ["source", "npy", "parquet"])
def test_export_refuses_an_empty_table(tmp_path: Path, format: str) -> None:
    with pytest.raises(SourceError, match="There are no rows to export"):
        export(ExportSettings(table=make_table(tmp_path, []), out=tmp_path / "out", format=format))
    assert names(tmp_path) == ["catalog"]


def test_export_refuses_duplicate_ids(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"1 item id\(s\) occur more than once: 'item-0001'"):
        export(ExportSettings(table=make_table(tmp_path, [*item_ids(5), "item-0001"]), out=tmp_path / "out"))


def test_export_refuses_a_folder_that_exists(cli: Cli, table: str, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    for flags in ([], ["--overwrite"]):
        done = cli("export", "--table", table, "--out", tmp_path / "out", *flags)
        assert done.exit_code == 1
    assert "did not write: notes.txt" in done.words
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"


def test_export_replaces_its_own_folder_with_overwrite(table: str, tmp_path: Path) -> None:
    export(ExportSettings(table=table, out=tmp_path / "out", format="npy"))
    with pytest.raises(OutputExistsError):
        export(ExportSettings(table=table, out=tmp_path / "out"))
    export(ExportSettings(table=table, out=tmp_path / "out", overwrite=True))
    assert len(EmbeddingSource.open(tmp_path / "out")) == 25
    assert "vectors.npy" not in names(tmp_path / "out")


def test_export_refuses_an_unknown_format_and_a_missing_table(cli: Cli, table: str, tmp_path: Path) -> None:
    unknown = cli("export", "--table", table, "--out", tmp_path / "out", "--format", "pickle")
    assert unknown.exit_code == 2
    assert "--format pickle is unknown; wanted source, parquet, npy, vllm or sglang" in unknown.words
    missing = cli("export", "--table", f"{tmp_path}/catalog/other", "--out", tmp_path / "out")
    assert missing.exit_code == 1
    assert "There is no table" in missing.words
    assert names(tmp_path) == ["catalog"]


def run_export(table: str, out: Path, prelude: str) -> subprocess.CompletedProcess[str]:
    """Export in a process of its own, after some preparing code."""
    code = f"{prelude}\nimport sys\nfrom pinembed.cli.main import main\n"
    code += f"sys.argv = ['pinembed', 'export', '--table', {table!r}, '--out', {str(out)!r}]\nmain()"
    return subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)


DIE_AT_THE_INDEX = """
import os, signal
from pinembed.source import index_writer
def die(self):
    os.kill(os.getpid(), signal.{signal})
    signal.pause()
index_writer.IndexWriter.finish = die
"""


@pytest.mark.parametrize(("number", "left"), [(signal.SIGTERM, 0), (signal.SIGINT, 0), (signal.SIGKILL, 1)])
def test_export_that_is_killed_half_way_leaves_no_folder(
    table: str, tmp_path: Path, number: signal.Signals, left: int
) -> None:
    killed = run_export(table, tmp_path / "out", DIE_AT_THE_INDEX.format(signal=number.name))
    assert killed.returncode == (-number if number == signal.SIGKILL else 128 + number)
    assert "Traceback" not in killed.stderr
    assert [name.startswith(".out.partial-") for name in names(tmp_path) if name != "catalog"] == [True] * left
    export(ExportSettings(table=table, out=tmp_path / "out"))
    assert names(tmp_path) == ["catalog", "out"]


def test_export_to_a_full_disk_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    count = 20_000
    table = make_table(tmp_path, item_ids(count), embeddings(count))
    limit = "import resource, signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    limit += "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))"
    full = run_export(table, tmp_path / "out", limit)
    assert full.returncode == 1
    assert "out could not be written: File too large." in " ".join(full.stderr.split())
    assert "Free disk space" in full.stderr
    assert names(tmp_path) == ["catalog"]


def test_export_of_parquet_to_a_full_disk_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pq.ParquetWriter, "write_batch", full)
    with pytest.raises(OutputError, match="No space left on device"):
        export(ExportSettings(table=make_table(tmp_path), out=tmp_path / "out", format="parquet"))
    assert names(tmp_path) == ["catalog"]


def test_export_twice_at_once_leaves_one_whole_folder(table: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pinembed", "export", "--table", table, "--out", str(tmp_path / "out")]
    running = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    ended = [(process.communicate()[1], process.returncode) for process in running]
    assert sorted(code for _, code in ended) == [0, 1]
    assert "exists and holds" in "".join(words for words, _ in ended)
    assert len(EmbeddingSource.open(tmp_path / "out")) == 25
    assert names(tmp_path) == ["catalog", "out"]


def test_what_lies_in_the_same_files_of_a_clone_is_not_read_again(
    table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = EmbeddingTable.open(table)
    old.dataset.insert(old.dataset.to_table().slice(0, 1).set_column(0, "id", pa.array(["other"])))
    export(ExportSettings(table=table, out=tmp_path / "first"))
    shutil.copytree(tmp_path / "catalog", tmp_path / "clone")
    clone = EmbeddingTable.open(f"{tmp_path}/clone/pins")
    rows = clone.dataset.to_table()
    clone.dataset.insert(rows.slice(1, 2).set_column(0, rows.schema.field(0), pa.array(["new-1", "new-2"])))
    clone.dataset.delete("id = 'other'")
    read: list[str] = []
    rows_of = export_job.rows_of_batch
    monkeypatch.setattr(export_job, "rows_of_batch", lambda b: read.extend(b["id"].to_pylist()) or rows_of(b))
    settings = ExportSettings(
        table=f"{tmp_path}/clone/pins", out=tmp_path / "second", base=tmp_path / "first", base_table=table
    )
    export(settings)
    assert read == ["new-1", "new-2"]
    source = EmbeddingSource.open(tmp_path / "second")
    assert sorted(source.ids) == sorted([*item_ids(25), "new-1", "new-2"])
    np.testing.assert_array_equal(source.get(item_ids(25)), embeddings(25))
    np.testing.assert_array_equal(source.get(["new-1", "new-2"]), embeddings(25)[1:3])


@pytest.mark.parametrize("lacking", ["item", "another"])
def test_a_base_that_is_not_of_its_table_is_compared_row_by_row(table: str, tmp_path: Path, lacking: str) -> None:
    """A source with one row less than the table that is said to have made it, in a file that stays or one that goes."""
    other = make_table(tmp_path / "other", ids=item_ids(25)[1:], vectors=embeddings(25)[1:])
    export(ExportSettings(table=other, out=tmp_path / "first"))
    shutil.copytree(tmp_path / "catalog", tmp_path / "clone")
    clone = EmbeddingTable.open(f"{tmp_path}/clone/pins")
    if lacking == "another":
        clone.dataset.delete(f"id = '{item_ids(25)[-1]}'")
    export(
        ExportSettings(
            table=f"{tmp_path}/clone/pins", out=tmp_path / "second", base=tmp_path / "first", base_table=table
        )
    )
    source = EmbeddingSource.open(tmp_path / "second")
    assert sorted(source.ids) == item_ids(25)[: None if lacking == "item" else -1]

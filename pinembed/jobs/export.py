"""Export: an embedding table to a read-only folder that needs no database to be read."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from pinembed.errors import UsageError
from pinembed.nouns.export_report import ExportReport
from pinembed.nouns.manifest import Manifest
from pinembed.nouns.progress import SILENT, Progress
from pinembed.outfolder import check_output, staged_folder
from pinembed.source.npy import write_npy
from pinembed.source.parquet import write_parquet
from pinembed.source.rows import rows_of_batch
from pinembed.source.writer import write_source
from pinembed.table.embedding_table import EmbeddingTable

FORMATS = ("source", "parquet", "npy")
SHARD_MIB = 256
BATCH_ROWS = 8192
PARQUET_GROUP_ROWS = 32_768


def export_table(
    *,
    table: str,
    out: Path,
    format: str = "source",
    shard_mib: int = SHARD_MIB,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> ExportReport:
    """Write all rows of a table, in the table's order; the same version of a table gives the same bytes.

    Args:
        table: DATABASE/NAME.
        out: folder to write; it appears when it is whole.
        format: `source` (for `ask`, `align` and `EmbeddingSource`), `parquet` (all columns) or `npy`.
        shard_mib: bound on the embeddings of one file; npy is always one file.
        overwrite: replace an `out` that pinembed wrote.
        progress: told the rows.

    Raises:
        UsageError: an unknown format.
        TableError: the table is missing or cannot be read.
        SourceError: no rows, duplicate ids.
        NonFiniteEmbeddingError: a row holds NaN or inf.
        OutputExistsError, OutputError: as for `staged_folder`.
    """
    began = time.perf_counter()
    if format not in FORMATS:
        raise UsageError(
            f"--format {format!r} is unknown; wanted one of {', '.join(FORMATS)}.", remedy="Give one of them."
        )
    check_output(out, overwrite=overwrite)
    opened = EmbeddingTable.open(table)
    with staged_folder(out, kind=f"export ({format})", overwrite=overwrite) as folder:
        progress.start("exporting", opened.count_rows(), "items")
        manifest = _write(opened, folder, format, shard_bytes=shard_mib << 20, progress=progress)
        progress.finish()
    return ExportReport(
        out=out,
        format=format,
        items=manifest.count,
        dim=manifest.dim,
        shards=len(manifest.shards),
        size_bytes=manifest.size_bytes,
        fingerprint=manifest.encoder.fingerprint,
        seconds=time.perf_counter() - began,
    )


def _write(table: EmbeddingTable, folder: Path, format: str, *, shard_bytes: int, progress: Progress) -> Manifest:
    count = table.count_rows()
    if format == "parquet":
        batches = _counted(table, table.schema.names, PARQUET_GROUP_ROWS, progress)
        return write_parquet(folder, table.spec, batches, schema=table.schema, count=count, shard_bytes=shard_bytes)
    rows = map(rows_of_batch, _counted(table, ("id", "vector"), BATCH_ROWS, progress))
    if format == "npy":
        return write_npy(folder, table.spec, rows, count=count)
    return write_source(folder, table.spec, rows, count=count, shard_bytes=shard_bytes)


def _counted(
    table: EmbeddingTable, columns: Sequence[str], batch_rows: int, progress: Progress
) -> Iterator[pa.RecordBatch]:
    for batch in table.batches(columns, batch_rows):
        yield batch
        progress.advance(batch.num_rows)

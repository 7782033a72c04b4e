"""Export: an embedding table to a read-only folder that needs no database to be read."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from pinembed.errors import UsageError
from pinembed.nouns.manifest import SGLANG_FORMAT, VLLM_FORMAT, Manifest
from pinembed.nouns.progress import SILENT, Progress
from pinembed.outfolder import check_output, staged_folder
from pinembed.reports.source import ExportReport
from pinembed.source.formats import Lines, write_json_lines, write_npy, write_parquet
from pinembed.source.rows import Floats, rows_of_batch
from pinembed.source.writer import write_source
from pinembed.table.embedding_table import EmbeddingTable
from pinembed.table.schema import IMAGE_VECTOR

PLAIN_FORMATS = ("source", "parquet", "npy")
SERVING_FORMATS = {"vllm": VLLM_FORMAT, "sglang": SGLANG_FORMAT}
FORMATS = (*PLAIN_FORMATS, *SERVING_FORMATS)
SOURCE_DTYPES = {"fp16": "float16", "fp32": "float32"}
SHARD_MIB = 256
BATCH_ROWS = 8192
PARQUET_GROUP_ROWS = 32_768
SERVING_BATCH_ROWS = 256  # a row becomes K tokens of the language model's width


def export(
    *,
    table: str,
    out: Path,
    format: str = "source",
    model: Path | None = None,
    tokens: int | None = None,
    deepstack_levels: int = 0,
    shard_mib: int = SHARD_MIB,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> ExportReport:
    """Write all rows of a table, in the table's order; the same version of a table gives the same bytes.

    Args:
        table: DATABASE/NAME.
        out: folder to write; it appears when it is whole.
        format: `source` (for `ask`, `align` and `EmbeddingSource`), `parquet` (all columns), `npy`, or the request
            parts of a server, `vllm` or `sglang`.
        model: folder that `align` wrote; for the servers' formats.
        tokens: soft tokens an item in the servers' formats; None for the projector's K.
        deepstack_levels: of the tower that the server has loaded; 0 for a trimmed checkpoint or no tower.
        shard_mib: bound on one file; npy is always one file.
        overwrite: replace an `out` that pinembed wrote.
        progress: told the rows.

    Raises:
        UsageError: an unknown format, or options that do not go with it.
        TableError: the table is missing or cannot be read.
        SourceError: no rows, duplicate ids.
        NonFiniteEmbeddingError: a row holds NaN or inf.
        ModelError, EncoderMismatchError: the model has no projector, or one for another encoder.
        OutputExistsError, OutputError: as for `staged_folder`.
    """
    began = time.perf_counter()
    _check_options(format, model=model, has_sizes=tokens is not None or deepstack_levels != 0)
    check_output(out, overwrite=overwrite)
    opened = EmbeddingTable.open(table)
    lines_of = None if model is None else _lines_of(opened, model, tokens, deepstack_levels, format)
    with staged_folder(out, kind=f"export ({format})", overwrite=overwrite) as folder:
        progress.start("exporting", opened.count_rows(), "items")
        manifest = _write(opened, folder, format, lines_of, shard_bytes=shard_mib << 20, progress=progress)
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


def _check_options(format: str, *, model: Path | None, has_sizes: bool) -> None:
    if format not in FORMATS:
        raise UsageError(
            f"--format {format!r} is unknown; wanted one of {', '.join(FORMATS)}.", remedy="Give one of them."
        )
    if format in SERVING_FORMATS and model is None:
        raise UsageError(
            f"--format {format} needs the projector of a model folder, and there is no --model.",
            remedy="Give --model DIR, a folder that `pinembed align` wrote.",
        )
    if format in PLAIN_FORMATS and (model is not None or has_sizes):
        raise UsageError(
            f"--format {format} holds embeddings, not soft tokens; --model, --tokens and --deepstack-levels do not "
            "go with it.",
            remedy=f"Leave them out, or give --format {' or '.join(SERVING_FORMATS)}.",
        )


def _lines_of(table: EmbeddingTable, model: Path, tokens: int | None, deepstack_levels: int, format: str) -> Lines:
    """How a batch of rows becomes lines for a server."""
    from pinembed.trimmed.soft_tokens import SoftTokenMaker, json_line, sglang_line, vllm_part

    maker = SoftTokenMaker.load(model, tokens=tokens, deepstack_levels=deepstack_levels)
    fingerprint = table.spec.fingerprint
    maker.projector.check_source(fingerprint, origin=f"Table {table.address}")

    def lines_of(ids: Sequence[str], embedding_ND: Floats) -> Iterator[bytes]:
        for item_id, soft_mW in zip(ids, maker.make(embedding_ND), strict=True):
            if format == "vllm":
                yield json_line(item_id, {"part": vllm_part(soft_mW, maker.uuid(item_id, fingerprint))})
            else:
                yield json_line(item_id, {"entry": sglang_line(soft_mW)})

    return lines_of


def _write(
    table: EmbeddingTable, folder: Path, format: str, lines_of: Lines | None, *, shard_bytes: int, progress: Progress
) -> Manifest:
    count = table.count_rows()
    if format == "parquet":
        kept = [field for field in table.schema if field.name != IMAGE_VECTOR]  # a part of the vector, not of the item
        schema = pa.schema(kept, metadata=table.schema.metadata)
        batches = _counted(table, schema.names, PARQUET_GROUP_ROWS, progress)
        return write_parquet(folder, table.spec, batches, schema=schema, count=count, shard_bytes=shard_bytes)
    dtype = SOURCE_DTYPES[table.dtype]
    batch_rows = BATCH_ROWS if lines_of is None else SERVING_BATCH_ROWS
    rows = map(rows_of_batch, _counted(table, ("id", "vector"), batch_rows, progress))
    if lines_of is not None:
        return write_json_lines(
            folder,
            table.spec,
            rows,
            format=SERVING_FORMATS[format],
            lines_of=lines_of,
            count=count,
            dtype=dtype,
            shard_bytes=shard_bytes,
        )
    if format == "npy":
        return write_npy(folder, table.spec, rows, count=count, dtype=dtype)
    return write_source(folder, table.spec, rows, count=count, dtype=dtype, shard_bytes=shard_bytes)


def _counted(
    table: EmbeddingTable, columns: Sequence[str], batch_rows: int, progress: Progress
) -> Iterator[pa.RecordBatch]:
    for batch in table.batches(columns, batch_rows):
        yield batch
        progress.advance(batch.num_rows)

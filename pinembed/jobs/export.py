"""Export: an embedding table to a read-only folder that needs no database to be read."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from pinembed.errors import SourceError
from pinembed.flags.hidden import HiddenRows, hidden_rows
from pinembed.nouns.manifest import SGLANG_FORMAT, VLLM_FORMAT, Manifest
from pinembed.nouns.progress import SILENT, Progress
from pinembed.outfolder import check_output, staged_folder
from pinembed.reports.source import ExportReport
from pinembed.settings.source import ExportSettings
from pinembed.source.continued import continue_source, standing_without
from pinembed.source.embedding_source import EmbeddingSource
from pinembed.source.formats import Lines, write_json_lines, write_npy, write_parquet
from pinembed.source.manifest_file import rewrite_manifest
from pinembed.source.rows import Floats, Rows, rows_of_batch
from pinembed.source.writer import write_source
from pinembed.table.embedding_table import EmbeddingTable
from pinembed.table.fragments import differing
from pinembed.table.schema import IMAGE_VECTOR

SERVING_MANIFESTS = {"vllm": VLLM_FORMAT, "sglang": SGLANG_FORMAT}
SOURCE_DTYPES = {"fp16": "float16", "fp32": "float32"}
BATCH_ROWS = 8192
PARQUET_GROUP_ROWS = 32_768
SERVING_BATCH_ROWS = 256  # a row becomes K tokens of the language model's width


def export(settings: ExportSettings, *, progress: Progress = SILENT) -> ExportReport:
    """Write all rows of a table, in the table's order; the same version of a table gives the same bytes.

    Raises:
        TableError: the table is missing or cannot be read.
        SourceError: no rows, duplicate ids.
        NonFiniteEmbeddingError: a row holds NaN or inf.
        ModelError, EncoderMismatchError: the model has no projector, or one for another encoder.
        OutputExistsError, OutputError: as for `staged_folder`.
    """
    began = time.perf_counter()
    check_output(settings.out, overwrite=settings.overwrite)
    opened = EmbeddingTable.open(settings.table, generation=settings.generation)
    lines_of = None if settings.model is None else _lines_of(opened, settings.model, settings)
    hidden = hidden_rows(opened, settings.hide) if settings.hide else None
    with staged_folder(settings.out, kind=f"export ({settings.format})", overwrite=settings.overwrite) as folder:
        progress.start("exporting", opened.count_rows(), "items")
        manifest = _write(opened, folder, settings, lines_of, hidden, progress)
        if hidden is not None:
            manifest = rewrite_manifest(folder, dataclasses.replace(manifest, hidden=hidden.told))
        progress.finish()
    return ExportReport(
        out=settings.out,
        format=settings.format,
        items=manifest.count,
        dim=manifest.dim,
        shards=len(manifest.shards),
        size_bytes=manifest.size_bytes,
        fingerprint=manifest.encoder.fingerprint,
        hidden=0 if hidden is None else len(hidden.ids),
        seconds=time.perf_counter() - began,
    )


def _lines_of(table: EmbeddingTable, model: Path, settings: ExportSettings) -> Lines:
    """How a batch of rows becomes lines for a server."""
    from pinembed.trimmed.soft_tokens import SoftTokenMaker, json_line, sglang_line, vllm_part

    maker = SoftTokenMaker.load(model, tokens=settings.tokens, deepstack_levels=settings.deepstack_levels)
    fingerprint = table.spec.fingerprint
    maker.projector.check_source(fingerprint, origin=f"Table {table.address}")

    def lines_of(ids: Sequence[str], embedding_ND: Floats) -> Iterator[bytes]:
        for item_id, soft_mW in zip(ids, maker.make(embedding_ND), strict=True):
            if settings.format == "vllm":
                yield json_line(item_id, {"part": vllm_part(soft_mW, maker.uuid(item_id, fingerprint))})
            else:
                yield json_line(item_id, {"entry": sglang_line(soft_mW)})

    return lines_of


def _write(
    table: EmbeddingTable,
    folder: Path,
    settings: ExportSettings,
    lines_of: Lines | None,
    hidden: HiddenRows | None,
    progress: Progress,
) -> Manifest:
    left_out: frozenset[str] = frozenset() if hidden is None else hidden.ids
    count = table.count_rows() - len(left_out)
    format, shard_bytes = settings.format, settings.shard_mib << 20
    if format == "parquet":
        kept = [field for field in table.schema if field.name != IMAGE_VECTOR]  # a part of the vector, not of the item
        schema = pa.schema(kept, metadata=table.schema.metadata)
        batches = _counted(table, schema.names, PARQUET_GROUP_ROWS, left_out, progress)
        return write_parquet(folder, table.spec, batches, schema=schema, count=count, shard_bytes=shard_bytes)
    dtype = SOURCE_DTYPES[table.dtype]
    batch_rows = BATCH_ROWS if lines_of is None else SERVING_BATCH_ROWS

    def rows() -> Iterator[Rows]:
        return map(rows_of_batch, _counted(table, ("id", "vector"), batch_rows, left_out, progress))

    if lines_of is not None:
        return write_json_lines(
            folder,
            table.spec,
            rows(),
            format=SERVING_MANIFESTS[format],
            lines_of=lines_of,
            count=count,
            dtype=dtype,
            shard_bytes=shard_bytes,
        )
    if format == "npy":
        return write_npy(folder, table.spec, rows(), count=count, dtype=dtype)
    base = None if settings.base is None else _base(settings.base, table, dtype)
    if base is not None:
        with base:
            continued = _continued(folder, base, table, settings, rows, count, left_out)
        if continued is not None:
            return continued
    return write_source(folder, table.spec, rows(), count=count, dtype=dtype, shard_bytes=shard_bytes)


def _continued(
    folder: Path,
    base: EmbeddingSource,
    table: EmbeddingTable,
    settings: ExportSettings,
    rows: Callable[[], Iterator[Rows]],
    count: int,
    left_out: Collection[str],
) -> Manifest | None:
    """The source as it goes on from an earlier one; only what the table has in other files than then is read."""
    shard_bytes = settings.shard_mib << 20
    if settings.base_table is not None and not left_out and base.manifest.hidden is None:
        gone, come = differing(EmbeddingTable.open(settings.base_table), table)
        ids = (batch["id"].to_pylist() for batch in gone.batches(["id"], BATCH_ROWS))
        standing = standing_without(base, ids, come)
        if standing is not None and int(standing.same_N.sum()) + come.rows == count:
            some = map(rows_of_batch, come.batches(("id", "vector"), BATCH_ROWS))
            return continue_source(folder, base, some, count=count, shard_bytes=shard_bytes, standing=standing)
    return continue_source(folder, base, rows(), count=count, shard_bytes=shard_bytes)


def _base(folder: Path, table: EmbeddingTable, dtype: str) -> EmbeddingSource | None:
    """The earlier source; None where it holds vectors of another kind, or cannot be read."""
    try:
        base = EmbeddingSource.open(folder)
    except SourceError:
        return None
    return base if (base.spec.fingerprint, base.dtype) == (table.spec.fingerprint, dtype) else None


def _counted(
    table: EmbeddingTable, columns: Sequence[str], batch_rows: int, left_out: Collection[str], progress: Progress
) -> Iterator[pa.RecordBatch]:
    for batch in table.batches(columns, batch_rows):
        kept = batch
        if left_out:
            kept = batch.filter(pa.array([item_id not in left_out for item_id in batch["id"].to_pylist()]))
        if kept.num_rows:
            yield kept
        progress.advance(batch.num_rows)

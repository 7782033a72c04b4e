"""The table as Parquet with all its columns, for engines that scan and join."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pinembed.nouns.encoder_spec import EncoderSpec
from pinembed.nouns.manifest import FLOAT_BYTES, PARQUET_FORMAT, Manifest, ManifestFile
from pinembed.source.hashed_file import hash_file
from pinembed.source.manifest_file import write_manifest
from pinembed.source.rows import Rows, checked_rows, refuse_no_rows, rows_of_batch


def write_parquet(
    folder: Path,
    spec: EncoderSpec,
    batches: Iterable[pa.RecordBatch],
    *,
    schema: pa.Schema,
    count: int,
    shard_bytes: int,
) -> Manifest:
    """Write zstd-compressed files; their schema keeps the encoder's identity.

    Args:
        folder: exists and is empty.
        spec: identity of the encoder that made the embeddings.
        batches: of the table; each becomes a row group.
        schema: of every batch; with the columns `id` and `vector`.
        count: N.
        shard_bytes: bound on the embeddings of one file, before compression.

    Raises:
        SourceError: no rows, or another shape, type or number than announced.
        NonFiniteEmbeddingError: a row holds NaN or inf.
        OSError: the disk is full.
    """
    refuse_no_rows(count)
    # Lance gives the metadata in any order; the same table shall give the same bytes
    schema = schema.with_metadata(dict(sorted((schema.metadata or {}).items())))
    dtype = str(np.dtype(schema.field("vector").type.value_type.to_pandas_dtype()))
    files = _Files(folder, schema, rows_per_file=max(1, shard_bytes // (FLOAT_BYTES[dtype] * spec.dim)))
    waiting: list[pa.RecordBatch] = []

    def rows() -> Iterator[Rows]:
        for batch in batches:
            waiting.append(batch)
            yield rows_of_batch(batch)

    for _ in checked_rows(rows(), dim=spec.dim, dtype=dtype, count=count):
        files.add(waiting.pop())
    files.end()
    manifest = Manifest(
        format=PARQUET_FORMAT,
        encoder=spec,
        count=count,
        dim=spec.dim,
        dtype=dtype,
        shards=tuple(files.entries),
        index=None,
    )
    write_manifest(folder, manifest)
    return manifest


class _Files:
    """Cuts the stream of batches into files of equally many rows."""

    def __init__(self, folder: Path, schema: pa.Schema, *, rows_per_file: int) -> None:
        self.entries: list[ManifestFile] = []
        self._folder, self._schema, self._rows_per_file = folder, schema, rows_per_file
        # No float occurs twice, and none is searched for: without these two the vectors are written 2.5 times faster.
        self._worded = [name for name in schema.names if name != "vector"]
        self._writer: pq.ParquetWriter | None = None
        self._path = folder
        self._rows = 0

    def add(self, batch: pa.RecordBatch) -> None:
        while batch.num_rows:
            if self._writer is None:
                self._path = self._folder / f"embeddings-{len(self.entries):05d}.parquet"
                self._writer = pq.ParquetWriter(
                    self._path,
                    self._schema,
                    compression="zstd",
                    use_dictionary=self._worded,
                    write_statistics=self._worded,
                )
            part = batch.slice(0, self._rows_per_file - self._rows)
            self._writer.write_batch(part)
            self._rows += part.num_rows
            batch = batch.slice(part.num_rows)
            if self._rows == self._rows_per_file:
                self.end()

    def end(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self.entries.append(hash_file(self._path, rows=self._rows))
            self._writer, self._rows = None, 0

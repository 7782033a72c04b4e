"""The other forms of an export: JSON lines for vLLM and SGLang, .npy, and Parquet."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pinembed.nouns.encoder_spec import EncoderSpec
from pinembed.nouns.manifest import DTYPE, FLOAT_BYTES, NPY_FORMAT, PARQUET_FORMAT, Manifest, ManifestFile
from pinembed.source.hashed_file import HashedFile, WriteThread, hash_file
from pinembed.source.manifest_file import write_manifest
from pinembed.source.rows import Floats, Rows, checked_rows, refuse_no_rows, rows_of_batch

Lines = Callable[[Sequence[str], Floats], Iterator[bytes]]


def write_json_lines(
    folder: Path,
    spec: EncoderSpec,
    batches: Iterable[Rows],
    *,
    format: str,
    lines_of: Lines,
    count: int,
    dtype: str = DTYPE,
    shard_bytes: int,
) -> Manifest:
    """Write parts-NNNNN.jsonl, one line an item in the order of the rows.

    Args:
        folder: exists and is empty.
        spec: identity of the encoder that made the embeddings.
        batches: ids and (n, D) embeddings.
        format: of the manifest.
        lines_of: a line for each row of a batch, with its line break.
        count: N.
        dtype: of the embeddings, `float16` or `float32`.
        shard_bytes: a file ends with the line that reaches this length.

    Raises:
        SourceError: no rows, or another shape, type or number than announced.
        NonFiniteEmbeddingError: a row holds NaN or inf.
        OSError: the disk is full.
    """
    refuse_no_rows(count)
    with WriteThread() as thread:
        files = _Files(folder, thread, shard_bytes)
        for ids, embedding_ND in checked_rows(batches, dim=spec.dim, dtype=dtype, count=count):
            for line in lines_of(ids, embedding_ND):
                files.add(line)
        shards = files.finish()
    manifest = Manifest(format=format, encoder=spec, count=count, dim=spec.dim, dtype=dtype, shards=shards)
    return write_manifest(folder, manifest)


class _Files:
    """Cuts the stream of lines into files; a file ends with the line that reaches the bound."""

    def __init__(self, folder: Path, thread: WriteThread, shard_bytes: int) -> None:
        self._folder, self._thread, self._shard_bytes = folder, thread, shard_bytes
        self._files: list[HashedFile] = []
        self._rows: list[int] = []
        self._left_bytes = 0

    def add(self, line: bytes) -> None:
        if self._left_bytes <= 0:
            self._start()
        self._thread.write(self._files[-1], line)
        self._rows[-1] += 1
        self._left_bytes -= len(line)

    def finish(self) -> tuple[ManifestFile, ...]:
        self._thread.end(self._files[-1])
        self._thread.wait()
        return tuple(file.entry(rows) for file, rows in zip(self._files, self._rows, strict=True))

    def _start(self) -> None:
        if self._files:
            self._thread.end(self._files[-1])
        self._files.append(self._thread.open(self._folder / f"parts-{len(self._files):05d}.jsonl"))
        self._rows.append(0)
        self._left_bytes = self._shard_bytes


VECTORS_FILE = "vectors.npy"
IDS_FILE = "ids.jsonl"


def write_npy(folder: Path, spec: EncoderSpec, batches: Iterable[Rows], *, count: int, dtype: str = DTYPE) -> Manifest:
    """Write vectors.npy, (N, D), and ids.jsonl, whose line i is the id of row i as a JSON string.

    JSON keeps an id that holds a line break on one line, and unlike an npy of strings it needs no pickle.
    The arguments and errors are those of `write_json_lines`.
    """
    refuse_no_rows(count)
    with WriteThread() as thread:
        vectors, ids = thread.open(folder / VECTORS_FILE), thread.open(folder / IDS_FILE)
        thread.write(vectors, npy_header(count, spec.dim, dtype))
        for batch_ids, embedding_ND in checked_rows(batches, dim=spec.dim, dtype=dtype, count=count):
            thread.write(vectors, embedding_ND)
            lines = "".join(json.dumps(item_id, ensure_ascii=False) + "\n" for item_id in batch_ids)
            thread.write(ids, lines.encode())
        for file in (vectors, ids):
            thread.end(file)
        thread.wait()
        shards, index = (vectors.entry(count),), (ids.entry(count),)
    manifest = Manifest(
        format=NPY_FORMAT, encoder=spec, count=count, dim=spec.dim, dtype=dtype, shards=shards, index=index
    )
    return write_manifest(folder, manifest)


def npy_header(rows: int, dim: int, dtype: str) -> bytes:
    """The start of an npy file of (rows, dim)."""
    start = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        start, {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": (rows, dim)}
    )
    return start.getvalue()


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
        SourceError, NonFiniteEmbeddingError, OSError: as for `write_json_lines`.
    """
    refuse_no_rows(count)
    # Lance gives the metadata in any order; the same table shall give the same bytes
    schema = schema.with_metadata(dict(sorted((schema.metadata or {}).items())))
    dtype = str(np.dtype(schema.field("vector").type.value_type.to_pandas_dtype()))
    files = _ParquetFiles(folder, schema, rows_per_file=max(1, shard_bytes // (FLOAT_BYTES[dtype] * spec.dim)))
    waiting: list[pa.RecordBatch] = []

    def rows() -> Iterator[Rows]:
        for batch in batches:
            waiting.append(batch)
            yield rows_of_batch(batch)

    for _ in checked_rows(rows(), dim=spec.dim, dtype=dtype, count=count):
        files.add(waiting.pop())
    files.end()
    shards = tuple(files.entries)
    manifest = Manifest(format=PARQUET_FORMAT, encoder=spec, count=count, dim=spec.dim, dtype=dtype, shards=shards)
    return write_manifest(folder, manifest)


class _ParquetFiles:
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

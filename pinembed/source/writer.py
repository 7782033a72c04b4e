"""The embedding source, written in one pass over the rows; docs/embedding-source.md has the layout.

Legend: N items, D floats of one embedding.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pinembed.nouns.encoder_spec import EncoderSpec
from pinembed.nouns.manifest import DTYPE, FLOAT_BYTES, SOURCE_FORMAT, Manifest, ManifestFile
from pinembed.source.hashed_file import HashedFile, WriteThread
from pinembed.source.index_writer import IndexWriter
from pinembed.source.manifest_file import write_manifest
from pinembed.source.rows import Floats, Rows, checked_rows, refuse_no_rows
from pinembed.source.shard_files import shard_name, shard_tensors
from pinembed.source.tensor_file import header_bytes

SHARD_BYTES = 256 << 20


def write_source(
    folder: Path,
    spec: EncoderSpec,
    batches: Iterable[Rows],
    *,
    count: int,
    dtype: str = DTYPE,
    shard_bytes: int = SHARD_BYTES,
) -> Manifest:
    """Write shards, id index, checksums and, last, the manifest.

    The rows keep their order. Memory: 24 bytes an item for the index, and a few batches.

    Args:
        folder: exists and is empty.
        spec: identity of the encoder that made the embeddings.
        batches: ids and (n, D) embeddings; an array must not change after it was handed over.
        count: N, known beforehand because every shard's header tells its rows.
        dtype: of the embeddings, `float16` or `float32`.
        shard_bytes: bound on the embeddings of one shard.

    Raises:
        SourceError: duplicate ids, no rows, another shape, type or number than announced.
        NonFiniteEmbeddingError: a row holds NaN or inf.
        OSError: the disk is full.
    """
    refuse_no_rows(count)
    with WriteThread() as thread:
        shards = _Shards(folder, thread, dim=spec.dim, dtype=dtype, count=count, shard_bytes=shard_bytes)
        ids = IndexWriter(folder, thread)
        for batch_ids, embedding_ND in checked_rows(batches, dim=spec.dim, dtype=dtype, count=count):
            shards.add(embedding_ND)
            ids.add(batch_ids)
        index = ids.finish()
        thread.wait()
    entries, listed = shards.entries(), (index.entry(count),)
    manifest = Manifest(
        format=SOURCE_FORMAT, encoder=spec, count=count, dim=spec.dim, dtype=dtype, shards=entries, index=listed
    )
    return write_manifest(folder, manifest)


class _Shards:
    """Cuts the stream of rows into files of equally many rows."""

    def __init__(
        self, folder: Path, thread: WriteThread, *, dim: int, dtype: str, count: int, shard_bytes: int
    ) -> None:
        self._folder, self._thread, self._dim, self._dtype, self._count = folder, thread, dim, dtype, count
        self._rows_per_shard = max(1, shard_bytes // (FLOAT_BYTES[dtype] * dim))
        self._files: list[tuple[HashedFile, int]] = []
        self._left = 0  # rows that the open shard still takes

    def add(self, embedding_ND: Floats) -> None:
        while len(embedding_ND):
            if not self._left:
                self._start()
            part = embedding_ND[: self._left]
            self._thread.write(self._files[-1][0], part)
            self._left -= len(part)
            if not self._left:
                self._thread.end(self._files[-1][0])
            embedding_ND = embedding_ND[len(part) :]

    def entries(self) -> tuple[ManifestFile, ...]:
        return tuple(file.entry(rows) for file, rows in self._files)

    def _start(self) -> None:
        self._left = min(self._rows_per_shard, self._count - len(self._files) * self._rows_per_shard)
        file = self._thread.open(self._folder / shard_name(len(self._files)))
        header = header_bytes(shard_tensors(self._left, self._dim, self._dtype))
        self._thread.write(file, header)
        self._files.append((file, self._left))

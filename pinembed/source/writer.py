"""The embedding source, written in one pass over the rows; docs/embedding-source.md has the layout.

Legend: N items, D floats of one embedding.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pinembed.errors import SourceError
from pinembed.nouns.encoder_spec import EncoderSpec
from pinembed.nouns.manifest import DTYPE, FLOAT_BYTES, SOURCE_FORMAT, Manifest, ManifestFile
from pinembed.source.hashed_file import COPY_BYTES, HashedFile, WriteThread
from pinembed.source.id_index import INDEX_FILE, hash_ids, index_tensors
from pinembed.source.manifest_file import write_manifest
from pinembed.source.rows import Floats, Rows, checked_rows, refuse_no_rows, shown_ids
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
        ids = _Ids(folder, thread)
        for batch_ids, embedding_ND in checked_rows(batches, dim=spec.dim, dtype=dtype, count=count):
            shards.add(embedding_ND)
            ids.add(batch_ids)
        index = ids.finish()
        thread.wait()
        manifest = Manifest(
            format=SOURCE_FORMAT,
            encoder=spec,
            count=count,
            dim=spec.dim,
            dtype=dtype,
            shards=shards.entries(),
            index=index.entry(count),
        )
    write_manifest(folder, manifest)
    return manifest


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


class _Ids:
    """Collects hashes and lengths in memory and the ids themselves in a file beside, then writes the index."""

    def __init__(self, folder: Path, thread: WriteThread) -> None:
        self._folder, self._thread = folder, thread
        self._hashes: list[NDArray[np.uint64]] = []
        self._lengths: list[NDArray[np.uint64]] = []
        self._spill = folder / "ids.partial"

    def add(self, ids: Sequence[str]) -> None:
        ids_utf8 = [item_id.encode() for item_id in ids]
        self._hashes.append(hash_ids(ids_utf8))
        self._lengths.append(np.fromiter(map(len, ids_utf8), np.uint64, len(ids_utf8)))
        with self._spill.open("ab") as file:
            file.write(b"".join(ids_utf8))

    def finish(self) -> HashedFile:
        hash_N = np.concatenate(self._hashes)
        self._hashes.clear()
        offset_N = np.zeros(len(hash_N) + 1, np.uint64)
        np.cumsum(np.concatenate(self._lengths), out=offset_N[1:])
        row_N = np.argsort(hash_N, kind="stable").astype(np.uint64)
        hash_N = hash_N[row_N]
        self._refuse_duplicates(hash_N, row_N, offset_N)
        file = self._thread.open(self._folder / INDEX_FILE)
        self._thread.write(file, header_bytes(index_tensors(len(hash_N), int(offset_N[-1]))))
        for tensor_N in (hash_N, row_N, offset_N):
            self._thread.write(file, tensor_N)
        with self._spill.open("rb") as spilled:
            while chunk := spilled.read(COPY_BYTES):
                self._thread.write(file, chunk)
        self._thread.end(file)
        self._spill.unlink()
        return file

    def _refuse_duplicates(
        self, hash_N: NDArray[np.uint64], row_N: NDArray[np.uint64], offset_N: NDArray[np.uint64]
    ) -> None:
        """Equal ids have equal hashes, so only rows that share a hash are compared."""
        shared = np.flatnonzero(hash_N[1:] == hash_N[:-1])
        if not len(shared):
            return
        indices = np.union1d(shared, shared + 1)
        with self._spill.open("rb") as spilled:
            seen: set[bytes] = set()
            twice: dict[bytes, None] = {}
            for row in row_N[indices].tolist():
                spilled.seek(int(offset_N[row]))
                item_id = spilled.read(int(offset_N[row + 1] - offset_N[row]))
                if item_id in seen:
                    twice[item_id] = None
                seen.add(item_id)
        if twice:
            raise SourceError(
                f"{len(twice)} item id(s) occur more than once: {shown_ids([i.decode() for i in twice])}.",
                remedy="Give each item its own id in the metadata and encode again.",
            )

"""An index file of a source, written from ids as they come.

Legend: N ids of the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pinembed.errors import SourceError
from pinembed.source.hashed_file import COPY_BYTES, HashedFile, WriteThread
from pinembed.source.id_index import hash_ids, index_name, index_tensors
from pinembed.source.rows import shown_ids
from pinembed.source.tensor_file import header_bytes


class IndexWriter:
    """Collects hashes and lengths in memory and the ids themselves in a file beside, then writes the index.

    Args:
        folder: to write to.
        thread: that writes.
        number: of the file among those of the source.
    """

    def __init__(self, folder: Path, thread: WriteThread, *, number: int = 0) -> None:
        self._path, self._thread = folder / index_name(number), thread
        self._hashes: list[NDArray[np.uint64]] = []
        self._lengths: list[NDArray[np.uint64]] = []
        self._spill = self._path.with_suffix(".partial")

    def add(self, ids: Sequence[str]) -> None:
        """Take the ids of the next rows."""
        ids_utf8 = [item_id.encode() for item_id in ids]
        self._hashes.append(hash_ids(ids_utf8))
        self._lengths.append(np.fromiter(map(len, ids_utf8), np.uint64, len(ids_utf8)))
        with self._spill.open("ab") as file:
            file.write(b"".join(ids_utf8))

    def finish(self) -> HashedFile:
        """Write the file.

        Raises:
            SourceError: an id occurs twice.
        """
        hash_N = np.concatenate(self._hashes)
        self._hashes.clear()
        offset_N = np.zeros(len(hash_N) + 1, np.uint64)
        np.cumsum(np.concatenate(self._lengths), out=offset_N[1:])
        row_N = np.argsort(hash_N, kind="stable").astype(np.uint64)
        hash_N = hash_N[row_N]
        self._refuse_duplicates(hash_N, row_N, offset_N)
        file = self._thread.open(self._path)
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

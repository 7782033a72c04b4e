"""A file that is written as a stream, hashed on the way and flushed to the disk, on threads of their own."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from pinembed.nouns.manifest import ManifestFile

MAX_PENDING = 4
COPY_BYTES = 8 << 20
Chunk = bytes | NDArray[np.generic]


class HashedFile:
    """An open file that remembers the sha256 of what went in."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size_bytes = 0
        self._sha256 = hashlib.sha256()
        self._file: BinaryIO = path.open("xb", buffering=0)

    def write(self, chunk: Chunk) -> None:
        """Append bytes, or an array's bytes as they lie in memory."""
        left = memoryview(chunk) if isinstance(chunk, bytes) else chunk.reshape(-1).view(np.uint8).data
        self._sha256.update(left)
        self.size_bytes += len(left)
        while len(left):
            left = left[self._file.write(left) :]

    def sync(self) -> None:
        """Bring the file to the disk."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()

    def entry(self, rows: int) -> ManifestFile:
        """The manifest's line for this file."""
        return ManifestFile(file=self.path.name, rows=rows, size_bytes=self.size_bytes, sha256=self._sha256.hexdigest())


class WriteThread:
    """Hashes and writes chunks in order on one thread, and syncs finished files on another.

    Hashing, writing and syncing leave Python's lock alone, so the caller prepares the next rows meanwhile. At most
    MAX_PENDING chunks wait, which bounds the memory.
    """

    def __init__(self) -> None:
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="pinembed-write")
        self._syncer = ThreadPoolExecutor(1, thread_name_prefix="pinembed-sync")
        self._pending: deque[Future[None]] = deque()
        self._files: list[HashedFile] = []
        self._syncs: list[Future[None]] = []

    def open(self, path: Path) -> HashedFile:
        """A new file whose chunks go through `write`."""
        file = HashedFile(path)
        self._files.append(file)
        return file

    def write(self, file: HashedFile, chunk: Chunk) -> None:
        """Queue a chunk, which must not change afterwards.

        Raises:
            OSError: an earlier chunk could not be written.
        """
        self._pending.append(self._writer.submit(file.write, chunk))
        while len(self._pending) > MAX_PENDING:
            self._pending.popleft().result()

    def end(self, file: HashedFile) -> None:
        """Sync and close a file behind its last chunk."""

        def hand_over() -> None:
            self._syncs.append(self._syncer.submit(_sync_and_close, file))

        self._pending.append(self._writer.submit(hand_over))

    def wait(self) -> None:
        """Return when everything is on the disk.

        Raises:
            OSError: something could not be written.
        """
        while self._pending:
            self._pending.popleft().result()
        for synced in self._syncs:
            synced.result()

    def __enter__(self) -> WriteThread:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._writer.shutdown(wait=True, cancel_futures=True)
        self._syncer.shutdown(wait=True, cancel_futures=True)
        for file in self._files:
            file.close()


def _sync_and_close(file: HashedFile) -> None:
    file.sync()
    file.close()


def hash_file(path: Path, *, rows: int) -> ManifestFile:
    """The manifest's line for a file that somebody else wrote; brings it to the disk."""
    sha256 = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(COPY_BYTES):
            sha256.update(chunk)
        os.fsync(file.fileno())
        return ManifestFile(file=path.name, rows=rows, size_bytes=file.tell(), sha256=sha256.hexdigest())

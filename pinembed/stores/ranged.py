"""An object as a file that is read from front to back in a few large requests, or from memory where it was before."""

from __future__ import annotations

import hashlib
import io
import os
import zlib
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from pinembed.errors import OutputError
from pinembed.machine import cache_folder
from pinembed.outfolder import whole_file
from pinembed.stores.objects import StoredObject, read_range

BLOCK_BYTES = 32 << 20
_HEAD_BYTES = 16


class RangedFile(io.BufferedIOBase):
    """An object of a store, as a binary file that can be read and sought in.

    Each request brings a block; while one is read from front to back, the next is on its way.

    Args:
        found: the object; one that has changed since is told.
        block_bytes: of one request, where no more is wanted at once.

    Attributes:
        requests: that were made.
    """

    def __init__(self, found: StoredObject, *, block_bytes: int = BLOCK_BYTES) -> None:
        self._found = found
        self._block_bytes = block_bytes
        self._at = self._start = 0
        self._block = memoryview(b"")
        self._threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="pinembed-range")
        self._next: tuple[int, Future[bytes]] | None = None
        self.requests = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._found.size_bytes}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        """Up to this many bytes from here on.

        Raises:
            ObjectChangedError, MissingObjectError, StoreError: as for `read_range`.
        """
        left = max(0, self._found.size_bytes - self._at)
        wanted = left if size is None or size < 0 else min(size, left)
        content = self._bytes(self._at, wanted) if wanted else b""
        self._at += len(content)
        return content

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        super().close()

    def _bytes(self, offset: int, size: int) -> bytes:
        end = self._start + len(self._block)
        if not (self._start <= offset and offset + size <= end):
            head = bytes(self._block[offset - self._start :]) if self._start <= offset < end else b""
            first = offset + len(head)
            self._block = memoryview(head + self._fetched(first, size - len(head), is_on=first == end))
            self._start = offset
        return bytes(self._block[offset - self._start :][:size])

    def _fetched(self, offset: int, size: int, *, is_on: bool) -> bytes:
        """A block from here on.

        Args:
            offset: of its first byte.
            size: the least that is wanted of it.
            is_on: it follows the one before, so that the next one will be wanted too.
        """
        ahead, self._next = self._next, None
        if ahead is not None and ahead[0] == offset:
            content = ahead[1].result()
            if len(content) < size:
                content += self._request(offset + len(content), size - len(content))
        else:
            content = self._request(offset, max(size, self._block_bytes))
        after = offset + len(content)
        if is_on and after < self._found.size_bytes:
            self._next = (after, self._threads.submit(self._request, after, self._block_bytes))
        return content

    def _request(self, offset: int, size: int) -> bytes:
        self.requests += 1
        size = min(size, self._found.size_bytes - offset)
        return read_range(self._found.address, offset, size, e_tag=self._found.e_tag) if size > 0 else b""


class RememberedReads(io.BufferedIOBase):
    """What was read of an object, kept in a file; the same reads come from there the next time.

    For the headers of tars: a second scan of an unchanged one asks the store for nothing.

    Args:
        found: the object.
        memory: file of its reads; best effort.
    """

    def __init__(self, found: StoredObject, memory: Path) -> None:
        self._file = RangedFile(found)
        self._memory = memory
        self._known = _load(memory)
        self._new: dict[int, bytes] = {}
        self._at = 0

    @property
    def requests(self) -> int:
        """That were made to the store."""
        return self._file.requests

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = self._file.seek(offset, whence) if whence == os.SEEK_END else offset + whence * self._at
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        known = self._known.get(self._at)
        if known is None or size is None or size < 0 or len(known) != size:
            self._file.seek(self._at)
            known = self._new[self._at] = self._file.read(size)
        self._at += len(known)
        return known

    def keep(self) -> None:
        """Write down what was read, after a scan that came to its end."""
        if self._new:
            with suppress(OutputError), whole_file(self._memory) as file:
                file.write_bytes(_packed(self._known | self._new))

    def close(self) -> None:
        self._file.close()
        super().close()


def open_tar(found: StoredObject) -> RememberedReads:
    """A tar in a store, whose headers are kept in the cache folder by its address and ETag."""
    name = hashlib.sha256(f"{found.address} {found.e_tag} {found.size_bytes}".encode()).hexdigest()
    return RememberedReads(found, cache_folder() / "tars" / name[:2] / name)


def _packed(reads: dict[int, bytes]) -> bytes:
    parts = (offset.to_bytes(8, "big") + len(content).to_bytes(8, "big") + content for offset, content in reads.items())
    return zlib.compress(b"".join(parts), 1)


def _load(memory: Path) -> dict[int, bytes]:
    try:
        packed = zlib.decompress(memory.read_bytes())
    except (OSError, zlib.error):
        return {}
    reads, at = {}, 0
    while at + _HEAD_BYTES <= len(packed):
        offset, size = (int.from_bytes(packed[at + first : at + first + 8], "big") for first in (0, 8))
        at += _HEAD_BYTES
        reads[offset] = packed[at : at + size]
        at += size
    return reads

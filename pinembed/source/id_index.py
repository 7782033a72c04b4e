"""From item id to row number, through a mapped file: nothing is loaded before it is asked for.

Legend: N items, M ids asked for at once.
"""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

from pinembed.errors import SourceError
from pinembed.source.tensor_file import LENGTH_BYTES, MAX_HEADER_BYTES, Tensor, tensor_offsets

HASH_BYTES = 8


def hash_ids(ids_utf8: Iterable[bytes]) -> NDArray[np.uint64]:
    """The first 8 bytes of SHA-256, as a big-endian number.

    SHA-256 stands in every language's library, and nobody can craft ids that meet in one hash.

    Returns:
        (N,) uint64.
    """
    sha256 = hashlib.sha256
    digests = b"".join([sha256(id_utf8).digest()[:HASH_BYTES] for id_utf8 in ids_utf8])
    return np.frombuffer(digests, dtype=">u8").astype(np.uint64)


def encode_id(item_id: str) -> bytes:
    """UTF-8 bytes; a string that has none (a lone surrogate) gets bytes that no stored id can have."""
    return item_id.encode("utf-8", "surrogatepass")


IDS_PER_READ = 8192


def index_name(number: int) -> str:
    """File name of the index file with this number."""
    return f"ids-{number:05d}.safetensors"


def index_tensors(count: int, utf8_bytes: int) -> dict[str, Tensor]:
    """What an index file holds, in this order.

    `hash` is sorted; `row[i]` is the row of the id with `hash[i]`; the id of row r is `utf8[offset[r]:offset[r + 1]]`.
    """
    return {
        "hash": Tensor(dtype="U64", shape=(count,)),
        "row": Tensor(dtype="U64", shape=(count,)),
        "offset": Tensor(dtype="U64", shape=(count + 1,)),
        "utf8": Tensor(dtype="U8", shape=(utf8_bytes,)),
    }


class IndexFile:
    """One mapped index file: the ids of a run of rows, counted from the first of them.

    Args:
        descriptor: of the open file; it may be closed afterwards.
        file: the file's path, for messages.

    Raises:
        SourceError: the file is not an index of N ids.
    """

    def __init__(self, descriptor: int, *, count: int, file: str) -> None:
        self._file = file
        utf8_bytes = _utf8_bytes(descriptor, count)
        tensors = index_tensors(count, utf8_bytes)
        starts = tensor_offsets(descriptor, tensors, file=file)
        self._mapped = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
        self.hash_N = np.frombuffer(self._mapped, "<u8", count, starts["hash"])
        self.row_N = np.frombuffer(self._mapped, "<u8", count, starts["row"])
        self.offset_N = np.frombuffer(self._mapped, "<u8", count + 1, starts["offset"])
        self._utf8_start, self._utf8_bytes = starts["utf8"], utf8_bytes
        if int(self.offset_N[0]) != 0 or int(self.offset_N[-1]) != utf8_bytes:
            raise self.damaged("its offsets do not span the ids")

    def __len__(self) -> int:
        return len(self.row_N)

    def find(self, ids_utf8: Sequence[bytes], hash_M: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Row numbers in this file, -1 for an id that is not in it.

        Args:
            ids_utf8: M ids.
            hash_M: their hashes.

        Returns:
            (M,) int64.
        """
        if not len(self):
            return np.full(len(ids_utf8), -1, np.int64)
        index_M = np.searchsorted(self.hash_N, hash_M)
        candidate_M = np.minimum(index_M, len(self) - 1)
        hit_M = self.hash_N[candidate_M] == hash_M
        row_M = np.where(hit_M, self.row_N[candidate_M], 0).astype(np.int64)
        if (row_M >= len(self)).any() or (row_M < 0).any():
            raise self.damaged("it names rows beyond the last one")
        found_M = np.where(hit_M, row_M, -1)
        starts, ends = self.offset_N[row_M].tolist(), self.offset_N[row_M + 1].tolist()  # at once: lookups are hot
        for place in np.flatnonzero(hit_M).tolist():
            if self._utf8(starts[place], ends[place]) != ids_utf8[place]:
                found_M[place] = self._next_of_same_hash(int(index_M[place]), hash_M[place], ids_utf8[place])
        return found_M

    def _next_of_same_hash(self, position: int, id_hash: np.uint64, id_utf8: bytes) -> int:
        """Two ids share a hash, which happens once in some billions: look at the neighbours."""
        while position < len(self) and self.hash_N[position] == id_hash:
            row = int(self.row_N[position])
            if row >= len(self):
                raise self.damaged("it names rows beyond the last one")
            if self.id_bytes(row) == id_utf8:
                return row
            position += 1
        return -1

    def id_bytes(self, row: int) -> bytes:
        """The id of a row as UTF-8."""
        return self._utf8(int(self.offset_N[row]), int(self.offset_N[row + 1]))

    def _utf8(self, start: int, end: int) -> bytes:
        if not start <= end <= self._utf8_bytes:
            raise self.damaged("its offsets do not ascend")
        return self._mapped[self._utf8_start + start : self._utf8_start + end]

    def text(self, row: int) -> str:
        """The id of a row."""
        try:
            return self.id_bytes(row).decode()
        except UnicodeDecodeError as error:
            raise self.damaged(f"the id of row {row} is no UTF-8") from error

    def damaged(self, what: str) -> SourceError:
        """The error for an index that contradicts itself."""
        return SourceError(
            f"{self._file} is damaged: {what}.",
            remedy="Export the table again; `pinembed verify DIR` lists all that is wrong.",
        )


class IdIndex(Sequence[str]):
    """The ids of a source in row order, and the way back from an id to its row.

    Args:
        files: in row order; each begins where the one before it ends.
    """

    def __init__(self, files: Sequence[IndexFile]) -> None:
        self.files = tuple(files)
        self.first_rows = np.cumsum([0, *map(len, self.files)])

    def rows_of(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """Row numbers, -1 for an id that is not there.

        Args:
            ids: M item ids.

        Returns:
            (M,) int64.
        """
        ids_utf8 = [encode_id(item_id) for item_id in ids]
        hash_M = hash_ids(ids_utf8)
        row_M = np.full(len(ids_utf8), -1, np.int64)
        for file, first in zip(self.files, self.first_rows.tolist(), strict=False):
            left = np.flatnonzero(row_M < 0)
            if not len(left):
                break
            found = file.find([ids_utf8[place] for place in left.tolist()], hash_M[left])
            row_M[left] = np.where(found < 0, -1, found + first)
        return row_M

    def _text(self, row: int) -> str:
        number = int(np.searchsorted(self.first_rows, row, side="right")) - 1
        return self.files[number].text(row - int(self.first_rows[number]))

    def __len__(self) -> int:
        return int(self.first_rows[-1])

    @overload
    def __getitem__(self, position: int) -> str: ...
    @overload
    def __getitem__(self, position: slice) -> list[str]: ...
    def __getitem__(self, position: int | slice) -> str | list[str]:
        rows = range(len(self))[position]
        return self._text(rows) if isinstance(rows, int) else [self._text(row) for row in rows]

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), IDS_PER_READ):
            yield from self[start : start + IDS_PER_READ]

    def __contains__(self, item_id: object) -> bool:
        return isinstance(item_id, str) and bool(self.rows_of([item_id])[0] >= 0)

    def index(self, value: str, start: int = 0, stop: int | None = None) -> int:
        """The row of an id.

        Raises:
            ValueError: it is not there, as for any sequence.
        """
        row = int(self.rows_of([value])[0])
        if row < 0 or row not in range(len(self))[start:stop]:
            raise ValueError(f"{value!r} is not among the ids")
        return row


def _utf8_bytes(descriptor: int, count: int) -> int:
    """What the three number tensors leave of the file; `tensor_offsets` compares it with the header."""
    length_bytes = os.pread(descriptor, LENGTH_BYTES, 0)
    header_length = min(int.from_bytes(length_bytes, "little"), MAX_HEADER_BYTES)
    numbers = 3 * count + 1
    return max(0, os.fstat(descriptor).st_size - LENGTH_BYTES - header_length - 8 * numbers)

"""Candidates: the items of the inputs in columns, some hundred bytes each however many there are."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pinembed.catalogue.packed import PackedImages
from pinembed.nouns.failure import Failure
from pinembed.nouns.item import Candidate, Locator
from pinembed.stores.address import Address, Place

Indices = NDArray[np.int64]
NOT_FOUND = -1
_SLICE_ROWS = 1 << 14  # so that few strings are Python's at a time


class IdIndex:
    """Places of ids by their hash; equal hashes are told apart by the ids themselves.

    Args:
        ids: N strings; the first of equal ones is found.
    """

    def __init__(self, ids: pa.LargeStringArray) -> None:
        self._ids = ids
        hashes = hashes_of(ids)
        self._order: Indices = np.argsort(hashes, kind="stable")
        self._hashes = hashes[self._order]

    def find(self, wanted: pa.Array) -> Indices:
        """The index of each wanted id; NOT_FOUND for one that is not there."""
        hashes = hashes_of(wanted)
        ranks = np.searchsorted(self._hashes, hashes)
        has_hash = np.zeros(len(hashes), dtype=bool)
        inside = ranks < len(self._hashes)
        has_hash[inside] = self._hashes[ranks[inside]] == hashes[inside]
        indices = np.full(len(hashes), NOT_FOUND, dtype=np.int64)
        indices[has_hash] = self._order[ranks[has_hash]]
        hits = np.flatnonzero(has_hash)
        is_it = pc.equal(self._ids.take(indices[hits]), wanted.take(hits).cast(pa.large_string()))
        for at in hits[~is_it.to_numpy(zero_copy_only=False)].tolist():
            indices[at] = self._among_equal_hashes(int(ranks[at]), wanted[at].as_py())
        return indices

    def repeated(self) -> Iterator[tuple[int, int]]:
        """Places of ids that an earlier place has, each with the first of these, in no particular order."""
        starts = np.flatnonzero(np.diff(self._hashes, prepend=self._hashes[:1] - 1))
        lengths = np.diff(starts, append=len(self._hashes))
        for start, length in zip(starts[lengths > 1], lengths[lengths > 1], strict=True):
            first: dict[str, int] = {}
            for index in self._order[start : start + length].tolist():
                earliest = first.setdefault(self._ids[index].as_py(), index)
                if earliest != index:
                    yield index, earliest

    def _among_equal_hashes(self, rank: int, wanted: str) -> int:
        hash_ = self._hashes[rank]
        while rank < len(self._hashes) and self._hashes[rank] == hash_:
            index = int(self._order[rank])
            if self._ids[index].as_py() == wanted:
                return index
            rank += 1
        return NOT_FOUND


def hashes_of(ids: pa.Array) -> NDArray[np.int64]:
    """Python's own hashes, 64 bits, of this process alone."""
    made = np.empty(len(ids), dtype=np.int64)
    for start in range(0, len(ids), _SLICE_ROWS):
        part = ids.slice(start, _SLICE_ROWS).to_pylist()
        made[start : start + len(part)] = np.fromiter(map(hash, part), np.int64, len(part))
    return made


UNKNOWN_SIZE = -1
_ROWS_AT_ONCE = 1024


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidates(Sequence[Candidate]):
    """N candidates; each is made when it is asked for.

    Attributes:
        names: file names.
        ids: of the items; often the very same array.
        size_bytes: UNKNOWN_SIZE where only reading tells.
        mtime_ns: nanoseconds since 1970.
        fields: a row of metadata for each candidate; None where there is no metadata.
        images: a folder or prefix that all names lead from, or where they lie inside of other files.
    """

    names: pa.LargeStringArray
    ids: pa.LargeStringArray
    size_bytes: NDArray[np.int64]
    mtime_ns: NDArray[np.int64]
    fields: pa.Table | None
    images: Place | PackedImages

    @classmethod
    def none(cls) -> Candidates:
        """Not a single one."""
        names, numbers = pa.array([], pa.large_string()), np.empty(0, np.int64)
        return cls(names=names, ids=names, size_bytes=numbers, mtime_ns=numbers, fields=None, images=Path())

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, index: int) -> Candidate: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Candidate]: ...
    def __getitem__(self, index: int | slice) -> Candidate | Sequence[Candidate]:
        if isinstance(index, slice):
            return list(self.at(np.arange(len(self))[index]))
        return next(self.at(np.array([index])))

    def __iter__(self) -> Iterator[Candidate]:
        return self.at(np.arange(len(self)))

    def at(self, indices: Indices) -> Iterator[Candidate]:
        """The candidates at these indices, in this order."""
        for start in range(0, len(indices), _ROWS_AT_ONCE):
            part = indices[start : start + _ROWS_AT_ONCE]
            rows: list[dict[str, Any]] = [{}] * len(part) if self.fields is None else self.fields.take(part).to_pylist()
            texts = (self.names.take(part).to_pylist(), self.ids.take(part).to_pylist())
            for index, name, item_id, fields in zip(part.tolist(), *texts, rows, strict=True):
                size_bytes = int(self.size_bytes[index])
                yield Candidate(
                    id=item_id,
                    file_name=name,
                    image=self._image(index, name),
                    size_bytes=None if size_bytes == UNKNOWN_SIZE else size_bytes,
                    mtime_ns=int(self.mtime_ns[index]),
                    fields=fields,
                )

    def located(self, indices: Indices) -> Iterator[tuple[int, Locator]]:
        """The same places, each with where its image lies; what loading needs, without the metadata."""
        for start in range(0, len(indices), _ROWS_AT_ONCE):
            part = indices[start : start + _ROWS_AT_ONCE]
            for index, name in zip(part.tolist(), self.names.take(part).to_pylist(), strict=True):
                yield index, self._image(index, name)

    def find(self, ids: pa.Array) -> Indices:
        """The index of each id; NOT_FOUND where no candidate has it."""
        return self._index.find(ids)

    def repeated(self) -> list[tuple[int, int]]:
        """Places of candidates whose id an earlier one has, sorted, each with the place of the first that has it."""
        return sorted(self._index.repeated())

    def without(self, indices: Iterable[int]) -> Candidates:
        """All but those."""
        return self.take(np.delete(np.arange(len(self)), list(indices)))

    def take(self, kept: Indices) -> Candidates:
        """The candidates at these indices alone, in this order, with nothing of the others."""
        names = self.names.take(kept)
        return replace(
            self,
            names=names,
            ids=names if self.ids is self.names else self.ids.take(kept),
            size_bytes=self.size_bytes[kept],
            mtime_ns=self.mtime_ns[kept],
            fields=None if self.fields is None else self.fields.take(kept),
            images=self.images.take(kept) if isinstance(self.images, PackedImages) else self.images,
        )

    def with_absolute_paths(self) -> Candidates:
        """The same, for a process that works in another folder."""
        return self if isinstance(self.images, Address) else replace(self, images=self.images.absolute())

    def _image(self, index: int, name: str) -> Locator:
        if isinstance(self.images, PackedImages):
            return self.images.at(index, name, int(self.size_bytes[index]))
        return self.images / name

    @cached_property
    def _index(self) -> IdIndex:
        return IdIndex(self.ids)


class TextColumn:
    """Collects strings into one Arrow array, without keeping them as objects."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._ends = array("q", [0])

    def append(self, text: str) -> None:
        """Take a string."""
        self._bytes += text.encode()
        self._ends.append(len(self._bytes))

    def to_arrow(self) -> pa.LargeStringArray:
        """All of them."""
        buffers = (pa.py_buffer(self._ends), pa.py_buffer(self._bytes))
        return pa.LargeStringArray.from_buffers(len(self._ends) - 1, *buffers)


def is_text(name: str) -> bool:
    """Whether a name can be stored; one whose bytes are no UTF-8, as the file system gives it, cannot."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def as_text(name: str) -> str:
    """A name, or a sentence that holds one, with backslash and number for each byte that is no UTF-8."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def name_failure(file_name: str, size_bytes: int, mtime_ns: int) -> Failure:
    """Of a file whose name is no text."""
    return Failure(
        file_name=file_name,
        reason="name_not_utf8",
        message=f"{file_name} has a name that is not UTF-8.",
        size_bytes=size_bytes,
        mtime_ns=mtime_ns,
    )

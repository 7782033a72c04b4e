"""Candidates: the items of the inputs in columns, some hundred bytes each however many there are."""

from __future__ import annotations

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

from pinembed.nouns.candidate import Candidate, Locator

Places = NDArray[np.int64]
NOWHERE = -1
_SLICE_ROWS = 1 << 14  # so that few strings are Python's at a time


class IdIndex:
    """Places of ids by their hash; equal hashes are told apart by the ids themselves.

    Args:
        ids: N strings; the first of equal ones is found.
    """

    def __init__(self, ids: pa.LargeStringArray) -> None:
        self._ids = ids
        hashes = _hashes(ids)
        self._order: Places = np.argsort(hashes, kind="stable")
        self._hashes = hashes[self._order]

    def find(self, wanted: pa.Array) -> Places:
        """The place of each wanted id; NOWHERE for one that is not there."""
        hashes = _hashes(wanted)
        ranks = np.searchsorted(self._hashes, hashes)
        has_hash = np.zeros(len(hashes), dtype=bool)
        inside = ranks < len(self._hashes)
        has_hash[inside] = self._hashes[ranks[inside]] == hashes[inside]
        places = np.full(len(hashes), NOWHERE, dtype=np.int64)
        places[has_hash] = self._order[ranks[has_hash]]
        hits = np.flatnonzero(has_hash)
        is_it = pc.equal(self._ids.take(places[hits]), wanted.take(hits).cast(pa.large_string()))
        for at in hits[~is_it.to_numpy(zero_copy_only=False)].tolist():
            places[at] = self._among_equal_hashes(int(ranks[at]), wanted[at].as_py())
        return places

    def repeated(self) -> Iterator[tuple[int, int]]:
        """Places of ids that an earlier place has, each with the first of these, in no particular order."""
        starts = np.flatnonzero(np.diff(self._hashes, prepend=self._hashes[:1] - 1))
        lengths = np.diff(starts, append=len(self._hashes))
        for start, length in zip(starts[lengths > 1], lengths[lengths > 1], strict=True):
            first: dict[str, int] = {}
            for place in self._order[start : start + length].tolist():
                earliest = first.setdefault(self._ids[place].as_py(), place)
                if earliest != place:
                    yield place, earliest

    def _among_equal_hashes(self, rank: int, wanted: str) -> int:
        hash_ = self._hashes[rank]
        while rank < len(self._hashes) and self._hashes[rank] == hash_:
            place = int(self._order[rank])
            if self._ids[place].as_py() == wanted:
                return place
            rank += 1
        return NOWHERE


def _hashes(ids: pa.Array) -> NDArray[np.int64]:
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
        images: a folder that all names lead from, or the places of images inside of other files.
    """

    names: pa.LargeStringArray
    ids: pa.LargeStringArray
    size_bytes: NDArray[np.int64]
    mtime_ns: NDArray[np.int64]
    fields: pa.Table | None
    images: Path | Sequence[Locator]

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, place: int) -> Candidate: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Candidate]: ...
    def __getitem__(self, place: int | slice) -> Candidate | Sequence[Candidate]:
        if isinstance(place, slice):
            return list(self.at(np.arange(len(self))[place]))
        return next(self.at(np.array([place])))

    def __iter__(self) -> Iterator[Candidate]:
        return self.at(np.arange(len(self)))

    def at(self, places: Places) -> Iterator[Candidate]:
        """The candidates at these places, in this order."""
        for start in range(0, len(places), _ROWS_AT_ONCE):
            part = places[start : start + _ROWS_AT_ONCE]
            rows: list[dict[str, Any]] = [{}] * len(part) if self.fields is None else self.fields.take(part).to_pylist()
            texts = (self.names.take(part).to_pylist(), self.ids.take(part).to_pylist())
            for place, name, item_id, fields in zip(part.tolist(), *texts, rows, strict=True):
                size_bytes = int(self.size_bytes[place])
                yield Candidate(
                    id=item_id,
                    file_name=name,
                    image=self._image(place, name),
                    size_bytes=None if size_bytes == UNKNOWN_SIZE else size_bytes,
                    mtime_ns=int(self.mtime_ns[place]),
                    fields=fields,
                )

    def located(self, places: Places) -> Iterator[tuple[int, Locator]]:
        """The same places, each with where its image lies; what loading needs, without the metadata."""
        for start in range(0, len(places), _ROWS_AT_ONCE):
            part = places[start : start + _ROWS_AT_ONCE]
            for place, name in zip(part.tolist(), self.names.take(part).to_pylist(), strict=True):
                yield place, self._image(place, name)

    def find(self, ids: pa.Array) -> Places:
        """The place of each id; NOWHERE where no candidate has it."""
        return self._index.find(ids)

    def repeated(self) -> list[tuple[int, int]]:
        """Places of candidates whose id an earlier one has, sorted, each with the place of the first that has it."""
        return sorted(self._index.repeated())

    def without(self, places: Iterable[int]) -> Candidates:
        """All but those."""
        kept = np.delete(np.arange(len(self)), list(places))
        names = self.names.take(kept)
        return replace(
            self,
            names=names,
            ids=names if self.ids is self.names else self.ids.take(kept),
            size_bytes=self.size_bytes[kept],
            mtime_ns=self.mtime_ns[kept],
            fields=None if self.fields is None else self.fields.take(kept),
            images=self.images if isinstance(self.images, Path) else [self.images[place] for place in kept.tolist()],
        )

    def _image(self, place: int, name: str) -> Locator:
        return self.images / name if isinstance(self.images, Path) else self.images[place]

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

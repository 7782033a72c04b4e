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
from numpy.typing import NDArray

from pinembed.jobs.encode.id_index import IdIndex, Places
from pinembed.nouns.candidate import Candidate
from pinembed.nouns.locator import Locator

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

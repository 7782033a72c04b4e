"""The files of a folder in chunks: one in memory, or several on disk where there are more than one plan shall hold."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import chain, islice

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pinembed.catalogue.candidates import Candidates, TextColumn, is_text, name_failure
from pinembed.catalogue.files import ScannedFile
from pinembed.catalogue.metadata import SPLIT
from pinembed.catalogue.parts import OnDisk
from pinembed.catalogue.split_words import split_of
from pinembed.nouns.failure import Failure
from pinembed.stores.address import Place

_ROWS_AT_ONCE = 1 << 14


@dataclass(kw_only=True)
class FileChunk:
    """Some of the files, by name, each its own item without metadata.

    Attributes:
        start: how many files the chunks before have.
        count: of its files.
        has_split: whether the folder of any of them names a split; False where the chunk is the only one.
    """

    start: int
    count: int
    has_split: bool
    _files: Candidates | OnDisk[Candidates]

    def load(self) -> Candidates:
        """The files; those of an only chunk are the same object every time, with the index that was made of it."""
        return self._files.load() if isinstance(self._files, OnDisk) else self._files

    def forget_index(self) -> None:
        """Give the memory of that index back."""
        if not isinstance(self._files, OnDisk):
            self._files = replace(self._files)


def chunks_of(root: Place, scanned: Iterable[ScannedFile], *, most: int) -> tuple[list[FileChunk], list[Failure]]:
    """At least one chunk, and the failures of files whose names are no text, sorted.

    Args:
        root: the folder that all names are relative to.
        scanned: its files, in any order; taken to the end.
        most: files of a chunk.

    Raises:
        DataError: there is no room for several chunks in the folder for temporary files.
    """
    rest = iter(scanned)
    chunks: list[FileChunk] = []
    failures: list[Failure] = []
    start, following = 0, next(rest, None)
    while following is not None or not chunks:
        first = [] if following is None else [following]
        files = _sorted(root, islice(chain(first, rest), most), failures)
        following = next(rest, None)  # which tells whether this chunk is the only one
        is_only = following is None and not chunks
        chunks.append(
            FileChunk(
                start=start,
                count=len(files),
                has_split=not is_only and has_split(files.names),
                _files=files if is_only else OnDisk(files, images=len(files)),
            )
        )
        start += len(files)
        del files  # while the next ones are listed
    return chunks, sorted(failures, key=lambda failure: failure.file_name)


def _sorted(root: Place, scanned: Iterable[ScannedFile], failures: list[Failure]) -> Candidates:
    """The files by name; `failures` takes those whose names are no text."""
    names, size_bytes, mtime_ns = TextColumn(), array("q"), array("q")
    for file in scanned:
        if is_text(file.file_name):
            names.append(file.file_name)
            size_bytes.append(file.size_bytes)
            mtime_ns.append(file.mtime_ns)
        else:
            failures.append(name_failure(file.file_name, file.size_bytes, file.mtime_ns))
    unsorted = names.to_arrow()
    order = pc.sort_indices(unsorted).to_numpy()
    sizes, times = (np.frombuffer(column, dtype=np.int64)[order] for column in (size_bytes, mtime_ns))
    ordered = unsorted.take(order)
    return Candidates(names=ordered, ids=ordered, size_bytes=sizes, mtime_ns=times, fields=None, images=root)


def has_split(names: pa.LargeStringArray) -> bool:
    """Whether the folder of any of these files names a split."""
    parts = (names.slice(start, _ROWS_AT_ONCE) for start in range(0, len(names), _ROWS_AT_ONCE))
    return any(split_of(name) for part in parts for name in part.to_pylist())


def with_splits(
    columns: dict[str, pa.Array], given: pa.Array, names: pa.Array, *, always: bool = False
) -> pa.Table | None:
    """A table of the columns and, where any file has a split, of the splits; None where that leaves no column.

    Args:
        columns: of the metadata, N rows.
        given: the N splits that the metadata name.
        names: of the N files.
        always: with a column of splits even where none of these files has one.
    """
    parts = []
    for start in range(0, len(names), _ROWS_AT_ONCE):
        both = (column.slice(start, _ROWS_AT_ONCE).to_pylist() for column in (names, given))
        parts.append(pa.array(map(split_of, *both), pa.string()))
    splits = pa.chunked_array(parts, pa.string()).combine_chunks()
    if always or splits.null_count < len(splits):
        columns = {**columns, SPLIT: splits}
    return pa.table(columns) if columns else None

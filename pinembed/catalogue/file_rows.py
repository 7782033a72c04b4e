"""Rows of metadata beside the files that they are of, however those are spelled, chunk by chunk of the files."""

from __future__ import annotations

import posixpath
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pinembed.catalogue.candidates import NOT_FOUND, Candidates, IdIndex, Indices
from pinembed.catalogue.file_chunks import FileChunk, has_split, with_splits
from pinembed.catalogue.files import ScannedFile
from pinembed.catalogue.listing import Listing
from pinembed.catalogue.metadata import ITEM_COLUMNS, SPLIT
from pinembed.catalogue.names import shown
from pinembed.errors import DataError
from pinembed.stores.address import Place


@dataclass(frozen=True, kw_only=True)
class _Moved:
    """Files without a row whose name is the id of a row, and so taken; they come last in the first part.

    There, because a failure of the scan is told before any of the images.

    Attributes:
        places: of the files.
        files: they.
        holders: names of the files that have the ids.
    """

    places: Indices = field(default_factory=lambda: np.empty(0, np.int64))
    files: Candidates = field(default_factory=Candidates.none)
    holders: Sequence[str] = ()


class FileRows:
    """Rows and files side by side; a file goes by its place: its number among those of all chunks.

    Args:
        chunks: all files, by name in each chunk.
        rows: of the metadata.
        metadata: its file.
        listing: of the folder, where all of its files count, so that a row without one is lost; None where a list
            names them.

    Raises:
        DataError: an id, or a file, that several rows have; none of the rows has a file.
    """

    def __init__(self, chunks: Sequence[FileChunk], rows: pa.Table, metadata: Place, listing: Listing | None) -> None:
        self._chunks, self._rows = chunks, rows
        self._scanned = chunks[-1].start + chunks[-1].count
        self._names = rows["file_name"].combine_chunks().cast(pa.large_string())
        self._ids = _row_ids(rows, self._names, metadata)
        self._places = places = _places_of(chunks, self._names)
        self._unscanned = Candidates.none()
        if listing is not None:
            self._find_unscanned(listing)
            if len(rows) and (places == NOT_FOUND).all():
                raise DataError(
                    f"{metadata} names {len(rows)} file(s) of which {listing.root} holds none; "
                    f"the first is {self._names[0]}.",
                    remedy="Write file_name as the image's path relative to the folder.",
                )
        for chunk in chunks:
            chunk.forget_index()
        found = places[places != NOT_FOUND]
        used, firsts, counts = np.unique(found, return_index=True, return_counts=True)
        if self._ids is self._names and (counts > 1).any():  # in two spellings
            raise _repeated(metadata, "file_name", self._names_at(found[np.sort(firsts[counts > 1])]))
        self.files_without_row = self._scanned + len(self._unscanned) - len(used)
        is_only = len(chunks) == 1
        self._moved = _Moved() if is_only or self._ids is self._names else self._taken_elsewhere()
        self._has_splits = not is_only and self._any_split()

    def lacking(self) -> list[str]:
        """The names of the rows that have no file, sorted."""
        names: list[str] = self._names.take(np.flatnonzero(self._places == NOT_FOUND)).to_pylist()
        return sorted(names)

    def part(self, number: int) -> tuple[Candidates, dict[int, str]]:
        """One chunk with its rows; the first chunk is with the files that only the rows led to.

        Args:
            number: of the chunk.

        Returns:
            candidates of the rows, by name, and then of the files that have no row; and of those whose id another
            candidate has, often one of another part, the name of that one's file by the index of the candidate.
        """
        chunk = self._chunks[number]
        files = chunk.load()
        held, local = _local(self._places, chunk)
        if number == 0 and len(self._unscanned):
            more = np.flatnonzero(self._places >= self._scanned)
            local = np.concatenate([local, self._places[more] - self._scanned + len(files)])
            held, files = np.concatenate([held, more]), _with(files, self._unscanned)
            order = np.argsort(held)  # as the metadata has them, so that those of equal names stay in this order
            held, local = held[order], local[order]
        order = pc.sort_indices(self._names.take(held)).to_numpy()
        held, local = held[order], local[order]
        _, moved = _local(self._moved.places, chunk)
        rest = np.delete(np.arange(len(files)), np.concatenate([local, moved]))
        if number:
            return self._candidates(files, held, np.concatenate([local, rest])), {}
        taken = np.arange(len(files), len(files) + len(self._moved.places))
        candidates = self._candidates(_with(files, self._moved.files), held, np.concatenate([local, rest, taken]))
        return candidates, dict(enumerate(self._moved.holders, start=len(candidates) - len(taken)))

    def _candidates(self, files: Candidates, held: Indices, order: Indices) -> Candidates:
        """Those of the files at `order`, the first of which are the files of the rows in `held`."""
        rows = self._rows
        names = files.names.take(order)
        # a null for each file without a row, of which `take` makes a row of nulls
        padded = np.concatenate([held, np.zeros(len(order) - len(held), np.int64)])
        row_of = pa.array(padded, mask=np.arange(len(order)) >= len(held))
        columns = {
            name: rows[name].combine_chunks().take(row_of) for name in rows.column_names if name not in ITEM_COLUMNS
        }
        given = rows[SPLIT].combine_chunks() if SPLIT in rows.column_names else pa.nulls(len(rows), pa.string())
        return replace(
            files,
            names=names,
            ids=names if self._ids is self._names else pc.coalesce(self._ids.take(row_of), names),
            size_bytes=files.size_bytes[order],
            mtime_ns=files.mtime_ns[order],
            fields=with_splits(columns, given.take(row_of), names, always=self._has_splits),
        )

    def _find_unscanned(self, listing: Listing) -> None:
        """Files that no scan takes and that the rows name, such as those of odd suffixes."""
        is_lost = self._places == NOT_FOUND
        lost = [cleaned(name) for name in self._names.filter(pa.array(is_lost)).to_pylist()]
        present = [name for name in dict.fromkeys(lost) if not listing.came_later(name)]
        unscanned = [found for name in present if (found := listing.find(name)) is not None]
        if unscanned:
            self._unscanned = _as_candidates(unscanned)
            found_at = self._unscanned.find(pa.array(lost, pa.large_string()))
            self._places[is_lost] = np.where(found_at == NOT_FOUND, NOT_FOUND, found_at + self._scanned)

    def _taken_elsewhere(self) -> _Moved:
        """What other chunks' rows may have the ids of: a row's id comes before that of a file without one."""
        found = np.flatnonzero(self._places != NOT_FOUND)
        named = _exact_places(self._chunks, self._ids.take(found))
        is_taken = (named != NOT_FOUND) & ~np.isin(named, self._places)
        places = named[is_taken]
        if not len(places):
            return _Moved()
        order = np.argsort(places)
        places = places[order]
        pieces = [chunk.load().take(at) for chunk in self._chunks if len(at := _local(places, chunk)[1])]
        holders = self._names_at(self._places[found[is_taken][order]])
        return _Moved(places=places, files=_with(*pieces), holders=holders)

    def _names_at(self, places: Indices) -> list[str]:
        """The names of the files at these places, in this order."""
        names = [""] * len(places)
        for chunk in self._chunks:
            at, local = _local(places, chunk)
            if len(at):
                for index, name in zip(at.tolist(), chunk.load().names.take(local).to_pylist(), strict=True):
                    names[index] = name
        for index in np.flatnonzero(places >= self._scanned).tolist():
            names[index] = self._unscanned.names[int(places[index]) - self._scanned].as_py()
        return names

    def _any_split(self) -> bool:
        """Whether any file has a split, in which case the items of every part have a column of them."""
        if any(chunk.has_split for chunk in self._chunks) or has_split(self._unscanned.names):
            return True
        if SPLIT not in self._rows.column_names:
            return False
        given = self._rows[SPLIT].combine_chunks().take(np.flatnonzero(self._places != NOT_FOUND)).unique()
        return any(split is not None and split.strip() for split in given.to_pylist())


def _local(places: Indices, chunk: FileChunk) -> tuple[Indices, Indices]:
    """Which of the places are of a chunk's files, and the numbers of these in it."""
    held = np.flatnonzero((places >= chunk.start) & (places < chunk.start + chunk.count))
    return held, places[held] - chunk.start


def _with(files: Candidates, *more: Candidates) -> Candidates:
    """Files and some more behind them."""
    every = [files, *(one for one in more if len(one))]
    if len(every) == 1:
        return files
    names = pa.concat_arrays([one.names for one in every])
    sizes, times = (np.concatenate([getattr(one, name) for one in every]) for name in ("size_bytes", "mtime_ns"))
    return replace(files, names=names, ids=names, size_bytes=sizes, mtime_ns=times)


def _as_candidates(files: Sequence[ScannedFile]) -> Candidates:
    names = pa.array([file.file_name for file in files], pa.large_string())
    sizes = np.array([file.size_bytes for file in files], np.int64)
    times = np.array([file.mtime_ns for file in files], np.int64)
    return replace(Candidates.none(), names=names, ids=names, size_bytes=sizes, mtime_ns=times)


def _places_of(chunks: Sequence[FileChunk], names: pa.LargeStringArray) -> Indices:
    """The place of the file that each row names.

    The very name comes first, in whatever chunk it is; then other spellings: `./a.png`, backslashes, composed or
    decomposed accents.
    """
    places = _exact_places(chunks, names)
    lost = np.flatnonzero(places == NOT_FOUND)
    if not len(lost):
        return places
    clean = [cleaned(name) for name in names.take(lost).to_pylist()]
    places[lost] = _exact_places(chunks, pa.array(clean, pa.large_string()))
    still = [(at, name) for at, name in zip(lost.tolist(), clean, strict=True) if places[at] == NOT_FOUND]
    if any(not name.isascii() for _, name in still):
        _find_composed(chunks, still, places)
    return places


def _exact_places(chunks: Sequence[FileChunk], names: pa.LargeStringArray) -> Indices:
    places = np.full(len(names), NOT_FOUND, dtype=np.int64)
    for chunk in chunks:
        found = chunk.load().find(names)
        is_here = (found != NOT_FOUND) & (places == NOT_FOUND)
        places[is_here] = found[is_here] + chunk.start
    return places


def _find_composed(chunks: Sequence[FileChunk], lost: Sequence[tuple[int, str]], places: Indices) -> None:
    """Fill in the places of names that differ from a file's in how accents are written, the last such file by name."""
    best: dict[str, tuple[str, int]] = {}
    wanted = {unicodedata.normalize("NFC", name) for _, name in lost}
    for chunk in chunks:
        for at, name in enumerate(chunk.load().names.to_pylist()):
            if (composed := unicodedata.normalize("NFC", name)) in wanted:
                best[composed] = max(best.get(composed, ("", NOT_FOUND)), (name, chunk.start + at))
    for at, name in lost:
        places[at] = best.get(unicodedata.normalize("NFC", name), ("", NOT_FOUND))[1]


def cleaned(name: str) -> str:
    """A name as a scan would spell it: without `./` and `..` inside, with forward slashes."""
    return posixpath.normpath(name.replace("\\", "/"))


def _row_ids(rows: pa.Table, names: pa.LargeStringArray, metadata: Place) -> pa.LargeStringArray:
    """The id of each row, which is its file name where it has none.

    Raises:
        DataError: several rows have the same.
    """
    column = "id" if "id" in rows.column_names else "file_name"
    ids = names if column == "file_name" else pc.coalesce(rows[column].combine_chunks().cast(pa.large_string()), names)
    if repeated := sorted({first for _, first in IdIndex(ids).repeated()}):
        raise _repeated(metadata, column, ids.take(pa.array(repeated)).to_pylist())
    return ids


def _repeated(metadata: Place, column: str, repeated: Sequence[str]) -> DataError:
    return DataError(
        f"{metadata} holds {len(repeated)} {column}(s) more than once: {shown(repeated)}.",
        remedy=f"Give each item a {column} of its own; put what several items share into another column.",
    )

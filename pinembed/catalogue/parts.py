"""Inputs: everything that a scan found. Where that is more than one plan shall hold, it comes in parts."""

from __future__ import annotations

import dataclasses
import pickle
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Generic, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pinembed.catalogue.candidates import NOT_FOUND, Candidates, hashes_of
from pinembed.errors import DataError
from pinembed.machine import disk_of
from pinembed.nouns.failure import Failure
from pinembed.stores.address import Address, parse_place
from pinembed.stores.objects import is_prefix


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What one scan found, or a part of it.

    Attributes:
        folder: that all file names are relative to, absolute, or the address of a prefix; links in its path are kept,
            as a mount's name is what stays.
        candidates: sorted by file name, those in tars and Parquet files by file and then as they lie there.
        schema: metadata columns that the table needs.
        failures: what cannot be read at all: rows without a file, names that are no text, ids that are taken.
        notes: sentences for a person.
        seen: beginnings of the file names that the scan would have met, where their file is still there; "" is all.
        unsure: beginnings of file names of which it cannot say that.
        disk: that the folder lay on, as the system numbers it; 0 for a store.
        folders: whose rows are of these inputs: `folder`, and the one that it was before.
        has_more: another part follows.
    """

    folder: str
    candidates: Candidates
    schema: pa.Schema
    failures: tuple[Failure, ...]
    notes: tuple[str, ...] = ()
    seen: tuple[str, ...] = ("",)
    unsure: tuple[str, ...] = ()
    disk: int
    folders: tuple[str, ...]
    has_more: bool = False

    def check_presence(self) -> None:
        """Tell a lost disk from a lost file.

        Raises:
            DataError: the folder is gone, or another disk lies in its place, as where a mount was.
            StoreError: its store does not answer.
        """
        place = parse_place(self.folder)
        if isinstance(place, Address):
            is_there = is_prefix(place)
        else:
            try:
                is_there = disk_of(self.folder) == self.disk
            except OSError:
                is_there = False
        if not is_there:
            raise DataError(
                f"{self.folder} is not there any more; it went away during the run.",
                remedy="Bring the disk back and run the same command again; what was encoded so far is stored.",
            )


class InputParts(Iterable[Inputs]):
    """The inputs of a run: one part, or several that lie on disk until each is asked for.

    No two items of any parts have the same id: the first one in order keeps it, the others are failures.

    Args:
        scans: the parts, each made when the one before is put away.

    Attributes:
        folder: of all parts, as are the next two.
        folders: whose rows are theirs.
        disk: that the folder lay on.

    Raises:
        DataError: there is no room for several parts in the folder for temporary files.
    """

    def __init__(self, scans: Iterable[Inputs]) -> None:
        self._change: Callable[[Inputs], Inputs] = _same
        self._only: Inputs | None = None
        self._put_away: list[_PutAway] = []
        self._seen: tuple[str, ...] = ()
        self._unsure: tuple[str, ...] = ()
        for part in scans:
            self.folder, self.folders, self.disk = part.folder, part.folders, part.disk
            self._seen = part.seen
            self._unsure += part.unsure
            if part.has_more or self._put_away:
                self._put_away.append(_PutAway(self._without_taken(part)))
            else:
                self._only = part
            del part  # while the next one is made

    def __len__(self) -> int:
        return len(self._put_away) or 1

    def __iter__(self) -> Iterator[Inputs]:
        if self._only is not None:
            yield self._change(self._only)
        for part in self._put_away:
            yield self._change(part.load())

    def changed(self, change: Callable[[Inputs], Inputs]) -> InputParts:
        """The same with every part changed in what is neither its ids nor its files."""
        made = object.__new__(InputParts)
        made.__dict__ |= self.__dict__
        before = self._change
        made._change = lambda part: change(before(part))
        return made

    def hold(self, ids: pa.Array) -> NDArray[np.bool_]:
        """Which of the ids some item has; with several parts, one of 2^64 may be said to be there by mistake."""
        if self._only is not None:
            return np.not_equal(self._only.candidates.find(ids), NOT_FOUND)
        wanted, held = hashes_of(ids), np.zeros(len(ids), dtype=bool)
        for part in self._put_away:
            held |= part.may_hold(wanted)
        return held

    def would_have_seen(self, file_name: str) -> bool:
        """Whether a file of this folder that no part met is gone."""
        below = f"{file_name}/"  # so that a tar itself is among what was seen of it
        return below.startswith(self._seen) and not below.startswith(self._unsure)

    def _without_taken(self, part: Inputs) -> Inputs:
        """The part without items whose id one of the parts before has."""
        if not self._put_away:
            return part
        ids = part.candidates.ids
        wanted = hashes_of(ids)
        taken: dict[int, str] = {}
        for before in self._put_away:
            maybe = np.flatnonzero(before.may_hold(wanted))
            if len(maybe):
                held = before.load().candidates
                places = held.find(ids.take(pa.array(maybe)))
                is_held = places != NOT_FOUND
                names = held.names.take(places[is_held]).to_pylist()
                taken |= dict(zip(maybe[is_held].tolist(), names, strict=True))
        return without_taken(part, taken)


def without_taken(part: Inputs, holders: dict[int, str]) -> Inputs:
    """The inputs without items whose id another file has, each of which is a failure.

    Args:
        part: the inputs.
        holders: names of the files that have the ids, by the candidate's index.
    """
    if not holders:
        return part
    candidates = part.candidates
    taken = np.array(sorted(holders), np.int64)
    failures = [
        Failure(
            id=candidate.file_name,
            folder=part.folder,
            file_name=candidate.file_name,
            reason="id_taken",
            message=f"{candidate.file_name} has the id {candidate.id}, which {holders[index]} has.",
            size_bytes=candidate.size_bytes or 0,
            mtime_ns=candidate.mtime_ns,
        )
        for index, candidate in zip(taken.tolist(), candidates.at(taken), strict=True)
    ]
    left = candidates.without(taken.tolist())
    return dataclasses.replace(part, candidates=left, failures=(*part.failures, *failures))


Thing = TypeVar("Thing")


class OnDisk(Generic[Thing]):
    """What would take much memory, in a file without a name, which is gone however the process ends.

    Args:
        thing: what to put there.
        images: that it lists, for messages.

    Raises:
        DataError: there is no room in the folder for temporary files.
    """

    def __init__(self, thing: Thing, *, images: int) -> None:
        with _telling_of_room(images):
            self._file = tempfile.TemporaryFile(prefix="pinembed-")  # noqa: SIM115  (lives as long as this)
            pickle.dump(thing, self._file, protocol=5)
            self._file.flush()

    def load(self) -> Thing:
        """The same again."""
        self._file.seek(0)
        thing: Thing = pickle.load(self._file)
        return thing


class _PutAway(OnDisk[Inputs]):
    """A part, and the hashes of its ids."""

    def __init__(self, part: Inputs) -> None:
        images = len(part.candidates)
        # without its index
        super().__init__(dataclasses.replace(part, candidates=dataclasses.replace(part.candidates)), images=images)
        with _telling_of_room(images):
            self._hashes = _on_disk(np.sort(hashes_of(part.candidates.ids)))

    def may_hold(self, hashes: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of these hashes some id has."""
        ranks = np.searchsorted(self._hashes, hashes)
        inside = ranks < len(self._hashes)
        held = np.zeros(len(hashes), dtype=bool)
        held[inside] = self._hashes[ranks[inside]] == hashes[inside]
        return held


@contextmanager
def _telling_of_room(images: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{tempfile.gettempdir()} cannot take the list of {images} images: {error.strerror or error}.",
            remedy="Make room there, some 200 bytes for each image, or set TMPDIR to another folder.",
        ) from error


def _on_disk(hashes: NDArray[np.int64]) -> NDArray[np.int64]:
    if not len(hashes):
        return hashes
    file: IO[bytes]
    with tempfile.TemporaryFile(prefix="pinembed-") as file:
        hashes.tofile(file)
        file.flush()
        return np.memmap(file, np.int64, "r")


def _same(part: Inputs) -> Inputs:
    return part

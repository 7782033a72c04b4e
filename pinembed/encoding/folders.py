"""The folders that rows came from: whether each is there, on the disk that it was on, and what it holds of a row.

What a folder does not hold any more is not gone where the folder may be a disk that is away.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pinembed.catalogue.shards import PARQUET, TAR
from pinembed.errors import StoreError
from pinembed.machine import disk_of, mtime_ns_of
from pinembed.nouns.item import FileRange, Locator, ParquetCell, StagedRange, Unread
from pinembed.stores.address import Address, is_address, parse_place
from pinembed.stores.objects import is_prefix, list_objects, look_at
from pinembed.table.embedding_table import EmbeddingTable

SHARD_SUFFIXES = (TAR, PARQUET)
ASKED_ONE_BY_ONE = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Absence:
    """Why nobody can tell whether a file is gone.

    Attributes:
        place: the folder, or the link inside of it.
        found: how it looks.
        remedy: what to do where the files are gone for good.
    """

    place: str
    found: str
    remedy: str


class Folders:
    """The folders of a table's rows.

    The number of a disk may change when the machine starts again. So a folder is on another disk than before where the
    number is another one and the folder has less than half of the files that the table has of it.

    Args:
        table: None where there is none yet.
        disks: on which each folder was, as far as that is known.
    """

    def __init__(self, table: EmbeddingTable | None, disks: Mapping[str, int]) -> None:
        here = {folder: disk for folder, disk in disks.items() if not is_address(folder)}
        moved = {
            folder for folder, disk in here.items() if not _is_missing_or_empty(folder) and disk_of(folder) != disk
        }
        without = _without_their_files(table, moved) if table is not None and moved else ()
        self._absences: dict[str, Absence | None] = {folder: _on_other_disk(folder) for folder in without}
        self._stored: dict[Address, _StoredNames] = {}

    def absence(self, folder: str) -> Absence | None:
        """Of a whole folder; None where it is there."""
        if folder not in self._absences:
            self._absences[folder] = _missing(folder) if _is_missing_or_empty(folder) else None
        return self._absences[folder]

    def may_hold(self, folder: str, file_name: str) -> bool:
        """Whether a file exists, or the tar or Parquet file in which it was: only a run over that one can tell."""
        place = parse_place(folder)
        if isinstance(place, Path):
            return may_be_there(place, file_name)
        names = self._stored.setdefault(place, _StoredNames(place))
        try:
            shards = (
                parent.as_posix() for parent in PurePosixPath(file_name).parents if parent.suffix in SHARD_SUFFIXES
            )
            return any(map(names.has, (file_name, *shards)))
        except StoreError:  # who may not look cannot say that it is gone
            return True

    def is_on_other_disk(self, folder: str) -> bool:
        """Whether the folder is there, but on another disk than before."""
        return self.absence(folder) == _on_other_disk(folder)


class _StoredNames:
    """Which objects lie below a prefix: asked for one by one at first, and listed where many are asked for."""

    def __init__(self, prefix: Address) -> None:
        self._prefix = prefix
        self._asked = 0
        self._listed: frozenset[str] | None = None

    def has(self, name: str) -> bool:
        """Whether there is one of this name.

        Raises:
            StoreError: the store cannot be asked.
        """
        self._asked += 1
        if self._listed is None and self._asked > ASKED_ONE_BY_ONE:
            self._listed = frozenset(found.address.relative_to(self._prefix) for found in list_objects(self._prefix))
        return look_at(self._prefix / name) is not None if self._listed is None else name in self._listed


def _missing(folder: str) -> Absence:
    return Absence(
        place=folder,
        found="is missing or empty, as where a disk is away",
        remedy=f"Where it is gone for good, run over a whole folder with --moved-from {folder}.",
    )


def _on_other_disk(folder: str) -> Absence:
    return Absence(
        place=folder,
        found="is on another disk than before, without most of its files",
        remedy=f"Where it stays on this disk, run over it with --moved-from {folder}.",
    )


def absent_link(folder: str, file_name: str) -> Absence | None:
    """Of a link to a folder, on a file's path below its own folder, that leads to nothing; stores have no links."""
    if is_address(folder):
        return None
    links = (Path(folder, parent) for parent in PurePosixPath(file_name).parents if parent.name)
    lost = next((str(link) for link in links if link.is_symlink() and _is_missing_or_empty(link)), None)
    if lost is None:
        return None
    found, remedy = "leads to nothing, as where a disk is away", "Take the link out where its files are gone for good."
    return Absence(place=lost, found=found, remedy=remedy)


def _is_missing_or_empty(folder: str | Path) -> bool:
    place = parse_place(folder)
    if isinstance(place, Address):
        try:
            return not is_prefix(place)
        except StoreError:  # away, or not ours to look at
            return True
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is None
    except OSError:
        return True


def _without_their_files(table: EmbeddingTable, folders: set[str]) -> list[str]:
    """Those of the folders that have less than half of the files that the table has of them."""
    rows: Counter[str] = Counter()
    held: Counter[str] = Counter()
    for batch in table.batches(["folder", "file_name", "size_bytes", "mtime_ns"]):
        for folder, file_name, *facts in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            if folder in folders:
                rows[folder] += 1
                held[folder] += _is_unchanged(Path(folder), file_name, *facts)
    return [folder for folder, count in rows.items() if 2 * held[folder] < count]


def _is_unchanged(folder: Path, file_name: str, size_bytes: int, mtime_ns: int) -> bool:
    with suppress(OSError):
        shard = shard_of(folder, file_name)
        status = (shard or folder / file_name).stat()
        return mtime_ns_of(status) == mtime_ns and (shard is not None or status.st_size == size_bytes)
    return False


def is_of(folder: str, file_name: str, image: Locator) -> bool:
    """Whether a row's file is this very image, found by another path, or lies in the same tar or Parquet file."""
    path = parse_place(folder) / file_name
    if isinstance(image, StagedRange | Unread):
        return False
    if isinstance(path, Address):
        return path == image or (isinstance(image, FileRange | ParquetCell) and image.path in path.parents)
    held, ours = (path, image) if isinstance(image, Path | Address) else (shard_of(Path(folder), file_name), image.path)
    with suppress(OSError):  # gone, or not to be looked at
        return held is not None and isinstance(ours, Path) and held.samefile(ours)
    return False


def may_be_there(folder: Path, file_name: str) -> bool:
    """Whether the file exists, or the tar or Parquet file in which it was: only a run over that one can tell."""
    try:
        return (folder / file_name).exists() or shard_of(folder, file_name) is not None
    except OSError:  # who may not look cannot say that it is gone
        return True


def shard_of(folder: Path, file_name: str) -> Path | None:
    """The tar or Parquet file that a name leads through."""
    return next((folder / parent for parent in PurePosixPath(file_name).parents if (folder / parent).is_file()), None)

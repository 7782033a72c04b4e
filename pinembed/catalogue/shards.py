"""Tar and Parquet files that hold images: which ones the inputs are, what scanning gives, and that in columns."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from pinembed.catalogue.candidates import UNKNOWN_SIZE, Candidates, TextColumn, is_text, name_failure
from pinembed.catalogue.files import unlisted
from pinembed.catalogue.metadata import METADATA_NAMES, SPLIT
from pinembed.catalogue.names import PACKED
from pinembed.catalogue.packed import PackedFile, PackedImages
from pinembed.catalogue.split_words import split_named
from pinembed.errors import DataError
from pinembed.machine import mtime_ns_of
from pinembed.nouns.failure import Failure
from pinembed.stores.address import Place
from pinembed.stores.objects import StoredObject
from pinembed.table.schema import name_obstacle

TAKEN_PREFIX = "source_"
TAR, PARQUET = ".tar", ".parquet"


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """One tar or Parquet file.

    Attributes:
        path: the file, or its address.
        file_name: its name relative to the inputs' folder, with forward slashes.
        found: what the store told of an object.
    """

    path: Place
    file_name: str
    found: StoredObject | None = None

    def status(self) -> tuple[int, int]:
        """Its size in bytes, and when it last changed or the stamp of the object; zeros where it is gone."""
        if isinstance(self.path, Path):
            status = self.path.stat() if self.path.exists() else None
            return (status.st_size, mtime_ns_of(status)) if status else (0, 0)
        return (self.found.size_bytes, self.found.stamp) if self.found else (0, 0)


class FoundImages:
    """Collects the images of tars and Parquet files in columns, in their order.

    Attributes:
        unnamed: what cannot be an item, because its name or id is no text.
    """

    def __init__(self) -> None:
        self.unnamed: list[Failure] = []
        self._files: list[PackedFile] = []
        self._names, self._ids = TextColumn(), TextColumn()
        self._of = array("i")
        self._places, self._sizes, self._mtimes = array("q"), array("q"), array("q")

    def __len__(self) -> int:
        return len(self._of)

    def add_file(self, file: PackedFile) -> None:
        """The file of all images that follow."""
        self._files.append(file)

    def add(self, *, item_id: str, file_name: str, place: int, size_bytes: int = UNKNOWN_SIZE) -> bool:
        """An image of that file; whether it can be an item."""
        file = self._files[-1]
        if not (is_text(file_name) and is_text(item_id)):
            self.unnamed.append(name_failure(file_name, max(0, size_bytes), file.mtime_ns))
            return False
        self._names.append(file_name)
        self._ids.append(item_id)
        self._of.append(len(self._files) - 1)
        self._places.append(place)
        self._sizes.append(size_bytes)
        self._mtimes.append(file.mtime_ns)
        return True

    def candidates(self, fields: pa.Table | None) -> Candidates:
        """All of them.

        Args:
            fields: a row of metadata for each; one without columns counts as none.
        """
        of_N, places_N = np.array(self._of, np.int32), np.array(self._places, np.int64)
        return Candidates(
            names=self._names.to_arrow(),
            ids=self._ids.to_arrow(),
            size_bytes=np.array(self._sizes, np.int64),
            mtime_ns=np.array(self._mtimes, np.int64),
            fields=fields.combine_chunks() if fields is not None and fields.num_columns else None,
            images=PackedImages(files=tuple(self._files), of_N=of_N, places_N=places_N),
        )


@dataclass(kw_only=True)
class ShardScan:
    """What tar or Parquet files hold.

    Attributes:
        candidates: in the order of the files, and in each in the order in which the images lie there.
        failures: what cannot be an item.
        unnamed: what cannot be one because its name or id is no text.
        damaged: names of the files that were not read to their end, so that nobody knows what else they held.
        notes: for a person, such as columns that were left out.
        shards: how many of the files were scanned.
    """

    candidates: Candidates = field(default_factory=lambda: FoundImages().candidates(None))
    failures: list[Failure] = field(default_factory=list)
    unnamed: list[Failure] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    shards: int = 0

    @property
    def schema(self) -> pa.Schema:
        """Arrow types of the metadata columns."""
        fields = self.candidates.fields
        return pa.schema([]) if fields is None else fields.schema

    def give_up(self, shard: Shard, reason: str, words: str) -> None:
        """Note that a file could not be read, or only as far as its candidates go."""
        size_bytes, mtime_ns = shard.status()
        self.damaged.append(shard.file_name)
        self.failures.append(
            Failure(
                file_name=shard.file_name,
                reason=reason,
                message=f"{shard.file_name} {words}.",
                size_bytes=size_bytes,
                mtime_ns=mtime_ns,
            )
        )


def shard_kind(images: Place) -> str | None:
    """`.tar` or `.parquet` by the name of a file that is there; None for any other.

    Raises:
        DataError: a packed archive, whose members cannot be read where they lie.
    """
    name = images.name.lower()
    if name.endswith(PACKED):
        raise DataError(
            f"{images} is compressed; its images cannot be read where they lie.",
            remedy="Unpack it to a .tar or to a folder; JPEG does not get smaller by compression anyway.",
        )
    return next((kind for kind in (TAR, PARQUET) if name.endswith(kind)), None)


def shards_of_folder(root: Path) -> dict[str, list[Shard]]:
    """The tar and Parquet files below a folder by kind, sorted; its metadata file and hidden ones are none of them.

    Raises:
        DataError: a folder cannot be listed; half a listing would look as if files were gone.
    """
    found: dict[str, list[Shard]] = {}
    for folder, folders, names in os.walk(root, onerror=_refuse_unlisted):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            kind = Path(name).suffix.lower()
            if kind in {TAR, PARQUET} and name not in METADATA_NAMES and not name.startswith("."):
                path = Path(folder, name)
                found.setdefault(kind, []).append(Shard(path=path, file_name=path.relative_to(root).as_posix()))
    return {kind: sorted(shards, key=lambda shard: shard.file_name) for kind, shards in found.items()}


def packed_below(root: Path) -> list[str]:
    """Names of the packed archives below a folder, whose members cannot be read where they lie; sorted."""
    paths = (Path(folder, name) for folder, _, names in os.walk(root) for name in names)
    return sorted(path.relative_to(root).as_posix() for path in paths if path.name.lower().endswith(PACKED))


def _refuse_unlisted(error: OSError) -> None:
    raise unlisted(error.filename, error) from error


def refuse_nothing(scan: ShardScan, images: Place, shards: Sequence[Shard]) -> None:
    """Inputs without a single image are a mistake.

    Raises:
        DataError: there is no candidate.
    """
    if len(scan.candidates) or scan.unnamed:
        return
    reason = f" {scan.failures[0].message}" if scan.failures else ""
    raise DataError(
        f"{images} holds no image in {len(shards)} file(s).{reason}",
        remedy="Check the path: wanted tars with members such as 0001.jpg and 0001.json, or Parquet with a column of "
        "image bytes.",
    )


def fit_metadata(scan: ShardScan) -> Iterable[str]:
    """Name the metadata columns as the table can have them, and splits as everywhere.

    img2dataset's tars have a sha256, for one, which the table's own column is called.

    Returns:
        a sentence about each column that has another name.
    """
    fields = scan.candidates.fields
    if fields is None:
        return
    names: dict[str, str] = {}
    for name in fields.column_names:
        free = name.replace(".", "_") or "column"
        while name_obstacle(free) or free in names.values():
            free = f"{TAKEN_PREFIX}{free}"
        names[name] = free
        if free != name:
            yield f"The metadata's {name!r} is stored as {free}; the table cannot have a metadata column of that name."
    fields = fields.rename_columns(list(names.values()))
    if SPLIT in fields.column_names and pa.types.is_string(fields.schema.field(SPLIT).type):
        given = (part.to_pylist() for part in fields[SPLIT].chunks)
        splits = [pa.array(map(_split, words), pa.string()) for words in given]
        at = fields.column_names.index(SPLIT)
        fields = fields.set_column(at, SPLIT, pa.chunked_array(splits))
    scan.candidates = replace(scan.candidates, fields=fields)


def _split(word: str | None) -> str | None:
    return None if word is None else split_named(word)

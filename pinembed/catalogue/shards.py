"""Tar and Parquet files that hold images: which ones the inputs are, what scanning gives, and that in columns."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from pinembed.catalogue.candidates import UNKNOWN_SIZE, Candidates, TextColumn, is_text, name_failure
from pinembed.catalogue.files import unlisted
from pinembed.catalogue.metadata import METADATA_NAMES, SPLIT
from pinembed.catalogue.names import PACKED
from pinembed.catalogue.split_words import split_named
from pinembed.errors import DataError
from pinembed.machine import mtime_ns_of
from pinembed.nouns.failure import Failure
from pinembed.nouns.item import Candidate
from pinembed.stores.address import Place
from pinembed.stores.objects import StoredObject
from pinembed.stores.stamp import stamp_of
from pinembed.table.schema import column_of, metadata_fields, name_obstacle

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
        return (self.found.size_bytes, stamp_of(self.found.e_tag)) if self.found else (0, 0)


@dataclass(kw_only=True)
class ShardScan:
    """What tar or Parquet files hold.

    Attributes:
        candidates: in the order of the files, and in each in the order in which the images lie there.
        schema: Arrow types of the metadata columns.
        failures: what cannot be an item.
        damaged: names of the files that were not read to their end, so that nobody knows what else they held.
        notes: for a person, such as columns that were left out.
    """

    candidates: list[Candidate] = field(default_factory=list)
    schema: pa.Schema = field(default_factory=lambda: pa.schema([]))
    failures: list[Failure] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

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
    if scan.candidates:
        return
    reason = f" {scan.failures[0].message}" if scan.failures else ""
    raise DataError(
        f"{images} holds no image in {len(shards)} file(s).{reason}",
        remedy="Check the path: wanted tars with members such as 0001.jpg and 0001.json, or Parquet with a column of "
        "image bytes.",
    )


def rename_reserved_columns(scan: ShardScan) -> Iterable[str]:
    """Rename metadata columns whose names the table cannot give away; img2dataset's tars have a sha256, for one."""
    names: dict[str, str] = {}
    for name in scan.schema.names:
        free = name.replace(".", "_") or "column"
        while name_obstacle(free) or free in names.values():
            free = f"{TAKEN_PREFIX}{free}"
        names[name] = free
    renamed = {old: new for old, new in names.items() if old != new}
    if not renamed:
        return
    scan.schema = pa.schema([field.with_name(names[field.name]) for field in scan.schema])
    scan.candidates = [
        replace(candidate, fields={names[name]: value for name, value in candidate.fields.items()})
        for candidate in scan.candidates
    ]
    for old, new in renamed.items():
        yield f"The metadata's {old!r} is stored as {new}; the table cannot have a metadata column of that name."


def in_columns(found: Iterable[Candidate], schema: pa.Schema) -> tuple[Candidates, list[Failure]]:
    """What tars and Parquet files hold, in columns; names that are no text are failures.

    Args:
        found: in their order.
        schema: of their metadata.

    Raises:
        DataError: a value is not of its column's type.
    """
    names, ids = TextColumn(), TextColumn()
    kept: list[Candidate] = []
    failures = []
    for candidate in found:
        if is_text(candidate.file_name) and is_text(candidate.id):
            names.append(candidate.file_name)
            ids.append(candidate.id)
            kept.append(candidate)
        else:
            failures.append(name_failure(candidate.file_name, candidate.size_bytes or 0, candidate.mtime_ns))
    sizes = [UNKNOWN_SIZE if candidate.size_bytes is None else candidate.size_bytes for candidate in kept]
    candidates = Candidates(
        names=names.to_arrow(),
        ids=ids.to_arrow(),
        size_bytes=np.array(sizes, dtype=np.int64),
        mtime_ns=np.array([candidate.mtime_ns for candidate in kept], dtype=np.int64),
        fields=pa.table([_column(kept, field) for field in metadata_fields(schema)], names=schema.names)
        if schema.names
        else None,
        images=[candidate.image for candidate in kept],
    )
    return candidates, failures


def _column(candidates: Sequence[Candidate], field: pa.Field) -> pa.Array:
    values = [candidate.fields.get(field.name) for candidate in candidates]
    if field.name == SPLIT:
        values = [split_named(value) if isinstance(value, str) else value for value in values]
    return column_of(values, field)

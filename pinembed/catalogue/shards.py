"""Tar and Parquet files that hold images: which ones the inputs are, and what scanning them gives."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from pinembed.catalogue.metadata import METADATA_NAMES
from pinembed.errors import DataError
from pinembed.nouns.candidate import Candidate, Fault

TAR, PARQUET = ".tar", ".parquet"
PACKED = (".tar.gz", ".tgz", ".tar.zst", ".tar.bz2", ".tar.xz", ".zip")


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """One tar or Parquet file.

    Attributes:
        path: the file.
        file_name: its name relative to the inputs' folder, with forward slashes.
    """

    path: Path
    file_name: str


@dataclass(kw_only=True)
class ShardScan:
    """What tar or Parquet files hold.

    Attributes:
        candidates: in the order of the files, and in each in the order in which the images lie there.
        schema: Arrow types of the metadata columns.
        faults: what cannot be an item.
        damaged: names of the files that were not read to their end, so that nobody knows what else they held.
        notes: for a person, such as columns that were left out.
    """

    candidates: list[Candidate] = field(default_factory=list)
    schema: pa.Schema = field(default_factory=lambda: pa.schema([]))
    faults: list[Fault] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def give_up(self, shard: Shard, reason: str, words: str) -> None:
        """Note that a file could not be read, or only as far as its candidates go."""
        status = shard.path.stat() if shard.path.exists() else None
        self.damaged.append(shard.file_name)
        self.faults.append(
            Fault(
                file_name=shard.file_name,
                reason=reason,
                words=words,
                size_bytes=status.st_size if status else 0,
                mtime_ns=status.st_mtime_ns if status else 0,
            )
        )


def shard_kind(images: Path) -> str | None:
    """`.tar` or `.parquet` where the inputs are one such file; None for anything else.

    Raises:
        DataError: a packed archive, whose members cannot be read where they lie.
    """
    if not images.is_file():
        return None
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


def _refuse_unlisted(error: OSError) -> None:
    raise DataError(
        f"The folder {error.filename} cannot be listed: {error.strerror or error}.",
        remedy="Check its permissions and that the disk is there, then run again.",
    ) from error


def refuse_nothing(scan: ShardScan, images: Path, shards: Sequence[Shard]) -> None:
    """Inputs without a single image are a mistake.

    Raises:
        DataError: there is no candidate.
    """
    if scan.candidates:
        return
    first = next(iter(scan.faults), None)
    reason = f" {first.file_name} {first.words}." if first else ""
    raise DataError(
        f"{images} holds no image in {len(shards)} file(s).{reason}",
        remedy="Check the path: wanted tars with members such as 0001.jpg and 0001.json, or Parquet with a column of "
        "image bytes.",
    )

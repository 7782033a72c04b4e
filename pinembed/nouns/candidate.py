"""Candidate: one image that may become a row, and the Locator that says where its bytes lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pinembed.nouns.item import FieldValue


@dataclass(frozen=True, kw_only=True, slots=True)
class FileRange:
    """Bytes within a file: a member of a tar.

    Attributes:
        path: the file.
        name: of the member, for messages.
        offset: where it begins.
        size_bytes: its length.
        mtime_ns: of the file when the offset was found; a file that changed since has other bytes there.
    """

    path: Path
    name: str
    offset: int
    size_bytes: int
    mtime_ns: int

    def __str__(self) -> str:
        return f"{self.path}/{self.name}"


@dataclass(frozen=True, kw_only=True, slots=True)
class ParquetCell:
    """A value of a Parquet column.

    Attributes:
        path: the file.
        column: the column of bytes, or of a struct with a field `bytes`.
        number: the row's number in the file, from 0.
        row_group: that it lies in.
        row: its number in that group.
        mtime_ns: of the file when the row was found.
    """

    path: Path
    column: str
    number: int
    row_group: int
    row: int
    mtime_ns: int

    def __str__(self) -> str:
        return f"{self.path}/{self.column}/{self.number}"


Locator = Path | FileRange | ParquetCell
"""A Path is a whole file. `str()` of each is its name for people, and the path under which `search` finds it again."""


def tar_name(stored: str) -> str:
    """A tar member's name without the `./` and `/` that some tars put before every name."""
    return "/".join(part for part in stored.split("/") if part not in {"", "."})


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """One item and where its image lies.

    Attributes:
        id: of the item.
        file_name: of the image relative to the inputs' folder; for an image in a tar or Parquet file it leads through
            that file: `shards/000.tar/cat.jpg`, `train.parquet/image/17`.
        image: where its bytes lie.
        size_bytes: of the image; None where only reading it tells, as in Parquet.
        mtime_ns: last change of the file that holds it, nanoseconds since 1970.
        fields: what the table stores of the item's metadata.
    """

    id: str
    file_name: str
    image: Locator
    size_bytes: int | None
    mtime_ns: int
    fields: dict[str, FieldValue]

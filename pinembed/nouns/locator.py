"""Locator: where the bytes of one image lie. A worker process reads them; nobody else holds them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


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

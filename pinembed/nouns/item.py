"""Item: one catalogue entry, the unit of everything. Catalogue: all items of one DATA folder.

Candidate: an item of which only the place of its image's bytes is known, a Locator. Below them the one rule by which a
metadata value becomes text, or a number a third, for captions, queries, questions, groups and slices.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pinembed.stores.address import Address, Place

if TYPE_CHECKING:
    import pyarrow as pa

FieldValue = Any  # whatever a metadata column holds: str, int, float, bool, list, None


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One catalogue entry.

    Attributes:
        id: unique in its catalogue; the `id` column, or `file_name` where there is none.
        file_name: path relative to the catalogue's root, with forward slashes.
        path: the image file.
        fields: the other metadata columns by name; None where the value is missing.
        split: value of the `split` column or name of the split folder; None where there is none.
    """

    id: str
    file_name: str
    path: Path
    fields: Mapping[str, FieldValue] = field(default_factory=dict)
    split: str | None = None


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """All items of one DATA folder, sorted by file name.

    Attributes:
        root: the folder.
        items: sorted by `file_name`.
        schema: Arrow types of the metadata columns in `Item.fields`; empty for a folder without metadata.
        metadata: the metadata file, None for a bare folder.
    """

    root: Path
    items: tuple[Item, ...]
    schema: pa.Schema
    metadata: Path | None

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Item]:
        return iter(self.items)

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits that occur, sorted."""
        return tuple(sorted({item.split for item in self.items if item.split is not None}))


@dataclass(frozen=True, kw_only=True, slots=True)
class FileRange:
    """Bytes within a file: a member of a tar.

    Attributes:
        path: the file.
        name: of the member, for messages.
        offset: where it begins.
        size_bytes: its length.
        mtime_ns: of the file when the offset was found; a file that changed since has other bytes there. Of an object
            in a store its stamp.
        e_tag: of an object in a store.
    """

    path: Place
    name: str
    offset: int
    size_bytes: int
    mtime_ns: int
    e_tag: str = ""

    def __str__(self) -> str:
        return f"{self.path}/{self.name}"


@dataclass(frozen=True, kw_only=True, slots=True)
class StagedRange:
    """Bytes of an image from a store, in a file that was written for the one reading.

    Attributes:
        path: the file.
        name: of the image, for messages.
        offset: where its bytes begin.
        size_bytes: how many they are.
        mtime_ns: stamp of the object.
    """

    path: Path
    name: str
    offset: int
    size_bytes: int
    mtime_ns: int

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, kw_only=True, slots=True)
class Unread:
    """An image that a store did not give.

    Attributes:
        name: of the image.
        reason: as in an ImageError.
        message: as there.
        remedy: as there.
    """

    name: str
    reason: str
    message: str
    remedy: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, kw_only=True, slots=True)
class ParquetCell:
    """A value of a Parquet column.

    Attributes:
        path: the file.
        column: the column of bytes, or of a struct with a field `bytes`.
        number: the row's number in the file, from 0.
        row_group: that it lies in.
        row: its number in that group.
        mtime_ns: of the file when the row was found; of an object in a store its stamp.
        e_tag: of an object in a store.
    """

    path: Place
    column: str
    number: int
    row_group: int
    row: int
    mtime_ns: int
    e_tag: str = ""

    def __str__(self) -> str:
        return f"{self.path}/{self.column}/{self.number}"


Locator = Path | Address | FileRange | ParquetCell | StagedRange | Unread
"""A Path is a whole file, an Address a whole object. `str()` of each is its name for people, and the path or address
under which `search` finds it again."""


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


CutPoints = tuple[float, float]
"""The highest number of the lower third, and the highest of the middle one."""


def is_missing(value: FieldValue) -> bool:
    """None or NaN, which is how Parquet and pandas write a gap in a column of numbers."""
    return value is None or bool(value != value)


def text_of_value(value: FieldValue) -> str:
    """A value in words: white space folded, a list's entries joined by commas; empty where it is missing."""
    if is_missing(value):
        return ""
    if isinstance(value, list | tuple):
        return ", ".join(part for part in map(text_of_value, value) if part)
    return " ".join(str(value).split())


def cut_points(values: Iterable[FieldValue]) -> CutPoints | None:
    """Where a column of numbers, such as prices, is cut into thirds; None where it holds anything else, or nothing."""
    known = [value for value in values if not is_missing(value)]
    if not known or any(isinstance(value, bool) or not isinstance(value, int | float | Decimal) for value in known):
        return None

    import numpy as np  # late, for a search shows values and cuts none

    low, high = np.quantile(np.array(known, dtype=np.float64), (1 / 3, 2 / 3))
    return float(low), float(high)


def third_of(value: FieldValue, cuts: CutPoints) -> str:
    """`low`, `medium` or `high`; a number at a cut point belongs to the lower side. Empty where it is missing."""
    if is_missing(value):
        return ""
    low, high = cuts
    return "low" if value <= low else "medium" if value <= high else "high"

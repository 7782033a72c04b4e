"""Item: one catalogue entry, the unit of everything. Catalogue: all items of one DATA folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

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

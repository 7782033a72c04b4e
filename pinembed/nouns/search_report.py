"""SearchReport: the rows nearest to one query."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pinembed.nouns.item import FieldValue

TITLE_FIELDS = ("title", "name", "caption", "label", "product", "category")


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchResult:
    """One row.

    Attributes:
        rank: 1 is the nearest.
        score: cosine, -1 to 1.
        id: of the item.
        file_name: relative to `folder`.
        folder: the IMAGES folder that the file lay in when it was encoded.
        fields: the metadata columns.
    """

    rank: int
    score: float
    id: str
    file_name: str
    folder: str
    fields: Mapping[str, FieldValue]

    @property
    def path(self) -> Path:
        return Path(self.folder) / self.file_name


@dataclass(frozen=True, kw_only=True)
class SearchReport:
    """The rows nearest to one query, best first.

    Attributes:
        table: DATABASE/NAME.
        query: the text, the file or the id that was searched for.
        kind: `text`, `image` or `item`.
        rows: of the table; those that the condition leaves are searched.
        seconds: of the search in the table, without the encoder.
        results: best first.
        sheet: the contact sheet, None where none was asked for.
    """

    table: str
    query: str
    kind: str
    rows: int
    seconds: float
    results: tuple[SearchResult, ...]
    sheet: Path | None = None

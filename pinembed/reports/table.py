"""What `inspect` and `search` return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pinembed.nouns.encoder_spec import EncoderSpec
from pinembed.nouns.failure import Failure
from pinembed.nouns.item import FieldValue, text_of_value
from pinembed.nouns.run_record import RunRecord


@dataclass(frozen=True, kw_only=True)
class TableReport:
    """What a table holds.

    Attributes:
        rows: items with an embedding.
        dtype: of a stored float, `fp16` or `fp32`.
        reference: how the encoder was named when the table was made.
        columns: Arrow types by column.
        folders: rows by IMAGES folder.
        tags: version of the table by tag.
        last_commit: time of the last commit, ISO 8601 in UTC.
        fragments: pieces that the rows lie in.
        size_bytes: of the rows' files.
        failures: number of images without an embedding by reason.
        locked_by: who writes to it now; empty when nobody does.
        runs: the last runs of encode, the newest first.
    """

    table: str
    rows: int
    encoder: EncoderSpec
    dtype: str
    fingerprint: str
    reference: str
    columns: Mapping[str, str]
    folders: Mapping[str, int]
    tags: Mapping[str, int]
    version: int
    last_commit: str
    fragments: int
    size_bytes: int
    indices: tuple[str, ...]
    failures: Mapping[str, int]
    failed_images: tuple[Failure, ...]
    locked_by: str
    runs: tuple[RunRecord, ...]


TITLE_FIELDS = ("title", "name", "caption", "label", "product", "category")


def title_in(fields: Mapping[str, FieldValue], item_id: str) -> str:
    """The first title-like field of an item that has a value, or its id."""
    titles = (text_of_value(fields.get(name)) for name in TITLE_FIELDS)
    return next((title for title in titles if title), item_id)


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchResult:
    """One row.

    Attributes:
        rank: 1 is the nearest.
        score: cosine, -1 to 1.
        file_name: relative to `folder`.
        folder: the IMAGES folder that the file lay in when it was encoded.
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

    @property
    def title(self) -> str:
        """What a person calls the item: its first title-like field that has a value, or its id."""
        return title_in(self.fields, self.id)


@dataclass(frozen=True, kw_only=True)
class SearchReport:
    """The rows nearest to one query, best first.

    Attributes:
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

"""Candidate: one item of the inputs with the place of its image. Fault: what was found there and cannot be an item."""

from __future__ import annotations

from dataclasses import dataclass

from pinembed.nouns.item import FieldValue
from pinembed.nouns.locator import Locator


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """Something among the inputs that cannot be an item.

    Attributes:
        file_name: as for a candidate; may hold bytes that are no UTF-8, as the file system gives them.
        reason: short class of the failure.
        words: what is wrong, to follow the name in a sentence.
        size_bytes: of the file; 0 where there is none.
        mtime_ns: of the file; 0 where there is none.
    """

    file_name: str
    reason: str
    words: str
    size_bytes: int = 0
    mtime_ns: int = 0

"""Rows of a generation that a report can show: a sample that stays the same from night to night.

Legend: N rows of the sample, D floats of one embedding.
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinembed.errors import ImageError
from pinembed.generation.record import TABLE, TABLE_NAME
from pinembed.images.decode import read_image
from pinembed.nouns.item import text_of_value
from pinembed.reports.table import TITLE_FIELDS
from pinembed.table.embedding_table import EmbeddingTable
from pinembed.table.schema import VECTOR

FILES = ("id", "folder", "file_name")


@dataclass(frozen=True, kw_only=True)
class SampleRow:
    """One item as the report shows it."""

    id: str
    path: Path
    title: str
    group: str


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Some rows of a table.

    Attributes:
        rows: in the order of `vector_ND`.
        vector_ND: float32, norm 1.
        ids: of all rows of the table, those outside of the sample too.
    """

    rows: tuple[SampleRow, ...]
    vector_ND: NDArray[np.float32]
    ids: frozenset[str]


def read_sample(folder: Path, *, most: int, group: str | None) -> Sample:
    """The items of a generation with the lowest hash of their id, the same in every generation.

    Args:
        folder: of the generation.
        most: rows.
        group: column of a product or kind; None where there is none.
    """
    table = EmbeddingTable.open(str(folder / TABLE / TABLE_NAME))
    ids = [item for batch in table.batches(["id"]) for item in batch["id"].to_pylist()]
    order = sorted(range(len(ids)), key=lambda row: hashlib.sha256(ids[row].encode()).digest())[:most]
    picked = sorted(order)
    told = [name for name in (*TITLE_FIELDS, group or "") if name in table.schema.names]
    columns = list(dict.fromkeys((*FILES, *told, VECTOR)))
    found = table.dataset.take(picked, columns=columns) if picked else table.schema.empty_table().select(columns)
    vectors = found[VECTOR].combine_chunks().flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    records = found.drop_columns([VECTOR]).to_pylist()
    return Sample(
        rows=tuple(_row(record, told, group) for record in records),
        vector_ND=vectors.reshape(len(records), -1),
        ids=frozenset(ids),
    )


def _row(record: Mapping[str, Any], told: list[str], group: str | None) -> SampleRow:
    titles = (text_of_value(record[name]) for name in told if name in TITLE_FIELDS)
    return SampleRow(
        id=record["id"],
        path=Path(record["folder"]) / record["file_name"],
        title=next((title for title in titles if title), record["id"]),
        group=text_of_value(record.get(group)) if group else "",
    )


def thumbnail(path: Path, side_px: int) -> str:
    """A picture as a data address, at most so large; empty where it cannot be read any more."""
    try:
        image = read_image(path, at_least_px=2 * side_px)
    except ImageError:
        return ""
    image.thumbnail((side_px, side_px))
    written = io.BytesIO()
    image.convert("RGB").save(written, "WEBP", quality=70)
    return "data:image/webp;base64," + base64.b64encode(written.getvalue()).decode()

"""Rows of a generation that a report can show: a sample that stays the same from night to night.

And which of its items are found better or worse than by the last generation: their own kind among their neighbours.
Legend: N rows of the sample, D floats of one embedding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinembed.generation.record import table_in
from pinembed.nouns.item import text_of_value
from pinembed.reports.table import TITLE_FIELDS
from pinembed.source.id_index import hash_ids
from pinembed.table.embedding_table import EmbeddingTable, id_conditions
from pinembed.table.schema import VECTOR

CONTENT_DIGITS = 16  # that tell one picture from another
FILES = ("id", "folder", "file_name", "sha256")
SAMPLE_ITEMS = 1200
SHOWN = 4  # neighbours of an item
Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class SampleRow:
    """One item as the report shows it; `content` begins the sha256 of its picture's file."""

    id: str
    path: Path
    title: str
    group: str
    content: str = ""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Some rows of a table.

    Attributes:
        rows: in the order of `vector_ND`.
        vector_ND: float32, norm 1.
    """

    rows: tuple[SampleRow, ...]
    vector_ND: NDArray[np.float32]


def read_sample(folder: Path, *, group: str | None) -> Sample:
    """The SAMPLE_ITEMS of a generation with the lowest hash of their id, the same in every generation.

    Args:
        folder: of the generation.
        group: column of a product or kind; None where there is none.
    """
    table = EmbeddingTable.open(table_in(folder))
    hashes = [hash_ids(map(str.encode, batch["id"].to_pylist())) for batch in table.batches(["id"])]
    picked = sorted(np.argsort(np.concatenate(hashes), kind="stable")[:SAMPLE_ITEMS].tolist()) if hashes else []
    told = [name for name in (*TITLE_FIELDS, group or "") if name in table.schema.names]
    columns = list(dict.fromkeys((*FILES, *told, VECTOR)))
    found = table.dataset.take(picked, columns=columns) if picked else table.schema.empty_table().select(columns)
    vectors = found[VECTOR].combine_chunks().flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    records = found.drop_columns([VECTOR]).to_pylist()
    return Sample(
        rows=tuple(_row(record, told, group) for record in records),
        vector_ND=vectors.reshape(len(records), -1),
    )


def held_ids(folder: Path, ids: Sequence[str]) -> frozenset[str]:
    """Which of these items a generation holds."""
    table = EmbeddingTable.open(table_in(folder))
    found = (table.dataset.to_table(columns=["id"], filter=condition) for condition in id_conditions(ids))
    return frozenset(item for part in found for item in part["id"].to_pylist())


def _row(record: Mapping[str, Any], told: list[str], group: str | None) -> SampleRow:
    titles = (text_of_value(record[name]) for name in told if name in TITLE_FIELDS)
    return SampleRow(
        id=record["id"],
        path=Path(record["folder"]) / record["file_name"],
        title=next((title for title in titles if title), record["id"]),
        group=text_of_value(record.get(group)) if group else "",
        content=record["sha256"][:CONTENT_DIGITS],
    )


@dataclass(frozen=True, kw_only=True)
class NeighbourChange:
    """One item under two encoders.

    Attributes:
        item: that asks.
        before: its average precision over the items of its group, under the old encoder; `after` under the new one.
        old: its nearest items under the old encoder; `new` under the new one.
    """

    item: SampleRow
    before: float
    after: float
    old: tuple[SampleRow, ...]
    new: tuple[SampleRow, ...]

    @property
    def change(self) -> float:
        return self.after - self.before


def neighbour_changes(old: Sample, new: Sample) -> list[NeighbourChange]:
    """All items that both samples hold and that have another of their group there, the greatest loss first."""
    place = {row.id: index for index, row in enumerate(old.rows)}
    both = [(place[row.id], index) for index, row in enumerate(new.rows) if row.id in place and row.group]
    if len(both) < 2:
        return []
    old_N, new_N = (np.array(side) for side in zip(*both, strict=True))
    rows = [new.rows[index] for index in new_N.tolist()]
    codes = np.unique([row.group for row in rows], return_inverse=True)[1]
    before, old_order = _ranked(old.vector_ND[old_N], codes)
    after, new_order = _ranked(new.vector_ND[new_N], codes)
    found = [
        NeighbourChange(
            item=row,
            before=float(before[at]),
            after=float(after[at]),
            old=tuple(rows[other] for other in old_order[at]),
            new=tuple(rows[other] for other in new_order[at]),
        )
        for at, row in enumerate(rows)
        if not np.isnan(before[at])
    ]
    return sorted(found, key=lambda change: (change.change, change.item.id))


def _ranked(vector_ND: Floats, codes: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Average precision of each item, NaN where its group has no other, and the indices of its nearest items."""
    score_NN = vector_ND @ vector_ND.T
    np.fill_diagonal(score_NN, -np.inf)
    order_NN = np.argsort(-score_NN, axis=1, kind="stable")[:, :-1]
    is_hit = codes[order_NN] == codes[:, None]
    ranks = np.arange(1, order_NN.shape[1] + 1)
    hits = is_hit.sum(axis=1)
    precision = (np.cumsum(is_hit, axis=1) / ranks * is_hit).sum(axis=1)
    with np.errstate(invalid="ignore"):
        return np.where(hits > 0, precision / hits, np.nan), order_NN[:, :SHOWN]

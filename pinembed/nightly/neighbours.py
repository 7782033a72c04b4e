"""Which items are found better or worse than by the last generation: their own kind among their nearest neighbours.

Legend: N items that both generations hold, D floats of one embedding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pinembed.nightly.sample import Sample, SampleRow

SHOWN = 4  # neighbours of an item
Floats = NDArray[np.float32]


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

"""Nearest: rows of a table near to a vector, its vectors held in memory where they fit, for turn comes after turn.

Legend: N rows, D floats of a vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pinembed.source.rows import rows_of_batch
from pinembed.table.embedding_table import SCORE, EmbeddingTable, id_conditions, reading
from pinembed.table.schema import VECTOR

Floats = NDArray[np.float32]
MOST_BYTES = 2**30
"""Of vectors in fp32; a larger table is searched by Lance, which reads its vectors or an index of them each time."""


FEW = 4
"""A condition leaves few rows where it leaves less than a fourth of them."""


@dataclass(frozen=True, kw_only=True)
class _Held:
    """A table in memory; `number_N` are Lance's row numbers, ascending."""

    ids_N: pa.Array
    number_N: NDArray[np.int64]
    vectors_ND: Floats


class Nearest:
    """Searches a table again and again, in the version that was opened.

    Args:
        table: to be searched.
        columns: of the rows that are found.
    """

    def __init__(self, table: EmbeddingTable, columns: Sequence[str]) -> None:
        self._table, self._columns = table, list(columns)
        self._fits = 4 * table.spec.dim * table.count_rows() <= MOST_BYTES

    def find(self, vector_D: Floats, limit: int, *, where: str | None) -> pa.Table:
        """The rows with the greatest cosine, best first, with the column SCORE.

        Raises:
            UsageError: the condition is not one that the table understands.
            TableError: the table cannot be read.
        """
        if not self._fits:
            return self._table.nearest(vector_D.tolist(), limit, where=where)
        held = self._held
        places_M = np.arange(len(held.vectors_ND)) if where is None else self._fitting(where)
        if len(places_M) * FEW < len(held.vectors_ND):
            scores_M = held.vectors_ND[places_M] @ vector_D
        else:  # a copy of many rows costs more than their products
            scores_M = (held.vectors_ND @ vector_D)[places_M]
        best_K = _greatest(scores_M, limit)
        return self._rows(held.ids_N.take(pa.array(places_M[best_K])), scores_M[best_K])

    @cached_property
    def _held(self) -> _Held:
        """Ids and vectors, in the order of Lance's row numbers."""
        ids, numbers, vectors = list[str](), [np.empty(0, np.int64)], [np.empty((0, self._table.spec.dim), np.float32)]
        with reading(self._table.address):
            for batch in self._table.dataset.to_batches(columns=["id", VECTOR], with_row_id=True):
                batch_ids, vectors_BD = rows_of_batch(batch)
                ids += batch_ids
                numbers.append(_numbers(batch))
                vectors.append(vectors_BD.astype(np.float32))
        number_N = np.concatenate(numbers)
        order_N = np.argsort(number_N)
        return _Held(
            ids_N=pa.array(ids, pa.string()).take(pa.array(order_N)),
            number_N=number_N[order_N],
            vectors_ND=np.concatenate(vectors)[order_N],
        )

    def _fitting(self, where: str) -> NDArray[np.int64]:
        """Places of the rows that a condition picks."""
        with reading(self._table.address, where):
            found = self._table.dataset.to_table(columns=[], filter=where, with_row_id=True)
        return np.sort(np.searchsorted(self._held.number_N, _numbers(found)))

    def _rows(self, ids: pa.Array, scores_K: Floats) -> pa.Table:
        """The rows of these ids in their order."""
        with reading(self._table.address):
            found = pa.concat_tables(
                [
                    self._table.dataset.to_table(columns=self._columns, filter=condition)
                    for condition in id_conditions(ids.to_pylist())
                ]
                or [self._table.dataset.to_table(columns=self._columns, limit=0)]
            )
        place_of = {item: place for place, item in enumerate(found["id"].to_pylist())}
        in_order = found.take(pa.array([place_of[item] for item in ids.to_pylist()], pa.int64()))
        return in_order.append_column(SCORE, pa.array(scores_K, pa.float32()))


def _numbers(rows: pa.RecordBatch | pa.Table) -> NDArray[np.int64]:
    numbers_N: NDArray[np.int64] = rows.column("_rowid").to_numpy().astype(np.int64)
    return numbers_N


def _greatest(scores_M: Floats, limit: int) -> NDArray[np.int64]:
    """Places of the greatest scores, the greatest first; of equal ones the first."""
    if limit < len(scores_M):
        least = np.partition(scores_M, len(scores_M) - limit)[len(scores_M) - limit]
        places = np.flatnonzero(scores_M >= least)
    else:
        places = np.arange(len(scores_M))
    return places[np.argsort(-scores_M[places], kind="stable")][:limit]

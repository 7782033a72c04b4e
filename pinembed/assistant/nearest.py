"""Nearest: rows of a table near to a vector, its vectors held in memory where they fit, for turn comes after turn.

Legend: N rows, D floats of a vector.
"""

from __future__ import annotations

from collections.abc import Sequence
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
        ids_N, vectors_ND = self._held
        places_M = np.arange(len(ids_N)) if where is None else self._fitting(where)
        scores_M = vectors_ND[places_M] @ vector_D if where is not None else vectors_ND @ vector_D
        best_K = np.argsort(-scores_M, kind="stable")[:limit]
        return self._rows(ids_N.take(pa.array(places_M[best_K])), scores_M[best_K])

    @cached_property
    def _held(self) -> tuple[pa.Array, Floats]:
        """Ids and vectors, in the table's order."""
        parts = [rows_of_batch(batch) for batch in self._table.batches(["id", VECTOR])]
        vectors_ND = [vectors.astype(np.float32) for _, vectors in parts]
        ids = pa.array([item for items, _ in parts for item in items], pa.string())
        return ids, np.concatenate([np.empty((0, self._table.spec.dim), np.float32), *vectors_ND])

    @cached_property
    def _place_of(self) -> dict[str, int]:
        return {item: place for place, item in enumerate(self._held[0].to_pylist())}

    def _fitting(self, where: str) -> NDArray[np.int64]:
        """Places of the rows that a condition picks."""
        with reading(self._table.address, where):
            ids = self._table.dataset.to_table(columns=["id"], filter=where)["id"].to_pylist()
        return np.fromiter((self._place_of[item] for item in ids), np.int64, len(ids))

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

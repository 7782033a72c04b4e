"""Nearest: rows of a table by id, and near to a vector; held in memory where they fit, for turn comes after turn.

Legend: N rows, D floats of a vector, M of the rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pinembed.errors import UnknownItemError
from pinembed.source.rows import rows_of_batch
from pinembed.table.embedding_table import SCORE, EmbeddingTable, id_conditions, reading
from pinembed.table.schema import VECTOR

Floats = NDArray[np.float32]
MOST_BYTES = 2**30
"""Of vectors in fp32; a larger table is searched by Lance, which reads its vectors or an index of them each time."""
MOST_CONDITIONS = 16
"""Conditions whose rows are remembered: a list, its count and its next page ask for the same."""
FEW = 4
"""A condition leaves few rows where it leaves less than a fourth of them."""


@dataclass(frozen=True, kw_only=True)
class _Held:
    """A table in memory, its rows in their order.

    Attributes:
        place_of: an item's row.
        number_N: Lance's row numbers in ascending order.
        place_N: the rows of these numbers.
    """

    place_of: Mapping[str, int]
    number_N: NDArray[np.int64]
    place_N: NDArray[np.int64]
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
        self._fitting = lru_cache(MOST_CONDITIONS)(self._read_fitting)

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
            scores_M = _products(held.vectors_ND[places_M], vector_D)
        else:  # a copy of many rows costs more than their products
            scores_M = _products(held.vectors_ND, vector_D)
            scores_M = scores_M if where is None else scores_M[places_M]
        best_K = _greatest(scores_M, limit)
        return self._taken(places_M[best_K]).append_column(SCORE, pa.array(scores_M[best_K], pa.float32()))

    def rows(self, ids: Sequence[str]) -> list[dict[str, Any]]:
        """The rows of these ids that there are, in the order asked.

        Raises:
            TableError: the table cannot be read.
        """
        if not ids:
            return []
        if self._fits:
            place_of = self._held.place_of
            found = self._taken(np.array([place_of[item] for item in ids if item in place_of], np.int64)).to_pylist()
        else:
            with reading(self._table.address):
                found = [
                    row
                    for condition in id_conditions(ids)
                    for row in self._table.dataset.to_table(columns=self._columns, filter=condition).to_pylist()
                ]
        row_of = {row["id"]: row for row in found}
        return [row_of[item] for item in ids if item in row_of]

    def row(self, item: str) -> dict[str, Any]:
        """The row of an item.

        Raises:
            UnknownItemError: the table does not hold it.
            TableError: the table cannot be read.
        """
        found = self.rows([item])
        if not found:
            raise UnknownItemError(
                f"Table {self._table.address} holds no item {item!r} among its {self._table.count_rows()} rows.",
                remedy="Check the id; it is the `id` column of the metadata, or the file name where there is none.",
            )
        return found[0]

    def vector(self, item: str) -> Floats:
        """The vector of an item, (D,).

        Raises:
            UnknownItemError: the table does not hold it.
            TableError: the table cannot be read.
        """
        if self._fits and (place := self._held.place_of.get(item)) is not None:
            vector_D: Floats = self._held.vectors_ND[place]
            return vector_D
        return np.asarray(self._table.vector_of(item), np.float32)

    @cached_property
    def _held(self) -> _Held:
        ids, numbers, vectors = list[str](), [np.empty(0, np.int64)], [np.empty((0, self._table.spec.dim), np.float32)]
        with reading(self._table.address):
            batches = self._table.dataset.to_batches(columns=["id", VECTOR], with_row_id=True, scan_in_order=True)
            for batch in batches:
                batch_ids, vectors_BD = rows_of_batch(batch)
                ids += batch_ids
                numbers.append(_numbers(batch))
                vectors.append(vectors_BD.astype(np.float32))
        number_N = np.concatenate(numbers)
        place_N = np.argsort(number_N, kind="stable")
        return _Held(
            place_of={item: place for place, item in enumerate(ids)},
            number_N=number_N[place_N],
            place_N=place_N,
            vectors_ND=np.concatenate(vectors),
        )

    def count(self, where: str | None) -> int:
        """How many rows a condition picks; all of them without one.

        Raises:
            UsageError, TableError: as for `find`.
        """
        if where is None or not self._fits:
            return self._table.count_rows(where)
        return len(self._fitting(where))

    def _read_fitting(self, where: str) -> NDArray[np.int64]:
        """Places of the rows that a condition picks."""
        with reading(self._table.address, where):
            found = self._table.dataset.to_table(columns=[], filter=where, with_row_id=True)
        held = self._held
        return np.sort(held.place_N[np.searchsorted(held.number_N, _numbers(found))])

    def _taken(self, places_M: NDArray[np.int64]) -> pa.Table:
        """The rows at these places, in their order."""
        with reading(self._table.address):
            if not len(places_M):
                return self._table.dataset.to_table(columns=self._columns, limit=0)
            return self._table.dataset.take(pa.array(places_M), columns=self._columns)


def _numbers(rows: pa.RecordBatch | pa.Table) -> NDArray[np.int64]:
    numbers_N: NDArray[np.int64] = rows.column("_rowid").to_numpy().astype(np.int64)
    return numbers_N


def _products(vectors_MD: Floats, vector_D: Floats) -> Floats:
    """(M,): by einsum, which reads the rows once and in order; numpy's BLAS takes twice as long, by threads or not."""
    products_M: Floats = np.einsum("md,d->m", vectors_MD, vector_D)
    return products_M


def _greatest(scores_M: Floats, limit: int) -> NDArray[np.int64]:
    """Places of the greatest scores, the greatest first; of equal ones the first."""
    if limit < len(scores_M):
        least = np.partition(scores_M, len(scores_M) - limit)[len(scores_M) - limit]
        places = np.flatnonzero(scores_M >= least)
    else:
        places = np.arange(len(scores_M))
    return places[np.argsort(-scores_M[places], kind="stable")][:limit]

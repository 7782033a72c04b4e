"""Retrieval: a search of a conversation to results, by conditions in Lance and one vector; no image is opened."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pinembed.assistant.condition import Condition, number_in, sql_of
from pinembed.assistant.nearest import Nearest
from pinembed.assistant.state import Search
from pinembed.assistant.targets import EmbedTexts, Target, Targets
from pinembed.assistant.taste_order import TasteOrder
from pinembed.assistant.vocabulary import Vocabulary
from pinembed.nouns.item import text_of_value
from pinembed.reports.table import SearchResult
from pinembed.table.embedding_table import EmbeddingTable, reading
from pinembed.table.queries import result_of
from pinembed.table.schema import IMAGE_VECTOR, VECTOR

POOL = 50
"""Nearest results that another order is made of, where a vector is part of the search."""
OVERSAMPLED = 8
"""Rows for each wanted product where several rows are one product."""


class Retriever:
    """Finds what a search wants.

    Args:
        table: the catalogue.
        vocabulary: of the table.
        embed_texts: texts to (N, D) unit rows, by the table's encoder.
        group: column of equal products, of which a list has one each; None for every row.
        taste: orders results for users; None without a store.
    """

    def __init__(
        self,
        table: EmbeddingTable,
        vocabulary: Vocabulary,
        embed_texts: EmbedTexts,
        *,
        group: str | None = None,
        taste: TasteOrder | None = None,
    ) -> None:
        self.table = table
        self.vocabulary = vocabulary
        self.taste = taste
        self._group = group
        self._fields = [name for name in table.schema.names if name not in (VECTOR, IMAGE_VECTOR)]
        self._near = Nearest(table, self._fields)
        self._targets = Targets(table, vocabulary, embed_texts, self._near)

    def find(
        self, search: Search, *, k: int, start: int = 0, user: str = "", where: str | None = None
    ) -> list[SearchResult]:
        """Some of the results; all of them satisfy every condition.

        Args:
            search: of the conversation.
            k: how many.
            start: place of the first of them among all that are found, from 0.
            user: whose taste orders them; empty for nobody's.
            where: SQL condition beside those of the search.

        Raises:
            TableError: the table cannot be read.
            UsageError: the table does not understand the condition.
        """
        where = self._condition(search.filters, where)
        target = self._targets.of(search)
        if search.sort is not None and target.vector_D is None:
            return self._sorted(search, where, start, k)
        pools = (
            search.sort is not None or bool(target.fields) or (self.taste is not None and bool(user or search.beside))
        )
        wanted = max(start + k, POOL) if pools else start + k
        rows = self._nearest(target.vector_D, wanted, where, self._without(search))
        rows = self._ordered(rows, target, search, user)
        return [result_of(row, rank) for rank, row in enumerate(rows[start : start + k], start=1)]

    def count(self, filters: Sequence[Condition], where: str | None = None, *, without: Search | None = None) -> int:
        """How many products satisfy conditions: rows, where no column tells equal products.

        Args:
            filters: the conditions.
            where: SQL condition beside them.
            without: a search; the item that its results are compared with counts for nothing.
        """
        picked = self._condition(filters, where)
        item = (without.like or without.beside) if without is not None else ""
        own = self._near.rows([item]) if item else []
        fitting = [row for row in own if all(condition.holds(row) for condition in filters)]
        if self._group is None:
            return self._near.count(picked) - len(fitting)
        with reading(self.table.address, picked):
            column = self.table.dataset.to_table(columns=[self._group], filter=picked)[self._group]
        rows_of = _counted(column)
        alone = rows_of.pop("", 0) - sum(not text_of_value(row[self._group]) for row in fitting)
        return alone + len(rows_of.keys() - {text_of_value(row[self._group]) for row in own})

    def _condition(self, filters: Sequence[Condition], where: str | None) -> str | None:
        parts = filter(None, (sql_of(filters, self.vocabulary.lists), where and f"({where})"))
        return " AND ".join(parts) or None

    def rows(self, ids: Sequence[str]) -> list[SearchResult]:
        """These items in their order; one that the table does not hold any more has no fields."""
        found = {row["id"]: row for row in self._near.rows(ids)}
        gone = {"file_name": "", "folder": ""}
        return [result_of(found.get(item, {"id": item, **gone}), rank) for rank, item in enumerate(ids, start=1)]

    def rows_where(self, where: str, *, limit: int | None = None) -> list[SearchResult]:
        """Rows that a condition picks, in the table's order.

        Raises:
            TableError: the table cannot be read.
        """
        with reading(self.table.address):
            found = self.table.dataset.to_table(columns=self._fields, filter=where, limit=limit)
        return [result_of(row, rank) for rank, row in enumerate(found.to_pylist(), start=1)]

    def _without(self, search: Search) -> set[str]:
        """The item that results are compared with, and its group, are none of them."""
        item = search.like or search.beside
        if not item:
            return set()
        return {item, *(self._product(row) for row in self._near.rows([item]))}

    def _product(self, row: Mapping[str, Any]) -> str:
        value = text_of_value(row.get(self._group)) if self._group else ""
        return f"{self._group}: {value}" if value else str(row["id"])

    def _nearest(
        self, vector_D: NDArray[np.float32] | None, count: int, where: str | None, without: set[str]
    ) -> list[dict[str, Any]]:
        """The best rows, one of each product; of no vector the first ones in the table's order."""
        limit = (count + 1) * (OVERSAMPLED if self._group else 1) + len(without)
        while True:
            if vector_D is None:
                with reading(self.table.address, where):
                    found = self.table.dataset.to_table(columns=self._fields, filter=where, limit=limit)
            else:
                found = self._near.find(vector_D, limit, where=where)
            kept = self._distinct(found.to_pylist(), without)
            if len(kept) >= count or found.num_rows < limit:
                return kept
            limit *= 4

    def _distinct(self, rows: Sequence[dict[str, Any]], without: set[str]) -> list[dict[str, Any]]:
        seen, kept = set(without), []
        for row in rows:
            product = self._product(row)
            if product not in seen and row["id"] not in without:
                seen.add(product)
                kept.append(row)
        return kept

    def _sorted(self, search: Search, where: str | None, start: int, k: int) -> list[SearchResult]:
        """In the order of a number alone, over all that fit."""
        assert search.sort is not None  # the caller looked
        columns = list(dict.fromkeys(["id", search.sort.column, *filter(None, [self._group])]))
        with reading(self.table.address, where):
            found = self.table.dataset.to_table(columns=columns, filter=where)
        order = "descending" if search.sort.descending else "ascending"
        keys = [(search.sort.column, order), ("id", "ascending")]
        rows = self._distinct(found.take(pc.sort_indices(found, keys)).to_pylist(), set())
        return self.rows([row["id"] for row in rows[start : start + k]])

    def _ordered(self, rows: list[dict[str, Any]], target: Target, search: Search, user: str) -> list[dict[str, Any]]:
        """Rows of a pool: by a number, by what they share with an edited item, by what users chose, by taste."""
        if search.sort is not None:
            column, sign = search.sort.column, -1 if search.sort.descending else 1
            numbers = {row["id"]: number_in(row, column) for row in rows}
            return sorted(rows, key=lambda row: math.inf if (n := numbers[row["id"]]) is None else sign * n)
        if target.fields:
            rows = sorted(rows, key=lambda row: -sum(row[name] == value for name, value in target.fields.items()))
        if self.taste is None:
            return rows
        by_id = {row["id"]: row for row in rows}
        ids = list(by_id)
        ids = self.taste.ordered_beside(search.beside, ids) if search.beside else ids
        return [by_id[item] for item in self.taste.ordered(user, ids)]


def _counted(column: pa.ChunkedArray) -> Counter[str]:
    """Rows by the text of their value; of missing ones by an empty text."""
    if pa.types.is_nested(column.type):
        return Counter(map(text_of_value, column.to_pylist()))
    rows_of: Counter[str] = Counter()
    for pair in pc.value_counts(column).to_pylist():
        rows_of[text_of_value(pair["values"])] += pair["counts"]
    return rows_of

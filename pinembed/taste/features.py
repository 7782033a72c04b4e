"""What is known of an item without any event: its vector and its metadata, as blocks of equal weight.

A text column is a bag of words weighted by rarity, a number or date falls into nested bins, so that near values share
most of them. The similarity of two items is the mean over blocks of their cosines.

Legend: N items, D floats of an embedding, T words and bins of all columns, M chosen items.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import sparse

from pinembed.nouns.item import text_of_value
from pinembed.table.embedding_table import EmbeddingTable
from pinembed.table.schema import OWN_COLUMNS
from pinembed.taste.item_vectors import ItemVectors

WORD = re.compile(r"\w+")
FEWEST_ITEMS = 3
"""A word or bin of fewer items tells nothing that could be carried over to another."""
MOST_WORDS = 5000
RESOLUTIONS = (4, 8, 16, 32)
BIAS = 0.09
"""Similarity of any two items, through which a head learns how popular an item of any kind is."""
NOT_TASTE = {"split"}

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class ItemFeatures:
    """Features of all items, in the order of `ItemVectors.ids`.

    Attributes:
        dense_ND: vectors without their mean, each of norm 1.
        sparse_NT: words and bins of the columns, each column's part of norm 1.
        blocks: the vector, and each column that says something.
    """

    dense_ND: Floats
    sparse_NT: sparse.csr_array
    blocks: int

    @classmethod
    def read(cls, table: EmbeddingTable, items: ItemVectors) -> ItemFeatures:
        """Features of the items of a table.

        Raises:
            TableError: the table cannot be read.
        """
        names = [name for name in table.schema.names if name not in OWN_COLUMNS and name not in NOT_TASTE]
        columns: dict[str, list[pa.Array]] = {name: [] for name in names}
        ids: list[str] = []
        for batch in table.batches(["id", *names]):
            ids += batch.column("id").to_pylist()
            for name in names:
                columns[name].append(batch.column(name))
        order = pa.array(np.argsort([items.row_of[item_id] for item_id in ids]) if ids else np.empty(0, np.int64))
        read = (pa.chunked_array(columns[name], table.schema.field(name).type).take(order) for name in names)
        blocks = [block for column in read if (block := column_block(column)) is not None]
        return cls(dense_ND=_centred(items.vectors_ND), sparse_NT=_beside(blocks, len(ids)), blocks=1 + len(blocks))

    def similarity(self, row_M: NDArray[np.int64], row_N: NDArray[np.int64]) -> Floats:
        """Of these items to those, (M, N)."""
        dense_MN = self.dense_ND[row_M] @ self.dense_ND[row_N].T
        words_MN = (self.sparse_NT[row_M] @ self.sparse_NT[row_N].T).toarray()
        similarity_MN: Floats = ((dense_MN + words_MN) / self.blocks).astype(np.float32)
        return similarity_MN


def column_block(column: pa.ChunkedArray) -> sparse.csr_array | None:
    """A metadata column as rows of norm 1, 0 for an item without a value; None where it tells nothing."""
    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_temporal(kind):
        numbers = column.cast(pa.int64()) if pa.types.is_timestamp(kind) else column
        return _binned([None if value is None else _number(value) for value in numbers.to_pylist()])
    values = [text_of_value(value) for value in column.to_pylist()]
    numbers_of_text = [_number(value) if value else None for value in values]
    if all(number is not None for number, value in zip(numbers_of_text, values, strict=True) if value):
        return _binned(numbers_of_text)
    return _words(values)


def _number(value: object) -> float | None:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return number if np.isfinite(number) else None


def _binned(values: Sequence[float | None]) -> sparse.csr_array | None:
    number_N = np.array([np.nan if value is None else value for value in values], float)
    has_N = np.isfinite(number_N)
    distinct, rank_M = np.unique(number_N[has_N], return_inverse=True)
    if len(distinct) < 2:
        return None
    # where a value stands among the items, the middle of equal ones
    counts = np.bincount(rank_M)
    place_M = ((np.cumsum(counts) - counts / 2) / len(rank_M))[rank_M]
    parts = []
    for bins in RESOLUTIONS:
        for shift in (0.0, 0.5):
            bin_M = np.floor(place_M * bins + shift).astype(int)
            shape = (len(number_N), bins + 1)
            parts.append(sparse.csr_array((np.ones(len(bin_M)), (np.flatnonzero(has_N), bin_M)), shape=shape))
    return _normed(sparse.hstack(parts, format="csr"))


def _words(texts: Sequence[str]) -> sparse.csr_array | None:
    of_item = [sorted(set(WORD.findall(text.lower()))) for text in texts]
    counts = Counter(word for words in of_item for word in words)
    kept = sorted((word for word, count in counts.items() if count >= FEWEST_ITEMS), key=lambda word: -counts[word])
    number = {word: index for index, word in enumerate(sorted(kept[:MOST_WORDS]))}
    rarity = {word: float(np.log(len(texts) / counts[word])) for word in number}
    if not any(rarity.values()):
        return None
    entries = [
        (row, number[word], rarity[word]) for row, words in enumerate(of_item) for word in words if word in number
    ]
    rows, places, values = zip(*entries, strict=True)
    return _normed(sparse.csr_array((values, (rows, places)), shape=(len(texts), len(number))))


def _normed(block_NT: sparse.csr_array) -> sparse.csr_array:
    norm_N = np.sqrt(block_NT.multiply(block_NT).sum(axis=1))
    return (sparse.diags_array(1 / np.maximum(norm_N, 1e-12)) @ block_NT).astype(np.float32).tocsr()


def _centred(vectors_ND: Floats) -> Floats:
    centred_ND = vectors_ND - vectors_ND.mean(axis=0, keepdims=True) if len(vectors_ND) else vectors_ND
    norm_N1 = np.linalg.norm(centred_ND, axis=1, keepdims=True)
    unit_ND: Floats = (centred_ND / np.maximum(norm_N1, 1e-12)).astype(np.float32)
    return unit_ND


def _beside(blocks: Sequence[sparse.csr_array], rows: int) -> sparse.csr_array:
    return sparse.hstack(blocks, format="csr") if blocks else sparse.csr_array((rows, 0), dtype=np.float32)

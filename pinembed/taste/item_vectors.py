"""ItemVectors: the catalogue as taste needs it, every item's vector in memory; 4 x D bytes an item."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pinembed.source.rows import rows_of_batch
from pinembed.table.embedding_table import EmbeddingTable
from pinembed.table.schema import VECTOR
from pinembed.taste.interests import Floats, catalogue_width


@dataclass(frozen=True, kw_only=True)
class ItemVectors:
    """Items of an embedding table.

    Legend: N items, D floats of an embedding.

    Attributes:
        ids: sorted.
        vectors_ND: float32 of norm 1, a row for each id.
        content_N: what an item's vector was made of, as a number.
        fingerprint: of the encoder.
    """

    ids: tuple[str, ...]
    vectors_ND: Floats
    content_N: NDArray[np.int64]
    fingerprint: str

    @classmethod
    def read(cls, table: EmbeddingTable) -> ItemVectors:
        """Every item of a table.

        Raises:
            TableError: the table cannot be read.
        """
        ids: list[str] = []
        contents: list[int] = []
        parts: list[Floats] = [np.empty((0, table.spec.dim), np.float32)]
        for batch in table.batches(["id", "sha256", VECTOR]):
            batch_ids, vectors_ND = rows_of_batch(batch)
            ids += batch_ids
            contents += [_crc(told) for told in zip(batch_ids, batch.column("sha256").to_pylist(), strict=True)]
            parts.append(vectors_ND.astype(np.float32))
        order_N = np.array(sorted(range(len(ids)), key=ids.__getitem__), np.int64)
        return cls(
            ids=tuple(ids[index] for index in order_N.tolist()),
            vectors_ND=np.concatenate(parts)[order_N],
            content_N=np.array(contents, np.int64)[order_N],
            fingerprint=table.spec.fingerprint,
        )

    @cached_property
    def digest(self) -> int:
        """Changes when an item comes, goes or gets another image."""
        return int(self.content_N.sum())

    @cached_property
    def row_of(self) -> dict[str, int]:
        return {item_id: row for row, item_id in enumerate(self.ids)}

    @cached_property
    def width(self) -> float:
        """Mean distance between two items."""
        return catalogue_width(self.vectors_ND) if self.ids else 1.0

    def rows(self, ids: Iterable[str]) -> NDArray[np.int64]:
        """Rows of those of these items that are here, in the order given."""
        return np.array([self.row_of[item_id] for item_id in ids if item_id in self.row_of], np.int64)

    def some(self, ids: Iterable[str]) -> dict[str, Floats]:
        """Vectors of those of these items that are here."""
        return {item_id: self.vectors_ND[self.row_of[item_id]] for item_id in ids if item_id in self.row_of}

    def contents(self, ids: Iterable[str]) -> int:
        """A sum that changes when one of these items comes, goes or gets another image; the order plays no part."""
        return int(self.content_N[self.rows(ids)].sum())

    def contents_of_lists(self, ids: pa.Array, list_of_N: NDArray[np.int64], lists: int) -> NDArray[np.int64]:
        """`contents` of many lists of ids at once.

        Args:
            ids: of all lists, one after the other.
            list_of_N: number of the list that each belongs to.
            lists: how many there are.
        """
        codes = ids.dictionary_encode()
        content_U = np.array([self.contents([item_id]) for item_id in codes.dictionary.to_pylist()], np.int64)
        sums = np.zeros(lists, np.int64)
        if len(content_U):
            np.add.at(sums, list_of_N, content_U[codes.indices.to_numpy(zero_copy_only=False)])
        return sums


def _crc(told: tuple[str, str]) -> int:
    return zlib.crc32("\x1f".join(map(str, told)).encode())

"""Pairs: which items users have in common, counted some items at a time, so that memory does not grow with the log.

Legend: U users or boards, I items, C items of a block, E items of users.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from pinembed.taste.columns import Ints, places
from pinembed.taste.scratch import ScratchColumn, row_stretches, stretches

CELLS_AT_ONCE = 1 << 24
"""A block holds at most so many pairs of items: 200 MB; one item with all others is the smallest block."""
ENTRIES_AT_ONCE = 1 << 22
Floats = NDArray[np.float64]


class Pairs:
    """Who has which item, by user and by item; the second is made on the disk.

    Args:
        strength_UI: above 0 where a user has an item; may be mapped.
        folder: on whose disk the other lies; None for the system's folder of temporary files.

    Raises:
        OSError: the disk is full.
    """

    def __init__(self, strength_UI: sparse.csr_array, folder: Path | None = None) -> None:
        self.strength_UI = strength_UI.astype(np.float64, copy=False)
        self._folder = folder

    @cached_property
    def users_I(self) -> Ints:
        """How many users have each item."""
        users_I = np.zeros(self.strength_UI.shape[1], np.int64)
        for stretch in stretches(self.strength_UI.nnz):
            users_I += np.bincount(self.strength_UI.indices[stretch], minlength=len(users_I))
        return users_I

    @cached_property
    def squares_I(self) -> Floats:
        """Sum of the squares of each item's strengths."""
        squares_I = np.zeros(self.strength_UI.shape[1])
        for stretch in stretches(self.strength_UI.nnz):
            square_E = np.square(self.strength_UI.data[stretch])
            squares_I += np.bincount(self.strength_UI.indices[stretch], square_E, minlength=len(squares_I))
        return squares_I

    def blocks(self, items: Ints, of_U: Floats | None = None) -> Iterator[tuple[slice, sparse.csr_array]]:
        """The sums over users of the product of two items' strengths, (C, I), some of these items at a time.

        Args:
            items: rising.
            of_U: what each user's product is multiplied with.
        """
        start = 0
        while start < len(items):
            span = slice(start, start + self._rows(items[start:]))
            of_items_CU = self._strength_IU[items[span]]
            if of_U is not None:
                of_items_CU.data *= of_U[of_items_CU.indices]
            yield span, of_items_CU @ self.strength_UI
            start = span.stop

    def _rows(self, items: Ints) -> int:
        """So many of these items make a block."""
        most = max(1, CELLS_AT_ONCE // self.strength_UI.shape[1])
        entries = np.cumsum(self.users_I[items[:most]])
        return max(1, int(np.searchsorted(entries, ENTRIES_AT_ONCE, "right")))

    @cached_property
    def _strength_IU(self) -> sparse.csr_array:
        """The same by item."""
        users, items = self.strength_UI.shape
        user_E = ScratchColumn(np.int32, self._folder).reserve(self.strength_UI.nnz)
        strength_E = ScratchColumn(np.float64, self._folder).reserve(self.strength_UI.nnz)
        start_I = np.r_[0, np.cumsum(self.users_I)]
        next_I = start_I[:-1].copy()
        for span in row_stretches(self.strength_UI.indptr):
            part_IU = self.strength_UI[span].tocsc()
            item_E = np.repeat(np.arange(items), np.diff(part_IU.indptr))
            place_E = next_I[item_E] + places(item_E)
            user_E[place_E] = part_IU.indices + span.start
            strength_E[place_E] = part_IU.data
            next_I += np.diff(part_IU.indptr)
        return of_mapped(strength_E, user_E, start_I, shape=(items, users))


def of_mapped(
    value_E: Floats, column_E: NDArray[np.int32], start_R: Ints, *, shape: tuple[int, int]
) -> sparse.csr_array:
    """A matrix whose entries stay on the disk; of 2**31 entries or more scipy reads the columns into memory."""
    if len(column_E) <= np.iinfo(np.int32).max:
        start_R = start_R.astype(np.int32)  # of another type than the columns it would have scipy copy these
    return sparse.csr_array((value_E, column_E, start_R), shape=shape, copy=False)

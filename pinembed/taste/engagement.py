"""Engagement: all histories as sparse matrices on the disk, which the graph is counted from.

Legend: U users, I items, B boards, E items of users, K boards' items.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pinembed.taste.columns import Ints, codes, encoded, latest_of, places_from_end, starts
from pinembed.taste.event import ENGAGED
from pinembed.taste.pairs import Pairs, of_mapped
from pinembed.taste.scratch import ScratchColumn, stretches
from pinembed.taste.trend import Popularity, count_popularity
from pinembed.taste.user_table import UserTable

SEEN = 0.5
"""What an item that was only seen adds, where a chosen one adds 1."""
MOST_PER_USER = 1000


@dataclass(frozen=True, kw_only=True)
class Engagement:
    """What users chose and saw.

    Attributes:
        items: ids, sorted.
        of_users: 1 for what a user chose, `SEEN` for what they only saw, of the latest thousand items of each; in
            the order in which users were read.
        of_boards: 1 where a board holds an item; boards of two users are two, whatever their names.
        popularity: users of each item.
    """

    items: tuple[str, ...]
    of_users: Pairs
    of_boards: Pairs
    popularity: Popularity


def read_engagement(users: UserTable) -> Engagement:
    """The histories of all users of a store, on its disk.

    Raises:
        TableError: the table cannot be read.
    """
    latest_us = max((latest_of(batch.column("last")) for batch in users.batches(["last"])), default=0)
    folder = None if users.address.folder is None else users.address.folder.parent
    return engagement_of(users.batches(["touched"]), latest_us, folder=folder)


def engagement_of(batches: Iterable[pa.RecordBatch], latest_us: int, *, folder: Path | None = None) -> Engagement:
    """Histories as matrices; in memory are one batch, some numbers for each item and 8 bytes for each user and board.

    Args:
        batches: of the user table, with the column `touched`.
        latest_us: time of the log's last event.
        folder: on whose disk the matrices lie; None for the system's folder of temporary files.

    Raises:
        OSError: the disk is full.
    """
    building = _Building(latest_us, folder)
    for batch in batches:
        building.add(batch.column("touched"))
    return building.done()


class _Rows:
    """A sparse matrix that grows row by row."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._item, self._value = ScratchColumn(np.int32, folder), ScratchColumn(np.float64, folder)
        self._lengths: list[Ints] = []

    def add(self, lengths_R: Ints, item_E: Ints, value_E: NDArray[np.float64]) -> None:
        self._lengths.append(lengths_R)
        self._item.append(item_E)
        self._value.append(value_E)

    def pairs(self, place_I: Ints) -> Pairs:
        """The matrix, with items at these places."""
        lengths_R = np.concatenate([np.empty(0, np.int64), *self._lengths])
        item_E = self._item.mapped()
        for stretch in stretches(len(item_E)):
            item_E[stretch] = place_I[item_E[stretch]]
        start_R = np.r_[0, np.cumsum(lengths_R)]
        found = of_mapped(self._value.mapped(), item_E, start_R, shape=(len(lengths_R), len(place_I)))
        found.sort_indices()
        return Pairs(found, self._folder)


class _Building:
    """Items get numbers as they come, and those of the order of ids in the end."""

    def __init__(self, latest_us: int, folder: Path | None) -> None:
        self._latest_us = latest_us
        self._number: dict[str, int] = {}
        self._strength, self._member = _Rows(folder), _Rows(folder)
        self._popularity: list[Popularity] = []

    def add(self, histories: pa.ListArray) -> None:
        touched = histories.flatten()
        item_E = self._numbers(touched.field("item"))
        weight_E, time_us_E = (touched.field(name).to_numpy(zero_copy_only=False) for name in ("weight", "time_us"))
        user_E = np.repeat(np.arange(len(histories)), np.diff(histories.offsets.to_numpy()))
        is_seen_E, is_chosen_E = weight_E >= 0, weight_E >= ENGAGED
        self._count(item_E, time_us_E, is_seen_E, is_chosen_E)
        is_in_E = is_seen_E & (places_from_end(user_E) < MOST_PER_USER)
        strength_E = np.where(is_chosen_E, 1.0, SEEN)[is_in_E]
        self._strength.add(np.bincount(user_E[is_in_E], minlength=len(histories)), item_E[is_in_E], strength_E)
        self._add_boards(touched.field("board"), user_E, item_E, is_chosen_E)

    def _numbers(self, items: pa.Array) -> Ints:
        coded = encoded(items)
        numbers = [self._number.setdefault(item, len(self._number)) for item in coded.dictionary.to_pylist()]
        return np.array(numbers, np.int64)[codes(coded)]

    def _count(
        self, item_E: Ints, time_us_E: Ints, is_seen_E: NDArray[np.bool_], is_chosen_E: NDArray[np.bool_]
    ) -> None:
        counted = count_popularity(
            item_E, time_us_E, is_seen_E, is_chosen_E, items=len(self._number), latest_us=self._latest_us
        )
        self._popularity = [counted.added_to(before) for before in self._popularity] or [counted]

    def _add_boards(self, names: pa.Array, user_E: Ints, item_E: Ints, is_chosen_E: NDArray[np.bool_]) -> None:
        coded = encoded(names)
        is_named_E = np.array([bool(name) for name in coded.dictionary.to_pylist()], bool)[codes(coded)]
        entry_K = np.flatnonzero(is_named_E & is_chosen_E)
        board_K, user_K = codes(coded)[entry_K], user_E[entry_K]
        order_K = np.lexsort((board_K, user_K))
        start_B = starts(board_K[order_K], user_K[order_K])
        lengths_B = np.diff(np.r_[start_B, len(order_K)])
        self._member.add(lengths_B, item_E[entry_K[order_K]], np.ones(len(order_K)))

    def done(self) -> Engagement:
        """The whole."""
        names = list(self._number)
        order = np.array(sorted(range(len(names)), key=names.__getitem__), np.int64)
        place_I = np.empty(len(order), np.int64)
        place_I[order] = np.arange(len(order))
        empty = np.zeros(len(order), np.int64)
        zero = Popularity(users_I=empty, chosen_I=empty, recent_I=empty, before_I=empty, after_I=empty)
        return Engagement(
            items=tuple(names[number] for number in order.tolist()),
            of_users=self._strength.pairs(place_I),
            of_boards=self._member.pairs(place_I),
            popularity=(self._popularity or [zero])[0].in_order(order),
        )

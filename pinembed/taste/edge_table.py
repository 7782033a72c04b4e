"""EdgeTable: the items that users did something with, and the neighbours of each; derived from the users.

Legend: U users, I items, B boards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy import sparse

from pinembed.table.address import EDGES, TableAddress
from pinembed.taste.columns import Ints, encoded, places_from_end, sorted_codes
from pinembed.taste.event import ENGAGED
from pinembed.taste.graph import SEEN, Neighbours, by_cosine, co_engagement
from pinembed.taste.store import StoreTable
from pinembed.taste.trend import Popularity, count_popularity
from pinembed.taste.user_table import UserTable

TEXT_CODES = pa.dictionary(pa.int32(), pa.string())
MOST_PER_USER = 1000
CountEdges = Callable[[sparse.csr_array], Neighbours]
EDGE_SCHEMA = pa.schema(
    [
        pa.field("item", pa.string(), nullable=False),
        pa.field("users", pa.int64()),
        pa.field("chosen", pa.int64()),
        pa.field("recent", pa.int64()),
        pa.field("season_before", pa.int64()),
        pa.field("season_after", pa.int64()),
        pa.field("neighbours", pa.list_(pa.string())),
        pa.field("weights", pa.list_(pa.float32())),
        pa.field("board_neighbours", pa.list_(pa.string())),
        pa.field("board_weights", pa.list_(pa.float32())),
    ]
)


@dataclass(kw_only=True)
class Engagement:
    """All histories as arrays, an entry for each item of a user.

    Attributes:
        items: ids, sorted.
        user_E: number of the user.
        item_E: number of the item.
        weight_E: of the item in the history; below 0 where it is hidden.
        time_us_E: of the last event.
        board_E: number of the user's board, -1 for none.
        users: how many.
    """

    items: tuple[str, ...]
    user_E: Ints
    item_E: Ints
    weight_E: NDArray[np.float64]
    time_us_E: Ints
    board_E: Ints
    users: int

    @property
    def strength_UI(self) -> sparse.csr_array:
        """1 for what a user chose, `SEEN` for what they only saw, of the latest thousand items of each."""
        is_in_E = (self.weight_E >= 0) & (places_from_end(self.user_E) < MOST_PER_USER)
        strength_E = np.where(self.weight_E >= ENGAGED, 1.0, SEEN)[is_in_E]
        shape = (self.users, len(self.items))
        return sparse.csr_array((strength_E, (self.user_E[is_in_E], self.item_E[is_in_E])), shape=shape)

    @property
    def member_BI(self) -> sparse.csr_array:
        """1 where a board holds an item."""
        is_in_E = (self.board_E >= 0) & (self.weight_E >= ENGAGED)
        boards = int(self.board_E.max(initial=-1)) + 1
        pairs = (self.board_E[is_in_E], self.item_E[is_in_E])
        return sparse.csr_array((np.ones(int(is_in_E.sum())), pairs), shape=(boards, len(self.items)))

    @property
    def popularity(self) -> Popularity:
        """Users of each item."""
        is_seen_E, is_chosen_E = self.weight_E >= 0, self.weight_E >= ENGAGED
        return count_popularity(self.item_E, self.time_us_E, is_seen_E, is_chosen_E, len(self.items))


@dataclass(kw_only=True)
class _Columns:
    """Collects histories batch by batch."""

    item: list[pa.Array] = field(default_factory=list)
    board: list[pa.Array] = field(default_factory=list)
    user: list[pa.Array] = field(default_factory=list)
    numbers: dict[str, list[NDArray[Any]]] = field(default_factory=lambda: {"user": [], "weight": [], "time_us": []})
    users: int = 0

    def add(self, batch: pa.RecordBatch) -> None:
        lists = batch.column("touched")
        touched = lists.flatten()
        self.user.append(batch.column("user"))
        self.item.append(encoded(touched.field("item")))
        self.board.append(encoded(touched.field("board")))
        owner_E = self.users + np.repeat(np.arange(len(lists)), np.diff(lists.offsets.to_numpy()))
        self.numbers["user"].append(owner_E)
        for name in ("weight", "time_us"):
            self.numbers[name].append(touched.field(name).to_numpy(zero_copy_only=False))
        self.users += len(lists)


def read_engagement(users: UserTable) -> Engagement:
    """The histories of all users of a store."""
    return engagement_of(users.batches(["user", "touched"]))


def engagement_of(batches: Iterable[pa.RecordBatch]) -> Engagement:
    """Histories as arrays; some 100 bytes an item of a user.

    Args:
        batches: of the user table, with the columns `user` and `touched`.
    """
    columns = _Columns()
    for batch in batches:
        columns.add(batch)
    items, item_E = sorted_codes(pa.chunked_array(columns.item, TEXT_CODES))
    boards, board_E = sorted_codes(pa.chunked_array(columns.board, TEXT_CODES))
    user_E, weight_E, time_us_E = (
        np.concatenate(found) if found else np.empty(0, np.int64) for found in columns.numbers.values()
    )
    # by name, so that sums of fractions do not depend on the order in which users were stored
    user_E = sorted_codes(pa.chunked_array(columns.user, pa.string()))[1][user_E]
    own_E = user_E * max(len(boards), 1) + board_E  # boards of two users are two, whatever their names
    named_E = np.array([bool(name) for name in boards], bool)[board_E] if len(boards) else np.zeros(0, bool)
    number_E = np.full(len(user_E), -1, np.int64)
    number_E[named_E] = np.unique(own_E[named_E], return_inverse=True)[1]
    return Engagement(
        items=tuple(items),
        user_E=user_E.astype(np.int64),
        item_E=item_E,
        weight_E=weight_E.astype(np.float64),
        time_us_E=time_us_E.astype(np.int64),
        board_E=number_E,
        users=columns.users,
    )


class EdgeTable(StoreTable):
    """The graph of one store.

    Args:
        address: of the store.
    """

    def __init__(self, address: TableAddress) -> None:
        super().__init__(address.beside(EDGES), EDGE_SCHEMA)

    @property
    def is_whole(self) -> bool:
        """It is there, with every column."""
        return self.dataset is not None and not self._lacking()

    def rebuild(self, engagement: Engagement) -> int:
        """Count the graph anew; how many edges it has.

        Raises:
            TableError: the table cannot be written.
        """
        rows = edges_of(engagement)
        self.replace(rows.to_batches(max_chunksize=8192), purge=True)
        return int(pc.sum(pc.list_value_length(rows["neighbours"])).as_py() or 0)


def edges_of(engagement: Engagement, *, count_edges: CountEdges = co_engagement) -> pa.Table:
    """Rows of the edge table.

    Args:
        engagement: all histories.
        count_edges: what makes neighbours of who chose or saw what; others than the default are to compare with.
    """
    popular = engagement.popularity
    chosen = count_edges(engagement.strength_UI)
    boards = by_cosine(engagement.member_BI)
    count = len(engagement.items)
    columns: list[Any] = [pa.array(engagement.items, pa.string())]
    columns += [popular.users_I, popular.chosen_I, popular.recent_I, popular.before_I, popular.after_I]
    for found in (chosen, boards):
        columns += _lists(found, engagement.items, count)
    return pa.table(columns, schema=EDGE_SCHEMA)


def _lists(found: Neighbours, items: tuple[str, ...], count: int) -> list[pa.Array]:
    """Neighbours and weights as a list for each item; empty for one without."""
    lengths_I = np.zeros(count, np.int64)
    lengths_I[found.items] = np.diff(found.start_N)
    offsets = pa.array(np.r_[0, np.cumsum(lengths_I)].astype(np.int32))
    names = pa.array(items, pa.string()).take(pa.array(found.neighbour))
    return [pa.ListArray.from_arrays(offsets, names), pa.ListArray.from_arrays(offsets, pa.array(found.weight))]

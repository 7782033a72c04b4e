"""EdgeTable: the items that users did something with, and the neighbours of each; derived from the users.

Legend: U users, I items, B boards.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pinembed.table.address import EDGES, TableAddress
from pinembed.table.embedding_table import writing
from pinembed.taste.engagement import Engagement, read_engagement
from pinembed.taste.graph import Neighbours, by_cosine, co_engagement
from pinembed.taste.pairs import Pairs
from pinembed.taste.store import StoreTable
from pinembed.taste.user_table import UserTable

CountEdges = Callable[[Pairs], Neighbours]
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

    def rebuild(self, users: UserTable) -> int:
        """Count the graph anew from all histories; how many edges it has.

        Raises:
            TableError: the users cannot be read, the table cannot be written, or the disk is full.
        """
        with writing(self.address):
            rows = edges_of(read_engagement(users))
        self.replace(rows.to_batches(max_chunksize=8192), purge=True)
        return int(pc.sum(pc.list_value_length(rows["neighbours"])).as_py() or 0)


def edges_of(engagement: Engagement, *, count_edges: CountEdges = co_engagement) -> pa.Table:
    """Rows of the edge table.

    Args:
        engagement: all histories.
        count_edges: what makes neighbours of who chose or saw what; others than the default are to compare with.
    """
    popular = engagement.popularity
    chosen = count_edges(engagement.of_users)
    boards = by_cosine(engagement.of_boards)
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

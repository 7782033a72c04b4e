"""UserTable: what the events say of each user, derived from them and never corrected by hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pinembed.errors import DataError
from pinembed.table.address import TableAddress
from pinembed.table.embedding_table import id_conditions
from pinembed.table.schema import PRIMARY_KEY
from pinembed.taste.columns import Ints, codes, lists, places_from_end, sums
from pinembed.taste.event import ENGAGED
from pinembed.taste.history import Histories, History, Touched
from pinembed.taste.interests import MOST_ITEMS, STAGES, Found, Interest, Liked, group_liked, parts_of
from pinembed.taste.item_vectors import ItemVectors
from pinembed.taste.store import StoreTable, no_store

MOMENT = pa.timestamp("us", tz="UTC")
TOUCHED_TYPE = pa.struct(
    [
        pa.field("item", pa.string()),
        pa.field("weight", pa.float64()),
        pa.field("time_us", pa.int64()),
        pa.field("events", pa.int64()),
        pa.field("board", pa.string()),
    ]
)
INTEREST_TYPE = pa.struct(
    [
        pa.field("item", pa.string()),
        pa.field("weight", pa.float64()),
        pa.field("members", pa.list_(pa.string())),
        pa.field("stage", pa.string()),
    ]
)
USER_SCHEMA = pa.schema(
    [
        pa.field("user", pa.string(), nullable=False, metadata=PRIMARY_KEY),
        pa.field("events", pa.int64()),
        pa.field("capped", pa.int64()),
        pa.field("last", MOMENT),
        pa.field("unknown", pa.int64()),
        pa.field("contents", pa.int64()),
        pa.field("interests", pa.list_(INTEREST_TYPE)),
        pa.field("touched", pa.list_(TOUCHED_TYPE)),
    ]
)


@dataclass(frozen=True, kw_only=True, slots=True)
class User:
    """One user.

    Attributes:
        history: what they did.
        interests: the strongest first.
    """

    history: History
    interests: tuple[Interest, ...]

    @property
    def name(self) -> str:
        return self.history.user


class UserTable(StoreTable):
    """The users of one store.

    Args:
        address: of the store, whose table it is.
    """

    def __init__(self, address: TableAddress) -> None:
        super().__init__(address, USER_SCHEMA)

    def find(self, user: str) -> User | None:
        """One user; None where no event names them."""
        rows = self.read(where=id_conditions([user], "user")[0]).to_pylist()
        return user_of_row(rows[0]) if rows else None

    def every(self) -> Iterator[User]:
        """All users, in no particular order."""
        for batch in self.batches():
            yield from map(user_of_row, batch.to_pylist())

    def changed_by(self, items: ItemVectors) -> set[str]:
        """Users who liked an item that came to the catalogue, left it or changed its image since."""
        found: set[str] = set()
        for batch in self.batches(["user", "contents", "touched"]):
            ids, owner_N = liked_of(batch)
            sums = items.contents_of_lists(ids, owner_N, len(batch))
            stored = batch.column("contents").to_numpy(zero_copy_only=False)
            names = batch.column("user").to_pylist()
            found.update(names[index] for index in np.flatnonzero(sums != stored).tolist())
        return found


def liked_of(batch: pa.RecordBatch) -> tuple[pa.Array, NDArray[np.int64]]:
    """Ids of the liked items of all users of a batch with the column `touched`, and the user's number for each."""
    lists = batch.column("touched")
    touched = lists.flatten()
    owner_N = np.repeat(np.arange(len(lists)), np.diff(lists.offsets.to_numpy()))
    is_liked = pc.greater_equal(touched.field("weight"), ENGAGED)
    return touched.field("item").filter(is_liked), owner_N[is_liked.to_numpy(zero_copy_only=False)]


def describe(histories: Histories, items: ItemVectors) -> pa.Table:
    """Histories as rows of the user table, with the interests that they show."""
    users = len(histories.users)
    row_of_code = np.array([items.row_of.get(name, -1) for name in histories.item.dictionary.to_pylist()], np.int64)
    row_E, user_E = row_of_code[codes(histories.item)], histories.user_E
    is_liked_E = histories.weight_E >= ENGAGED
    is_known_E = is_liked_E & (row_E >= 0)
    content_E = np.where(is_known_E, items.content_N[row_E] if len(items.ids) else 0, 0)
    unknown_U = np.bincount(user_E[is_liked_E & ~is_known_E], minlength=users)
    columns = {
        "user": pa.array(histories.users, pa.string()),
        "events": histories.events_U,
        "capped": histories.capped_U,
        "last": pa.array(histories.last_us_U, MOMENT),
        "unknown": unknown_U,
        "contents": sums(content_E, histories.start_U),
        "interests": _interests(histories, row_E, is_known_E, items),
        "touched": _touched(histories),
    }
    return pa.table(columns, schema=USER_SCHEMA)


def _touched(histories: Histories) -> pa.Array:
    entries = [
        histories.item.dictionary_decode(),
        pa.array(histories.weight_E),
        pa.array(histories.time_us_E),
        pa.array(histories.events_E),
        histories.board.dictionary_decode(),
    ]
    return lists(pa.StructArray.from_arrays(entries, fields=list(TOUCHED_TYPE)), np.diff(histories.start_U))


def _interests(histories: Histories, row_E: Ints, is_known_E: NDArray[np.bool_], items: ItemVectors) -> pa.Array:
    """Of each user a list, worked out of the latest items; empty for one who liked none of the catalogue."""
    entry_M = np.flatnonzero(is_known_E)
    entry_M = entry_M[places_from_end(histories.user_E[entry_M]) < MOST_ITEMS]
    entry_M = entry_M[np.lexsort((row_E[entry_M], histories.user_E[entry_M]))]  # rows are in the order of ids
    user_M = histories.user_E[entry_M]
    liked = Liked(
        user_M=user_M,
        order_M=row_E[entry_M],
        weight_M=histories.weight_E[entry_M],
        age_us_M=histories.last_us_U[user_M] - histories.time_us_E[entry_M],
        events_M=histories.events_E[entry_M],
    )
    parts = [
        (span.start, group_liked(liked.part(span), items.vectors_ND[liked.order_M[span]], items.width))
        for span in parts_of(user_M)
    ]
    joined = Found.join(parts)
    names = pa.array(items.ids, pa.string())
    of_liked = names.take(pa.array(liked.order_M))
    entries = [
        of_liked.take(pa.array(joined.medoid_I)),
        pa.array(joined.weight_I),
        lists(of_liked.take(pa.array(joined.member_M)), np.diff(joined.start_I)),
        pa.array(STAGES, pa.string()).take(pa.array(joined.stage_I)),
    ]
    counts_U = np.bincount(joined.user_I, minlength=len(histories.users))
    return lists(pa.StructArray.from_arrays(entries, fields=list(INTEREST_TYPE)), counts_U)


def user_of_row(row: dict[str, Any]) -> User:
    """A row of the table as a user."""
    interests = [Interest(**{**found, "members": tuple(found["members"])}) for found in row["interests"]]
    history = History(
        user=row["user"],
        touched=tuple(Touched(**found) for found in row["touched"]),
        events=row["events"],
        capped=row["capped"],
    )
    return User(history=history, interests=tuple(interests))


def find_user(users: UserTable, user: str) -> User:
    """One user.

    Raises:
        DataError: there is no such store, or no such user in it.
    """
    if users.dataset is None:
        raise no_store(users.address)
    found = users.find(user)
    if found is None:
        raise DataError(
            f"No event of the store {users.address} names the user {user!r}.",
            remedy="Check the name, or run `pinembed taste update` with the log that has their events.",
        )
    return found

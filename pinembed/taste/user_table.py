"""UserTable: what the events say of each user, derived from them and never corrected by hand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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
from pinembed.taste.history import History, Touched
from pinembed.taste.interests import Interest, find_interests
from pinembed.taste.item_vectors import ItemVectors
from pinembed.taste.kinds import ENGAGED
from pinembed.taste.store import StoreTable

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


def describe(histories: Iterable[History], items: ItemVectors) -> pa.Table:
    """Histories as rows of the user table, with the interests that they show."""
    rows = []
    for history in histories:
        liked = [touched.item for touched in history.liked]
        known = items.some(liked)
        interests = find_interests(history, known, width=items.width)
        rows.append(
            {
                "user": history.user,
                "events": history.events,
                "capped": history.capped,
                "last": history.last_us,
                "unknown": sum(item not in known for item in liked),
                "contents": items.contents(liked),
                "interests": [
                    {
                        "item": found.item,
                        "weight": found.weight,
                        "members": list(found.members),
                        "stage": found.stage,
                    }
                    for found in interests
                ],
                "touched": [
                    {
                        "item": found.item,
                        "weight": found.weight,
                        "time_us": found.time_us,
                        "events": found.events,
                        "board": found.board,
                    }
                    for found in history.touched
                ],
            }
        )
    return pa.Table.from_pylist(rows, schema=USER_SCHEMA)


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
        raise DataError(
            f"There is no taste store {users.address}.",
            remedy=f"Make it with: pinembed taste update EVENTS --table TABLE --users {users.address}",
        )
    found = users.find(user)
    if found is None:
        raise DataError(
            f"No event of the store {users.address} names the user {user!r}.",
            remedy="Check the name, or run `pinembed taste update` with the log that has their events.",
        )
    return found

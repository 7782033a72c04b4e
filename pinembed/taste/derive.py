"""Events -> users: who is touched by new events or a changed catalogue is worked out anew, from all of their events.

Nothing is added to what was known of a user, so that logs that come late, twice or out of order give the same users as
one that came in order, and whatever a killed run left is put right by the next.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pinembed.nouns.progress import Progress, Stop
from pinembed.table.embedding_table import id_conditions
from pinembed.taste.event import Kinds
from pinembed.taste.event_table import HISTORY, PARTS, EventTable
from pinembed.taste.history import TOLD_SCHEMA, histories_of
from pinembed.taste.item_vectors import ItemVectors
from pinembed.taste.user_table import UserTable, describe

EVENTS_AT_ONCE = 500_000
USERS_AT_ONCE = 20_000
FEW_USERS = 2_000
"""So many are looked up by the index; for more of them whole parts are read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Derived:
    """What a pass over the touched users did.

    Attributes:
        users: that were worked out anew.
        capped: events beyond the cap, of these users.
        bots: names of users that have such events.
    """

    users: int
    capped: int
    bots: tuple[str, ...]


class Derivation:
    """Brings users in line with events.

    Args:
        events: the truth.
        users: what is derived.
        items: of the catalogue.
        kinds: weights by kind.
        progress: is told.
    """

    def __init__(
        self, events: EventTable, users: UserTable, items: ItemVectors, kinds: Kinds, progress: Progress
    ) -> None:
        self._events, self._users, self._items, self._kinds = events, users, items, kinds
        self._progress = progress
        self._count = self._capped = 0
        self._bots: list[str] = []

    def rebuild(self) -> Derived:
        """Every user anew, in one commit."""
        self._progress.start("users", unit="user")
        batches = (batch for table in self._tables(None) for batch in table.to_batches())
        self._users.replace(batches, purge=True)
        return self._derived()

    def bring_up_to_date(self, arrived_before: int, stop: Stop, *, have_items_changed: bool) -> Derived:
        """Users of events that arrived later, and of items that changed."""
        self._progress.start("users", unit="user")
        touched = self._arrived_after(arrived_before)
        if have_items_changed:
            touched |= self._users.changed_by(self._items)
        if touched:
            left = set(touched)
            for table in self._tables(touched):
                self._users.upsert_rows(table)
                left.difference_update(table["user"].to_pylist())
                stop.check()
            self._users.delete(left)
        return self._derived()

    def _derived(self) -> Derived:
        self._users.index("user")
        self._users.compact()
        return Derived(users=self._count, capped=self._capped, bots=tuple(sorted(self._bots)))

    def _arrived_after(self, arrived: int) -> set[str]:
        if arrived >= self._events.arrived:
            return set()
        return set(pc.unique(self._events.read(["user"], where=f"arrived > {arrived}")["user"]).to_pylist())

    def _tables(self, users: set[str] | None) -> Iterator[pa.Table]:
        """Rows of these users, or of all, some thousands at a time."""
        for conditions in self._conditions(users):
            told = pa.concat_tables(self._events.read(HISTORY, where=condition) for condition in conditions)
            if users is not None:
                told = told.filter(pc.is_in(told["user"], pa.array(sorted(users), pa.string())))
            histories = histories_of(told.select(TOLD_SCHEMA.names).cast(TOLD_SCHEMA), self._kinds)
            is_bot_U = histories.capped_U > 0
            self._bots += [histories.users[number] for number in np.flatnonzero(is_bot_U).tolist()]
            self._capped += int(histories.capped_U.sum())
            rows = describe(histories, self._items)
            for start in range(0, len(rows), USERS_AT_ONCE):
                table = rows.slice(start, USERS_AT_ONCE)
                self._count += len(table)
                self._progress.advance(len(table))
                yield table

    def _conditions(self, users: set[str] | None) -> list[list[str]]:
        """Conditions on events that together reach these users; those of a list are read at once, for one merge.

        A merge looks through the names of all users, however few are merged.
        """
        if users is not None and len(users) <= FEW_USERS:
            return [id_conditions(sorted(users), "user")]
        events = max(self._events.count(), 1)
        parts_at_once = max(1, min(PARTS, PARTS * EVENTS_AT_ONCE // events))
        return [[f"part >= {first} AND part < {first + parts_at_once}"] for first in range(0, PARTS, parts_at_once)]

"""EventTable: every event once, whatever logs it came in; the only truth of a taste store."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pinembed.table.address import EVENTS, TableAddress
from pinembed.taste.columns import Ints, latest_of
from pinembed.taste.event import Event
from pinembed.taste.log_file import Cursor, LogReader
from pinembed.taste.store import Marks, StoreTable

CURSORS = "pinembed.logs"
KEPT_CURSORS = 200
PARTS = 64
EVENT_SCHEMA = pa.schema(
    [
        pa.field("key", pa.int64(), nullable=False),
        pa.field("part", pa.int16()),
        pa.field("user", pa.string()),
        pa.field("item", pa.string()),
        pa.field("kind", pa.string()),
        pa.field("time", pa.timestamp("us", tz="UTC")),
        pa.field("board", pa.string()),
        pa.field("arrived", pa.int64()),
    ]
)
HISTORY = ["user", "item", "kind", "time", "board", "key"]
"""The columns that users are derived from."""


def part_of(user: str) -> int:
    """The part of all users that this one belongs to, so that they can be worked on one part after the other."""
    return zlib.crc32(user.encode()) % PARTS


class LogCounts(NamedTuple):
    """What became of the events of some rows.

    Attributes:
        added: stored.
        known: stored before.
        forgotten: of users who were forgotten; not stored.
        late: of the stored, those older than one that was stored before them.
    """

    added: int
    known: int
    forgotten: int
    late: int


class EventTable(StoreTable):
    """The events of one store.

    `arrived` counts commits: what has a higher number than the derived tables know of is new to them.

    Args:
        address: of the store.
    """

    def __init__(self, address: TableAddress) -> None:
        super().__init__(address.beside(EVENTS), EVENT_SCHEMA)
        self._keys: list[Ints] | None = None
        self.arrived = self._latest_arrival()

    def cursors(self) -> list[Cursor]:
        """How far logs were read, the longest unused first."""
        told = json.loads(self.latest_property(CURSORS) or "[]")
        return [Cursor(int(size_bytes), str(sha256)) for size_bytes, sha256 in told]

    def read_log(self, path: Path, reader: LogReader, marks: Marks, *, from_start: bool = False) -> Iterator[LogCounts]:
        """Store what a log holds and no log held before, commit by commit; yields after each.

        Args:
            path: of the log.
            reader: of its rows.
            marks: of users whose events are not stored.
            from_start: look again at rows that were read before.

        Raises:
            DataError: the log cannot be read.
            TableError: the table cannot be written.
        """
        known = self.cursors()
        for batch in reader.batches(path, [] if from_start else known):
            kept = [event for event in batch.events if not marks.has(event.user)] if marks else batch.events
            new, key_N, late = self._unknown(kept)
            others = [cursor for cursor in known if cursor != batch.cursor]
            known = [*others[1 - KEPT_CURSORS :], batch.cursor]
            told = json.dumps([[cursor.size_bytes, cursor.sha256] for cursor in known])
            self.append(_arrow(new, key_N, self.arrived + 1), properties={CURSORS: told})
            self.arrived += bool(new)
            yield LogCounts(
                added=len(new),
                known=len(kept) - len(new),
                forgotten=len(batch.events) - len(kept),
                late=late,
            )

    def tidy(self) -> None:
        """Join small pieces; the cursors stay at hand."""
        told = self.latest_property(CURSORS)
        if self.compact() and told is not None:
            self.append(self.schema.empty_table(), properties={CURSORS: told})

    def _latest_arrival(self) -> int:
        if self.dataset is None:
            return 0
        newest = 0
        for batch in self.batches(["arrived"], batch_rows=1 << 20):
            newest = max(newest, int(np.max(batch["arrived"].to_numpy(), initial=0)))
        return newest

    def _unknown(self, events: Sequence[Event]) -> tuple[list[Event], Ints, int]:
        """Events that no log brought before, each once, with their keys; and how many are older than what is stored."""
        if self._keys is None:
            parts, self._newest_us = [np.empty(0, np.int64)], 0
            for batch in self.batches(["key", "time"], batch_rows=1 << 20):
                parts.append(batch["key"].to_numpy())
                self._newest_us = max(self._newest_us, latest_of(batch["time"]))
            self._keys = [np.sort(np.concatenate(parts))]
        key_N = np.fromiter((event.key for event in events), np.int64, len(events))
        first_N = np.unique(key_N, return_index=True)[1]
        is_new_N = np.zeros(len(events), bool)
        is_new_N[first_N] = True
        for stored_M in self._keys:
            if len(stored_M):
                place_N = np.minimum(np.searchsorted(stored_M, key_N), len(stored_M) - 1)
                is_new_N &= stored_M[place_N] != key_N
        self._remember(key_N[is_new_N])
        new = [events[index] for index in np.flatnonzero(is_new_N).tolist()]
        late, newest_us = 0, self._newest_us
        for event in new:
            late += event.time_us < newest_us
            newest_us = max(newest_us, event.time_us)
        self._newest_us = newest_us
        return new, key_N[is_new_N], late

    def _remember(self, key_N: Ints) -> None:
        """Keep keys sorted in few arrays, each over twice as long as the next, so that all are searched soon."""
        assert self._keys is not None
        self._keys.append(np.sort(key_N))
        while len(self._keys) > 1 and len(self._keys[-2]) <= 2 * len(self._keys[-1]):
            self._keys[-2:] = [np.sort(np.concatenate(self._keys[-2:]))]


def _arrow(events: Sequence[Event], key_N: Ints, arrived: int) -> pa.Table:
    columns = list(zip(*events, strict=True)) if events else [()] * len(Event._fields)
    users, items, kinds, times_us, boards, _ = columns
    return pa.table(
        [
            pa.array(key_N),
            pa.array(map(part_of, users), pa.int16()),
            pa.array(users, pa.string()),
            pa.array(items, pa.string()),
            pa.array(kinds, pa.string()),
            pa.array(times_us, EVENT_SCHEMA.field("time").type),
            pa.array(boards, pa.string()),
            pa.array([arrived] * len(events), pa.int64()),
        ],
        schema=EVENT_SCHEMA,
    )

"""One run of `taste update`: new events in, then the users and the graph that follow from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from pinembed.errors import DataError
from pinembed.nouns.progress import Progress, Stop
from pinembed.table.address import TableAddress
from pinembed.table.embedding_table import id_conditions, writing
from pinembed.taste.derive import Derivation, Derived
from pinembed.taste.edge_table import EdgeTable
from pinembed.taste.event import KINDS, Kinds
from pinembed.taste.event_table import EventTable, LogCounts
from pinembed.taste.item_vectors import ItemVectors
from pinembed.taste.log_file import LogReader
from pinembed.taste.store import Marks, State
from pinembed.taste.user_table import UserTable

PRUNED_SHARE = 0.2
ARRIVED, KINDS_FACT, FINGERPRINT, ITEMS = "arrived", "kinds", "fingerprint", "items"
USERS_VERSION = "graph of users' version"


class TasteStore:
    """A store opened for a run that writes; the caller holds its run lock.

    Args:
        address: of the store.
        kinds: weights by kind; None takes those of the last run.
    """

    def __init__(self, address: TableAddress, kinds: Kinds | None = None) -> None:
        self.address = address
        self.events, self.users, self.edges = EventTable(address), UserTable(address), EdgeTable(address)
        self._state = State(address)
        self.facts = self._state.read()
        self.kinds: Kinds = kinds if kinds is not None else self.facts.get(KINDS_FACT, KINDS)

    def read_logs(self, logs: Sequence[Path], reader: LogReader, progress: Progress, stop: Stop) -> LogCounts:
        """Store the events that no run has stored.

        Raises:
            DataError: a log cannot be read.
            TableError: the table cannot be written.
            StoppedError: a stop was asked for; what was committed is whole.
        """
        marks, found = Marks(self.address), [LogCounts(0, 0, 0, 0)]
        have_new_kinds = not self.kinds.keys() <= self.facts.get(KINDS_FACT, KINDS).keys()  # which were refused before
        progress.start("events", unit="event")
        for path in logs:
            for counts in self.events.read_log(path, reader, marks, from_start=have_new_kinds):
                found.append(counts)
                progress.advance(counts.added + counts.known)
                stop.check()
        self.events.tidy()
        self.events.index("user")
        return LogCounts(*map(sum, zip(*found, strict=True)))

    def prune(self, items: ItemVectors, *, force: bool) -> int:
        """Take out the events of items that are not in the catalogue; how many.

        Raises:
            DataError: these are more than a fifth of all, and `force` is not given.
        """
        named = pc.unique(self.events.read(["item"])["item"]).to_pylist()
        gone = sorted(set(named) - set(items.ids))
        conditions = id_conditions(gone, "item")
        count = sum(self.events.count(condition) for condition in conditions)
        if count > PRUNED_SHARE * self.events.count() and not force:
            raise DataError(
                f"--prune would remove {count} of {self.events.count()} events, those of {len(gone)} items that the "
                "table does not hold; wanted at most a fifth.",
                remedy="Check --table, or give --force if these items are gone for good.",
            )
        if self.events.dataset is not None:
            with writing(self.events.address):
                for condition in conditions:
                    self.events.dataset.delete(condition)
        if count:
            self.facts.pop(ARRIVED, None)
        return count

    def derive(self, items: ItemVectors, progress: Progress, stop: Stop) -> Derived:
        """Bring users and graph in line with the events.

        Raises:
            TableError: a table cannot be written.
            StoppedError: a stop was asked for; the next run goes on.
        """
        derivation = Derivation(self.events, self.users, items, self.kinds, progress)
        is_same = self.facts.get(KINDS_FACT) == dict(self.kinds) and self.facts.get(FINGERPRINT) == items.fingerprint
        if is_same and ARRIVED in self.facts and self.users.dataset is not None:
            have_items_changed = self.facts.get(ITEMS) != items.digest
            derived = derivation.bring_up_to_date(self.facts[ARRIVED], stop, have_items_changed=have_items_changed)
        else:
            derived = derivation.rebuild()
        self.keep(
            {
                ARRIVED: self.events.arrived,
                KINDS_FACT: dict(self.kinds),
                FINGERPRINT: items.fingerprint,
                ITEMS: items.digest,
            }
        )
        self._rebuild_graph(progress)
        return derived

    def rebuild(self, items: ItemVectors, progress: Progress) -> Derived:
        """Users and graph from the events alone, whatever was derived before."""
        self.facts.pop(ARRIVED, None)
        return self.derive(items, progress, Stop())

    def _rebuild_graph(self, progress: Progress) -> None:
        version = self.users.dataset.version if self.users.dataset is not None else 0
        if self.facts.get(USERS_VERSION) != version or not self.edges.is_whole:
            progress.start("graph")
            self.edges.rebuild(self.users)
            self.keep({USERS_VERSION: version})

    def keep(self, facts: dict[str, object]) -> None:
        """Set facts of the store."""
        self.facts |= facts
        self._state.write(self.facts)


@dataclass(frozen=True, kw_only=True, slots=True)
class UnknownItems:
    """Items of events that the catalogue does not hold; they come alive when `encode` adds them.

    Attributes:
        count: how many.
        words: where these are all that the events name, how ids are written on both sides; else empty.
    """

    count: int
    words: str

    @classmethod
    def of(cls, edges: EdgeTable, items: ItemVectors) -> UnknownItems:
        """Those of a store."""
        named = edges.read(["item"])["item"]
        count = int(len(named) - (pc.sum(pc.is_in(named, pa.array(items.ids, pa.string()))).as_py() or 0))
        return cls(count=count, words=_told_apart(named[0].as_py(), items) if count and count == len(named) else "")


def _told_apart(named: str, items: ItemVectors) -> str:
    held = f"ids of the table are written like {items.ids[0]}" if items.ids else "the table is empty"
    return f"no item of the events is in the table: they name {named}, {held}."

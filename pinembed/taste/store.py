"""The tables of one taste store, DATABASE/NAME: NAME_events is the truth, all others are derived from it.

| table          | a row is                                                                                      |
|----------------|-----------------------------------------------------------------------------------------------|
| NAME_events    | an event; append-only, with the logs' cursors in the properties of each commit                |
| NAME           | a user: history, interests, boards                                                            |
| NAME_edges     | an item: its neighbours by what users chose together, and by boards                           |
| NAME_state     | what the derived tables were made of; written last, so that a killed run is repaired          |
| NAME_forgotten | the salted mark of a user who was forgotten                                                   |
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any

import pyarrow as pa

from pinembed.errors import DataError
from pinembed.table.address import EDGES, EVENTS, FORGOTTEN, STATE, TableAddress
from pinembed.table.embedding_table import reading, writing
from pinembed.table.side_tables import SideTable
from pinembed.table.whole import committing

DEFAULT_ARM, NOW_SHARE, FRESH_SHARE = "arm", "now", "fresh"
"""Facts of a store: what `taste evaluate` found best."""
NAMES = ("", EVENTS, EDGES, STATE, FORGOTTEN)


def no_store(address: TableAddress) -> DataError:
    """The error for a store that nobody has made yet."""
    return DataError(
        f"There is no taste store {address}.",
        remedy=f"Make it with: pinembed taste update EVENTS --table TABLE --users {address}",
    )


class StoreTable(SideTable):
    """One table of a store, which also takes rows that no key holds apart, and forgets what it was."""

    def count(self, where: str | None = None) -> int:
        """Rows, or those of a condition."""
        if self.dataset is None:
            return 0
        with reading(self.address):
            return int(self.dataset.count_rows(where))

    def batches(self, columns: list[str] | None = None, batch_rows: int = 8192) -> Iterator[pa.RecordBatch]:
        """All rows, a batch at a time.

        Raises:
            TableError: the table cannot be read.
        """
        if self.dataset is not None:
            with reading(self.address):
                yield from self.dataset.to_batches(columns=columns or self.schema.names, batch_size=batch_rows)

    def append(self, rows: pa.Table, *, properties: Mapping[str, str] | None = None) -> None:
        """Add rows in one commit.

        Args:
            rows: of the table's schema; none of them for a commit of properties alone.
            properties: of the commit.

        Raises:
            TableError: the table cannot be written.
        """
        given = {"transaction_properties": dict(properties)} if properties else {}
        dataset = self.begun()
        with committing(self.address, dataset):
            dataset.insert(rows, **given)

    def replace(self, batches: Iterable[pa.RecordBatch], *, purge: bool = False) -> None:
        """Put these rows in the place of all.

        Args:
            batches: the rows; read while they are written.
            purge: take every older version off the disk; a reader of one of them fails.

        Raises:
            TableError: the table cannot be written.
        """
        reader = pa.RecordBatchReader.from_batches(self.schema, batches)
        dataset = self.begun()
        with committing(self.address, dataset):
            dataset.insert(reader, mode="overwrite")
        if purge:
            self.purge()

    def purge(self) -> None:
        """Take every version but the latest off the disk, and what killed commits left."""
        if self.dataset is not None:
            with writing(self.address):
                self.dataset.cleanup_old_versions(
                    older_than=timedelta(0), delete_unverified=True, error_if_tagged_old_versions=False
                )

    def index(self, column: str) -> None:
        """See that lookups by this column are fast.

        Raises:
            TableError: the table cannot be written.
        """
        if self.dataset is None:
            return
        with writing(self.address):
            if any(column in index.field_names for index in self.dataset.describe_indices()):
                self.dataset.optimize.optimize_indices()
            else:
                self.dataset.create_scalar_index(column, "BTREE")

    def latest_property(self, name: str) -> str | None:
        """What the newest commit that has this property says."""
        if self.dataset is None:
            return None
        with reading(self.address):
            for version in range(self.dataset.version, 0, -1):
                try:
                    transaction = self.dataset.read_transaction(version)
                except (OSError, ValueError):  # cleaned up: no older ones are there
                    return None
                found = dict((transaction.transaction_properties if transaction else None) or {})
                if name in found:
                    return str(found[name])
        return None


STATE_SCHEMA = pa.schema([pa.field("name", pa.string(), nullable=False), pa.field("value", pa.string())])


class State:
    """Small facts about the derived tables, as JSON by name.

    Args:
        address: of the store.
    """

    def __init__(self, address: TableAddress) -> None:
        self._table = StoreTable(address.beside(STATE), STATE_SCHEMA)

    def read(self) -> dict[str, Any]:
        return {row["name"]: json.loads(row["value"]) for row in self._table.read().to_pylist()}

    def write(self, facts: Mapping[str, Any]) -> None:
        """Put these facts in the place of all."""
        rows = [{"name": name, "value": json.dumps(value, sort_keys=True)} for name, value in sorted(facts.items())]
        self._table.replace(pa.Table.from_pylist(rows, schema=STATE_SCHEMA).to_batches(), purge=True)


MARK_SCHEMA = pa.schema([pa.field("mark", pa.string(), nullable=False), pa.field("salt", pa.string())])
SALT_BYTES = 16


class Marks:
    """Marks of users who were forgotten, false without any.

    A salted hash keeps a log that is read again from bringing a user back. No name can be read from a mark. Who holds
    the table and guesses a name can test the guess, as with every such mark.

    Args:
        address: of the store.
    """

    def __init__(self, address: TableAddress) -> None:
        self._table = StoreTable(address.beside(FORGOTTEN), MARK_SCHEMA)
        rows = self._table.read().to_pylist()
        self._marks = {row["mark"] for row in rows}
        self._salt = bytes.fromhex(rows[0]["salt"]) if rows else b""
        self._seen: dict[str, bool] = {}

    def __bool__(self) -> bool:
        return bool(self._marks)

    @property
    def count(self) -> int:
        """How many users were forgotten."""
        return len(self._marks)

    def has(self, user: str) -> bool:
        """Whether this user was forgotten."""
        if user not in self._seen:
            self._seen[user] = self._mark(user) in self._marks
        return self._seen[user]

    def add(self, user: str) -> None:
        """Remember that this user is to be forgotten."""
        self._salt = self._salt or secrets.token_bytes(SALT_BYTES)
        mark = self._mark(user)
        if mark not in self._marks:
            self._table.append(pa.Table.from_pylist([{"mark": mark, "salt": self._salt.hex()}], schema=MARK_SCHEMA))
            self._marks.add(mark)
            self._seen[user] = True

    def _mark(self, user: str) -> str:
        return hashlib.blake2b(user.encode(), key=self._salt, digest_size=16).hexdigest()

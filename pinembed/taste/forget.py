"""Forgetting a user: out of the events, the users and the edges, and out of every older version on the disk.

What follows from the events is the same as if they had never held the user: the other users do not depend on them, and
the graph is counted anew. A salted mark stays, so that a log that is read again does not bring the user back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from lance import dataset as open_dataset

from pinembed.table.address import TableAddress
from pinembed.table.embedding_table import id_conditions, reading, table_exists
from pinembed.taste.event_table import CURSORS
from pinembed.taste.store import NAMES, Marks, StoreTable
from pinembed.taste.update import ARRIVED, USERS_VERSION, TasteStore

SHORTEST_SEARCHED = 4
READ_BYTES = 1 << 20


def forget_user(store: TasteStore, user: str) -> int:
    """Take a user out; how many events they had. The caller holds the store's run lock.

    A run that is killed is completed by the next `taste update` or by the same command.

    Raises:
        TableError: a table cannot be written.
    """
    Marks(store.address).add(user)
    condition = id_conditions([user], "user")[0]
    count = store.events.count(condition)
    arrived = store.facts.pop(ARRIVED, None)
    store.keep({})  # until all is done the next update works everything out anew
    told = store.events.latest_property(CURSORS)
    if store.events.dataset is not None:
        store.events.replace(_others(store.events, user))
        store.events.index("user")
        store.events.purge()
        if told is not None:  # the commit that had told it is gone
            store.events.append(store.events.schema.empty_table(), properties={CURSORS: told})
    if store.users.dataset is not None:
        store.users.replace(_others(store.users, user))
        store.users.index("user")
        store.users.purge()
        store.edges.rebuild(store.users)
        store.facts[USERS_VERSION] = store.users.dataset.version
    if arrived is not None:
        store.keep({ARRIVED: arrived})
    return count


def _others(table: StoreTable, user: str) -> Iterator[pa.RecordBatch]:
    for batch in table.batches():
        yield batch.filter(pc.not_equal(batch.column("user"), user))


@dataclass(frozen=True, kw_only=True, slots=True)
class Traces:
    """What is left of a user in the tables of a store.

    Attributes:
        versions: of tables that were opened.
        files: that were searched for the bytes of the name; 0 where it has under four, which any file may hold.
        size_bytes: of these files.
        found: where the name stands.
    """

    versions: int
    files: int
    size_bytes: int
    found: tuple[str, ...]


def find_traces(address: TableAddress, user: str) -> Traces:
    """Open every version of every table of a store, and search its files for the bytes of the name.

    Raises:
        TableError: a table cannot be read.
    """
    found: list[str] = []
    versions = files = size_bytes = 0
    name = user.encode()
    for table in (address.beside(suffix) for suffix in NAMES):
        if not table_exists(table):
            continue
        for version in _versions(table):
            versions += 1
            found += [f"{table} version {version}, column {column}" for column in _columns_with(table, version, user)]
        if table.folder is not None and len(name) >= SHORTEST_SEARCHED:
            for path in sorted(path for path in table.folder.rglob("*") if path.is_file()):
                files += 1
                size_bytes += path.stat().st_size
                if _holds(path, name):
                    found.append(str(path))
    return Traces(versions=versions, files=files, size_bytes=size_bytes, found=tuple(found))


def _versions(table: TableAddress) -> list[int]:
    with reading(table):
        return [
            int(version["version"])
            for version in open_dataset(table.uri, storage_options=table.storage_options).versions()
        ]


def _columns_with(table: TableAddress, version: int, user: str) -> list[str]:
    """Columns of text that hold the name; no other column can."""
    with reading(table):
        opened = open_dataset(table.uri, version=version, storage_options=table.storage_options)
        names = [field.name for field in opened.schema if pa.types.is_string(field.type)]
        found: set[str] = set()
        for batch in opened.to_batches(columns=names):
            found.update(name for name in names if pc.any(pc.equal(batch.column(name), user)).as_py())
    return sorted(found)


def _holds(path: Path, name: bytes) -> bool:
    tail = b""
    with path.open("rb") as file:
        while chunk := file.read(READ_BYTES):
            if name in tail + chunk:
                return True
            tail = chunk[-len(name) :]
    return False

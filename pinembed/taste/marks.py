"""Marks of users who were forgotten: a salted hash keeps a log that is read again from bringing them back.

No name can be read from a mark. Who holds the table and guesses a name can test the guess, as with every such mark.
"""

from __future__ import annotations

import hashlib
import secrets

import pyarrow as pa

from pinembed.table.address import FORGOTTEN, TableAddress
from pinembed.taste.store import StoreTable

MARK_SCHEMA = pa.schema([pa.field("mark", pa.string(), nullable=False), pa.field("salt", pa.string())])
SALT_BYTES = 16


class Marks:
    """The marks of one store; false while nobody was forgotten.

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

"""Epochs: the runs that encode in shards, numbered, each with its receipts; nobody looks again at one that is closed.

Beside the table lies `.NAME.epochs/`. A run opens the next epoch by putting `000007/open`, which only one can do; its
workers put `000007/00012.json` for shard 12, also only one of them; and `closed-000007` ends it for good.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pinembed.encoding.shards.receipt import Receipt
from pinembed.errors import TableError
from pinembed.table.address import TableAddress
from pinembed.table.notes import Notes, notes_of

OPEN, CLOSED = "open", "closed"
_MEMBER = re.compile(r"(\d{6,})/(.+)")
_CLOSED = re.compile(r"closed-(\d{6,})")


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One run's place for receipts; a worker needs nothing else to put one.

    Attributes:
        table: that the run writes to.
        number: from 1.
    """

    table: TableAddress
    number: int

    def put(self, receipt: Receipt) -> bool:
        """Write a receipt down unless its shard has one; whether it was.

        Raises:
            TableError, StoreError: it cannot be written.
        """
        return self._notes.put_new(self._name(receipt.number), receipt.to_bytes())

    def receipt(self, number: int) -> Receipt | None:
        """Of a shard; None where there is none yet.

        Raises:
            TableError, StoreError: it cannot be read.
        """
        stored = self._notes.read(self._name(number))
        return None if stored is None else Receipt.from_bytes(stored)

    def _name(self, number: int) -> str:
        return f"{self.number:06}/{number:05}.json"

    @property
    def _notes(self) -> Notes:
        return notes_of(self.table)


class Epochs:
    """The epochs of one table; whoever opens or closes one holds the table's run lock.

    Args:
        table: that they are of.

    Raises:
        TableError, StoreError: they cannot be listed.
    """

    def __init__(self, table: TableAddress) -> None:
        self._table = table
        self._notes = notes_of(table)
        names = self._notes.names()
        self._members = [(int(found[1]), name) for name in names if (found := _MEMBER.fullmatch(name))]
        closed = [int(found[1]) for name in names if (found := _CLOSED.fullmatch(name))]
        self._closed = max(closed, default=0)

    @property
    def left_open(self) -> list[int]:
        """Numbers of those that no run has closed, sorted."""
        return sorted({number for number, _ in self._members if number > self._closed})

    def receipts(self, epoch: int) -> Iterator[Receipt]:
        """All that can be read, in the order of their shards.

        Raises:
            TableError, StoreError: they cannot be read.
        """
        for number, name in sorted(self._members):
            if number == epoch and name.endswith(".json"):
                receipt = Receipt.from_bytes(self._notes.read(name) or b"")
                if receipt is not None:
                    yield receipt

    def open_next(self) -> Epoch:
        """A new one, after all that there were.

        Raises:
            TableError, StoreError: another run has opened it, or it cannot be written.
        """
        number = max([self._closed, *(number for number, _ in self._members)]) + 1
        if not self._notes.put_new(f"{number:06}/{OPEN}", OPEN.encode()):
            raise TableError(
                f"Another run has just opened epoch {number} of table {self._table}.",
                remedy="Wait until it ends; then run the same command again.",
            )
        self._members.append((number, f"{number:06}/{OPEN}"))
        return Epoch(table=self._table.absolute, number=number)

    def close(self) -> None:
        """End all of them for good; what late workers still put there is removed by the next run, unread.

        Raises:
            TableError, StoreError: it cannot be written.
        """
        if not self._members:
            return
        last = max(number for number, _ in self._members)
        if last > self._closed:
            self._notes.put_new(f"closed-{last:06}", CLOSED.encode())
            if self._closed:
                self._notes.remove([f"closed-{self._closed:06}"])
            self._closed = last
        self._notes.remove([name for number, name in self._notes_of_closed()])
        self._members = []

    def _notes_of_closed(self) -> list[tuple[int, str]]:
        found = ((_MEMBER.fullmatch(name), name) for name in self._notes.names())
        return [(int(match[1]), name) for match, name in found if match and int(match[1]) <= self._closed]

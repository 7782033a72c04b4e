"""The leases that runs of this process hold on tables in object stores; every commit asks for its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pinembed.errors import LeaseLostError
from pinembed.stores.lease import Lease
from pinembed.table.address import BESIDE, TableAddress

_leases: dict[str, Lease] = {}
"""By table."""


@contextmanager
def under_lease(address: TableAddress, lease: Lease) -> Iterator[None]:
    """Inside of the block, writing to the table and those beside it needs this lease."""
    _leases[str(address)] = lease
    try:
        yield
    finally:
        del _leases[str(address)]


def refuse_without_lease(address: TableAddress) -> None:
    """Let only a run write that still holds what it took.

    Raises:
        LeaseLostError: another run has taken the table over, or may do so any moment.
    """
    if address.folder is not None:
        return
    for table, lease in list(_leases.items()):
        trouble = lease.trouble() if str(address) in {table, *(table + ending for ending in BESIDE)} else ""
        if trouble:
            raise LeaseLostError(
                f"This run does not hold table {table} any more: {trouble}.",
                remedy="What was committed is whole; run the same command again once no other run holds the table.",
            )

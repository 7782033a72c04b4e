"""The run lock: one writing run a table. The second one ends at once and says who holds it.

On this machine it is a lock of the operating system. In an object store it is a lease, and the run that takes over one
that was not given back puts a fence before what its holder may still be about to commit.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from pinembed.errors import PinembedError, StoreError, TableError, TableLockedError, UsageError
from pinembed.generation.reading import hold
from pinembed.generation.record import TABLE, TABLE_NAME
from pinembed.stores.address import Address
from pinembed.stores.lease import EXPIRES_S, Lease, LeaseCard, holder_of_lease
from pinembed.table.address import BESIDE, TableAddress
from pinembed.table.embedding_table import open_if_there, writing
from pinembed.table.leases import under_lease


def run_lock(address: TableAddress) -> AbstractContextManager[None]:
    """Hold the table for one run; the operating system frees it when the process ends, however it ends.

    A lease in an object store ends 90 s after its holder has.

    Raises:
        UsageError: the table lies in a home of generations.
        TableLockedError: another run holds it; exit code 5.
        TableError: the lock's folder cannot be written.
        StoreError: the store cannot be written, or has no conditional PUT.
    """
    refuse_sealed(address.uri)
    if address.place is not None:
        return table_lease(address, Lease(lease_place(address)))
    return file_lock(address.lock_path, of=f"table {address}", is_held=TableLockedError)


@contextmanager
def table_lease(address: TableAddress, lease: Lease) -> Iterator[None]:
    """Hold a table in an object store; every commit to it, and to the tables beside it, sees first that it is ours.

    Args:
        address: of the table.
        lease: of it, not taken yet.

    Raises:
        TableLockedError: another run holds it.
        StoreError, TableError: the store cannot be written.
    """
    holder = lease.take()
    if holder is not None:
        raise TableLockedError(
            f"Another run holds table {address}: {holder}.",
            remedy=f"Wait until it ends, or end it there; {EXPIRES_S:.0f} s after that the same command takes over.",
        )
    lease.keep()
    try:
        if lease.is_taken_over:
            fence(address)
        with under_lease(address, lease):
            yield
    finally:
        with suppress(StoreError):  # it expires by itself
            lease.give_back()


def fence(address: TableAddress) -> None:
    """Make every commit fail that another process has planned on the present versions of a table and those beside it.

    A version that restores the latest one conflicts with whatever was planned before it: appends, merges, deletions,
    compaction, columns and indexes. Rows stay as they are. What puts new rows in the place of all, as the tables do
    that are derived from events, conflicts with nothing; they are made anew from what the fence has kept.

    Raises:
        TableError: the table cannot be written.
    """
    for name in (address, *map(address.beside, BESIDE)):
        dataset = open_if_there(name)
        if dataset is not None:
            with writing(name):
                dataset.restore()


def lease_place(address: TableAddress) -> Address:
    """Of the object that is the table's lease."""
    assert address.place is not None
    return address.place.parent / f".{address.name}.lease"


def refuse_sealed(table: str) -> None:
    """Let nobody write into a generation.

    Args:
        table: DATABASE/NAME, or a home of generations.

    Raises:
        UsageError: it lies in one.
    """
    held = hold(table)
    if held is not None and held.is_sealed:
        raise UsageError(
            f"--table {table} lies in a home of generations, which are sealed.",
            remedy="Run `pinembed refresh` with the home's CONFIG, or try it in a sandbox: pinembed sandbox HOME NAME",
        )


def table_of_sandbox(table: str) -> str:
    """DATABASE/NAME, where a sandbox stands for its table; anything else as it is."""
    held = hold(table)
    return table if held is None or held.is_sealed else str(held.part(f"{TABLE}/{TABLE_NAME}"))


@contextmanager
def file_lock(path: Path, *, of: str, is_held: type[PinembedError]) -> Iterator[None]:
    """Hold what a lock file stands for.

    Args:
        path: of the lock file; who holds it is written beside it.
        of: what it stands for, for messages.
        is_held: the error that says who holds it.

    Raises:
        is_held: somebody else holds it.
        TableError: the lock's folder cannot be written.
    """
    lock = FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=False)
    except Timeout as error:
        raise is_held(
            f"Another run holds {of}: {_holder(path)}.",
            remedy="Wait until it ends, or end it with that process id; then run the same command again.",
        ) from error
    except OSError as error:
        raise TableError(
            f"The lock {path} of {of} cannot be written: {error.strerror or error}.",
            remedy="Check that its folder may be written.",
        ) from error
    try:
        _introduce(path)
        yield
    finally:
        with suppress(OSError):
            _card(path).unlink()
        lock.release()


def holder_of(address: TableAddress) -> str:
    """Who holds the table now; empty when nobody does. No lock is made.

    Raises:
        StoreError: its object store cannot be asked.
    """
    if address.place is not None:
        card = holder_of_lease(lease_place(address))
        return "" if card is None else str(card)
    path = address.lock_path
    if not path.exists():
        return ""
    lock = FileLock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return _holder(path)
    except OSError:  # a database that may only be read
        return ""
    lock.release()
    return ""


def _introduce(path: Path) -> None:
    """Say who we are; beside the lock, because the lock file itself must stay empty on some systems."""
    with suppress(OSError):
        _card(path).write_bytes(LeaseCard.of_this_process().to_bytes())


def _holder(path: Path) -> str:
    with suppress(OSError):
        card = LeaseCard.from_bytes(_card(path).read_bytes())
        if card.pid:
            return str(card)
    return "a process that has only just begun"


def _card(path: Path) -> Path:
    return path.with_suffix(".holder.json")

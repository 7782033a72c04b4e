"""The run lock: one writing run a table. The second one ends at once and says who holds it."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from pinembed.errors import PinembedError, TableError, TableLockedError, UsageError
from pinembed.generation.reading import hold
from pinembed.table.address import TableAddress


def run_lock(address: TableAddress) -> AbstractContextManager[None]:
    """Hold the table for one run; the operating system frees it when the process ends, however it ends.

    Raises:
        UsageError: the table lies in a home of generations.
        TableLockedError: another run holds it; exit code 5.
        TableError: the lock's folder cannot be written.
    """
    refuse_sealed(address.uri)
    return file_lock(address.lock_path, of=f"table {address}", is_held=TableLockedError)


def refuse_sealed(table: str) -> None:
    """Let nobody write into a generation.

    Args:
        table: DATABASE/NAME, or a home of generations.

    Raises:
        UsageError: it lies in one.
    """
    if hold(table) is not None:
        raise UsageError(
            f"--table {table} lies in a home of generations, which are sealed.",
            remedy="Run `pinembed refresh` with the home's CONFIG, or give a table outside of it.",
        )


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
    """Who holds the table now; empty when nobody does. Nothing is created."""
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
    card = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": datetime.now().astimezone().isoformat(timespec="seconds"),
    }
    with suppress(OSError):
        _card(path).write_text(json.dumps(card), encoding="utf-8")


def _holder(path: Path) -> str:
    try:
        card = json.loads(_card(path).read_text(encoding="utf-8"))
        return f"process {card['pid']} on {card['host']} since {card['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "a process that has only just begun"


def _card(path: Path) -> Path:
    return path.with_suffix(".holder.json")

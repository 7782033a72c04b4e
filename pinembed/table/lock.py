"""The run lock: one writing run a table. The second one ends at once and says who holds it."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from pinembed.errors import TableError, TableLockedError
from pinembed.table.address import TableAddress


@contextmanager
def run_lock(address: TableAddress) -> Iterator[None]:
    """Hold the table for one run; the operating system frees it when the process ends, however it ends.

    Raises:
        TableLockedError: another run holds it; exit code 5.
        TableError: the lock's folder cannot be written.
    """
    path = address.lock_path
    lock = FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=False)
    except Timeout as error:
        raise TableLockedError(
            f"Another run holds table {address}: {_holder(path)}.",
            remedy="Wait until it ends, or end it with that process id; then run the same command again.",
        ) from error
    except OSError as error:
        raise TableError(
            f"The lock {path} of table {address} cannot be written: {error.strerror or error}.",
            remedy="Check that the database folder may be written.",
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

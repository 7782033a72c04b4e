"""Small notes beside a table, each of which only one can put: the receipts of encoding in shards."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from pinembed.errors import MissingObjectError, TableError
from pinembed.stores.address import Address, parse_place
from pinembed.stores.objects import create_object, list_objects, read_object, remove_object
from pinembed.table.address import TableAddress


class Notes(Protocol):
    """Notes by name; a name may have slashes in it."""

    def put_new(self, name: str, content: bytes) -> bool:
        """Write a note, whole, unless there is one of that name; whether it was written.

        It has a byte or more: what has none stands for a folder in some stores.

        Raises:
            TableError, StoreError: it cannot be written.
        """

    def read(self, name: str) -> bytes | None:
        """A note; None where there is none of that name.

        Raises:
            TableError, StoreError: it cannot be read.
        """

    def names(self) -> list[str]:
        """Of all notes, sorted.

        Raises:
            TableError, StoreError: they cannot be listed.
        """

    def remove(self, names: Iterable[str]) -> None:
        """Take notes away; one that is gone already does not matter.

        Raises:
            TableError, StoreError: one cannot be removed.
        """


def notes_of(table: TableAddress) -> Notes:
    """The notes of a table, which exist while there are some: in `.NAME.epochs` beside it."""
    place = parse_place(f"{table.database}/.{table.name}.epochs")
    return ObjectNotes(place) if isinstance(place, Address) else FileNotes(place)


class FileNotes:
    """Notes as files.

    Args:
        folder: that they lie in.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put_new(self, name: str, content: bytes) -> bool:
        path = self._folder / name
        partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        with self._telling("written"):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with partial.open("wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                path.hardlink_to(partial)  # which only one can, and which is atomic on NFS too
            except FileExistsError:
                return False
            finally:
                partial.unlink(missing_ok=True)
        return True

    def read(self, name: str) -> bytes | None:
        with self._telling("read"):
            try:
                return (self._folder / name).read_bytes()
            except FileNotFoundError:
                return None

    def names(self) -> list[str]:
        with self._telling("read"):
            paths = (path for path in self._folder.rglob("*") if path.is_file() and not path.name.startswith("."))
            return sorted(path.relative_to(self._folder).as_posix() for path in paths)

    def remove(self, names: Iterable[str]) -> None:
        with self._telling("removed"):
            folders = set()
            for name in names:
                path = self._folder / name
                path.unlink(missing_ok=True)
                folders.add(path.parent)
            for folder in folders - {self._folder}:
                with suppress(OSError):  # a late worker has put something
                    folder.rmdir()

    @contextmanager
    def _telling(self, done: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise TableError(
                f"A note in {self._folder} cannot be {done}: {error.strerror or error}.",
                remedy="Check free disk space and permissions, then run the same command again.",
            ) from error


class ObjectNotes:
    """Notes as objects of a store.

    Args:
        prefix: that they lie under.
    """

    def __init__(self, prefix: Address) -> None:
        self._prefix = prefix

    def put_new(self, name: str, content: bytes) -> bool:
        return create_object(self._prefix / name, content) is not None

    def read(self, name: str) -> bytes | None:
        try:
            return read_object(self._prefix / name)[0]
        except MissingObjectError:
            return None

    def names(self) -> list[str]:
        return sorted(found.address.relative_to(self._prefix) for found in list_objects(self._prefix))

    def remove(self, names: Iterable[str]) -> None:
        for name in names:
            remove_object(self._prefix / name)

"""TABLE, as the user writes it, to the database and the name that LanceDB wants: catalog/pins is catalog/pins.lance."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from pinembed.errors import TableError, UsageError
from pinembed.outfolder import refuse_unknown_home
from pinembed.stores.address import Address, parse_place
from pinembed.stores.options import storage_options

SUFFIX = ".lance"
FAILURES = "_failures"
RUNS = "_runs"
MEASURES = "_measures"
FLAGS = "_flags"
SIDE_TABLES = (FAILURES, RUNS, MEASURES, FLAGS)
EVENTS, EDGES, STATE, FORGOTTEN = "_events", "_edges", "_state", "_forgotten"
"""Beside a table of users."""
BESIDE = (*SIDE_TABLES, EVENTS, EDGES, STATE, FORGOTTEN)
"""Endings of all tables that are written under the run lock of the table that they lie beside."""
RETRY_S = "60"
"""So long Lance tries to reach a store that is away, which is less than a lease lasts; its own default is 180."""
_NAME = re.compile(r"[A-Za-z0-9_.-]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class TableAddress:
    """Where a table lies.

    Attributes:
        database: folder or URI of the LanceDB database.
        name: of the table in it.
    """

    database: str
    name: str

    def __str__(self) -> str:
        return f"{self.database}/{self.name}"

    @property
    def uri(self) -> str:
        """Of the Lance dataset, as LanceDB names it."""
        return f"{self.database}/{self.name}{SUFFIX}"

    @property
    def folder(self) -> Path | None:
        """The table's folder, None where it lies in an object store."""
        return None if "://" in self.database else Path(self.database) / f"{self.name}{SUFFIX}"

    @property
    def place(self) -> Address | None:
        """The table's prefix in an object store, None where it is a folder."""
        found = parse_place(self.uri) if self.folder is None else None
        return found if isinstance(found, Address) else None

    @property
    def storage_options(self) -> dict[str, str] | None:
        """How Lance reaches it; None where it is a folder."""
        return None if self.folder is not None else {"client_retry_timeout": RETRY_S, **storage_options()}

    @property
    def absolute(self) -> TableAddress:
        """The same, for a process that works in another folder."""
        return self if self.folder is None else replace(self, database=str(Path(self.database).absolute()))

    def beside(self, suffix: str) -> TableAddress:
        """The table beside this one whose name ends so."""
        return TableAddress(database=self.database, name=self.name + suffix)

    @property
    def failures(self) -> TableAddress:
        """The table of the images that could not be encoded."""
        return self.beside(FAILURES)

    @property
    def runs(self) -> TableAddress:
        """The table of the runs of encode."""
        return self.beside(RUNS)

    @property
    def measures(self) -> TableAddress:
        """The table of what was measured on the contents."""
        return self.beside(MEASURES)

    @property
    def flags(self) -> TableAddress:
        """The table of the audit's flags."""
        return self.beside(FLAGS)

    @property
    def lock_path(self) -> Path:
        """The run lock, beside a table that is a folder."""
        return Path(self.database) / f".{self.name}.lock"


def parse_address(table: str) -> TableAddress:
    """DATABASE/NAME, with or without `.lance` at the end.

    Raises:
        UsageError: no name, or one that LanceDB does not take; a home that nobody has; an unknown scheme.
        TableError: the path is a file.
    """
    if "://" in table:
        table = str(parse_place(table))
    database, slash, name = table.rstrip("/").rpartition("/")
    name = name.removesuffix(SUFFIX)
    if not _NAME.fullmatch(name) or database.endswith(":/"):
        raise UsageError(
            f"--table {table!r} names no table; wanted DATABASE/NAME, the name in letters, digits, `_`, `-` and `.`.",
            remedy="Write it like catalog/pins: the folder catalog is the database, pins the table.",
        )
    refuse_unknown_home(table)
    address = TableAddress(database=database if database else "/" if slash else ".", name=name)
    if address.folder is not None:
        for path in (Path(table), address.folder, Path(address.database)):
            if path.is_file():
                raise TableError(
                    f"--table {table}: {path} is a file; wanted a folder for the LanceDB database.",
                    remedy="Give another --table, or move the file away.",
                )
    return address

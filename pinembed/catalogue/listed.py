"""The image files that a list names, instead of all that a folder holds."""

from __future__ import annotations

import os
import stat
import sys
from dataclasses import dataclass
from pathlib import Path

from pinembed.catalogue.scan import ScannedFile
from pinembed.errors import DataError
from pinembed.nouns.candidate import Fault

STANDARD_INPUT = Path("-")


@dataclass(frozen=True, kw_only=True)
class ListedFiles:
    """What a list names.

    Attributes:
        files: the regular files among it, by name relative to the folder.
        faults: names that are no file of the folder.
        repeated: how many names stand for a file that the list has named before.
    """

    files: dict[str, ScannedFile]
    faults: tuple[Fault, ...]
    repeated: int


def listed_files(root: Path, names: Path, *, separator: bytes = b"\n") -> ListedFiles:
    """The files of a folder that a list names, each once, however it is spelled; none is a quiet night.

    Args:
        root: the folder that relative names are relative to.
        names: the list, one name a line; `-` reads it from standard input.
        separator: what ends a name; NUL for names with line breaks in them.

    Raises:
        DataError: the list cannot be read, or is separated by something else.
    """
    entries = [entry.removesuffix(b"\r") if separator == b"\n" else entry for entry in _read(names).split(separator)]
    if separator == b"\n" and any(b"\0" in entry for entry in entries):
        raise DataError(
            f"The list {names} holds NUL bytes; wanted one name a line.",
            remedy="Add --null where the names are separated by NUL, as `find -print0` does.",
        )
    folder = os.path.abspath(root)  # noqa: PTH100  (resolve() would follow the mount's links)
    files: dict[str, ScannedFile] = {}
    faults: dict[str, Fault] = {}
    repeated = 0
    for written in map(os.fsdecode, filter(None, entries)):
        name = os.path.relpath(os.path.normpath(os.path.join(folder, written)), folder)  # noqa: PTH118
        if name in files or name in faults:
            repeated += 1
            continue
        found = _found(folder, name, written)
        if isinstance(found, Fault):
            faults[name] = found
        else:
            files[name] = found
    return ListedFiles(files=files, faults=tuple(faults.values()), repeated=repeated)


def _read(names: Path) -> bytes:
    try:
        return sys.stdin.buffer.read() if names == STANDARD_INPUT else names.read_bytes()
    except OSError as error:
        raise DataError(
            f"The list {names} cannot be read: {error.strerror or error}.", remedy="Check the path of the list."
        ) from error


def _found(folder: str, name: str, written: str) -> ScannedFile | Fault:
    if name.partition("/")[0] == os.pardir:
        return Fault(file_name=written, reason="outside", words="lies outside the folder of images")
    path = Path(folder, name)
    try:
        status = path.stat()
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        words = "is in the list, but not in the folder" if missing else f"cannot be read: {error.strerror or error}"
        return Fault(file_name=name, reason="missing_file" if missing else "unreadable", words=words)
    if stat.S_ISDIR(status.st_mode):
        return Fault(file_name=name, reason="not_a_file", words="is a folder; wanted the names of files in the list")
    return ScannedFile(file_name=name, path=path, size_bytes=status.st_size, mtime_ns=status.st_mtime_ns)

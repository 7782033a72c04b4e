"""Which files of a folder are candidates for images: all that it holds, or those that a list names."""

from __future__ import annotations

import functools
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pinembed.catalogue.beside import Beside
from pinembed.catalogue.names import has_image_suffix
from pinembed.errors import DataError
from pinembed.machine import mtime_ns_of
from pinembed.nouns.failure import Failure
from pinembed.stores.address import Place


@dataclass(frozen=True, kw_only=True, slots=True)
class ScannedFile:
    """One candidate.

    Attributes:
        root: the scanned folder.
        file_name: path relative to it, with forward slashes.
        size_bytes: as the file system tells; of the link itself where a link leads nowhere.
        mtime_ns: last change, nanoseconds since 1970.
    """

    root: str
    file_name: str
    size_bytes: int
    mtime_ns: int

    @property
    def path(self) -> Path:
        """The file."""
        return Path(self.root, self.file_name)


def require_folder(root: Path) -> None:
    """Let only a folder pass.

    Raises:
        DataError: it is a file, or not there.
    """
    if not root.is_dir():
        found = "is a file" if root.exists() else "does not exist"
        raise DataError(f"{root} {found}; wanted a folder of images.", remedy="Check the path.")


def no_image_in(root: Place, unread: Sequence[str] = ()) -> DataError:
    """The error for a folder without images; `unread` are sentences about what it holds instead."""
    found = " ".join([f"{root} holds no image file.", *unread])
    return DataError(found, remedy="Check the path; images lie in it or in folders below it.")


def scan_images(root: Path, beside: Beside | None = None) -> Iterator[ScannedFile]:
    """Every file below `root` with the suffix of an image or without a suffix, in no particular order.

    Links to files are followed, links to folders are not, so loops cannot happen. Hidden files and folders are passed
    over without a word; `beside` hears of the rest. What bears an image's suffix and is no regular file (a FIFO, a link
    that leads nowhere) is a candidate too: whoever reads it says what is wrong, instead of nobody.

    Args:
        root: the folder.
        beside: takes what else lies below it.

    Raises:
        DataError: a folder cannot be listed; half a listing would look as if files were gone.
    """
    pending = [(str(root), "")]
    while pending:
        folder, prefix = pending.pop()
        others: list[str] = []
        linked: list[str] = []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        pending.append((entry.path, f"{prefix}{entry.name}/"))
                    elif _is_candidate(entry):
                        yield _scanned(entry, root=str(root), prefix=prefix)
                    else:
                        (linked if _is_linked_folder(entry) else others).append(entry.name)
            if beside is not None:
                beside.take(prefix, others, functools.partial(_images_in, folder))
                beside.linked_folders.take(prefix, linked)
        except OSError as error:
            raise unlisted(folder, error) from error


def unlisted(folder: str, error: OSError) -> DataError:
    """The error for a folder that the system does not list."""
    return DataError(
        f"The folder {folder} cannot be listed: {error.strerror or error}.",
        remedy="Check its permissions and that the disk is there, then run again.",
    )


def _images_in(folder: str) -> list[str]:
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries if has_image_suffix(entry.name)]


def _scanned(entry: os.DirEntry[str], *, root: str, prefix: str) -> ScannedFile:
    try:
        status = entry.stat()
    except OSError:  # a link that leads nowhere or round in a circle, or a file that was removed a moment ago
        status = None
    return ScannedFile(
        root=root,
        file_name=prefix + entry.name,
        size_bytes=status.st_size if status else 0,
        mtime_ns=mtime_ns_of(status) if status else 0,
    )


def _is_candidate(entry: os.DirEntry[str]) -> bool:
    if "." in entry.name:
        return has_image_suffix(entry.name) and not _is_linked_folder(entry)
    return _is_regular(entry)


def _is_linked_folder(entry: os.DirEntry[str]) -> bool:
    return entry.is_symlink() and os.path.isdir(entry.path)  # noqa: PTH112  (a scan makes no Path of every entry)


def _is_regular(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False


STANDARD_INPUT = Path("-")


@dataclass(frozen=True, kw_only=True)
class ListedFiles:
    """What a list names.

    Attributes:
        files: the regular files among it, by name relative to the folder.
        failures: names that are no file of the folder.
        repeated: how many names stand for a file that the list has named before.
    """

    files: dict[str, ScannedFile]
    failures: tuple[Failure, ...]
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
    folder = os.path.abspath(root)  # noqa: PTH100  (resolve() would follow the mount's links)
    files: dict[str, ScannedFile] = {}
    failures: dict[str, Failure] = {}
    repeated = 0
    for written in listed_names(names, separator):
        name = os.path.relpath(os.path.normpath(os.path.join(folder, written)), folder)  # noqa: PTH118
        if name in files or name in failures:
            repeated += 1
            continue
        found = find_file(Path(folder), name, written)
        if isinstance(found, Failure):
            failures[name] = found
        else:
            files[name] = found
    return ListedFiles(files=files, failures=tuple(failures.values()), repeated=repeated)


def listed_names(names: Path, separator: bytes) -> Iterator[str]:
    """The names in a list, as they are written.

    Raises:
        DataError: the list cannot be read, or is separated by something else.
    """
    entries = [entry.removesuffix(b"\r") if separator == b"\n" else entry for entry in _read(names).split(separator)]
    if separator == b"\n" and any(b"\0" in entry for entry in entries):
        raise DataError(
            f"The list {names} holds NUL bytes; wanted one name a line.",
            remedy="Add --null where the names are separated by NUL, as `find -print0` does.",
        )
    return map(os.fsdecode, filter(None, entries))


def _read(names: Path) -> bytes:
    try:
        return sys.stdin.buffer.read() if names == STANDARD_INPUT else names.read_bytes()
    except OSError as error:
        raise DataError(
            f"The list {names} cannot be read: {error.strerror or error}.", remedy="Check the path of the list."
        ) from error


def find_file(folder: Path, name: str, written: str | None = None) -> ScannedFile | Failure:
    """A file of a folder that somebody names, whatever its suffix is; else what is wrong with it.

    Args:
        folder: the folder.
        name: relative to it, without `.` and `..` inside.
        written: the name as it was given, for messages.
    """
    written = name if written is None else written
    if name.partition("/")[0] == os.pardir:
        return Failure(file_name=written, reason="outside", message=f"{written} lies outside the folder of images.")
    path = Path(folder, name)
    try:
        status = path.stat()
    except ValueError:
        return Failure(file_name=name, reason="missing_file", message=f"{name} holds a NUL, as no file's name does.")
    except FileNotFoundError:
        message = f"{name} is in the list, but not in the folder."
        return Failure(file_name=name, reason="missing_file", message=message)
    except OSError as error:
        return Failure(
            file_name=name, reason="unreadable", message=f"{name} cannot be read: {error.strerror or error}."
        )
    if stat.S_ISDIR(status.st_mode):
        message = f"{name} is a folder; wanted the names of files in the list."
        return Failure(file_name=name, reason="not_a_file", message=message)
    return ScannedFile(root=str(folder), file_name=name, size_bytes=status.st_size, mtime_ns=mtime_ns_of(status))

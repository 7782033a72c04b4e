"""Image to bytes, without ever waiting for a pipe and without taking half a file for a whole one."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pinembed.errors import ImageError
from pinembed.nouns.locator import FileRange, Locator, ParquetCell

MAX_FILE_BYTES = 1 << 30


@dataclass(frozen=True, kw_only=True, slots=True)
class FileContent:
    """An image as it was at one moment.

    Attributes:
        content: all its bytes.
        mtime_ns: last change of the file that holds it, nanoseconds since 1970.
    """

    content: bytes
    mtime_ns: int


def read_content(image: Locator) -> FileContent:
    """All bytes of an image, wherever it lies.

    Raises:
        ImageError: as for `read_file`; also where a tar or Parquet file changed since the image was found in it.
    """
    if isinstance(image, FileRange):
        return _read_range(image)
    if isinstance(image, ParquetCell):
        from pinembed.images.read_parquet import read_cell  # Arrow only where there is Parquet

        return read_cell(image)
    return read_file(image)


def read_file(path: Path) -> FileContent:
    """All bytes of a regular file.

    Raises:
        ImageError: missing, not readable, not a regular file, empty, over 1 GiB, or changed while it was read.
    """
    with _opened(path) as (file, before):
        check_size(path, before.st_size)
        content = file.read(before.st_size + 1)
        after = os.fstat(file.fileno())
    if len(content) != before.st_size or (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise changed_while_read(path)
    return FileContent(content=content, mtime_ns=before.st_mtime_ns)


def _read_range(image: FileRange) -> FileContent:
    check_size(image, image.size_bytes)
    with _opened(image.path) as (file, before):
        file.seek(image.offset)
        content = file.read(image.size_bytes)
        after_ns = os.fstat(file.fileno()).st_mtime_ns
    if not (image.mtime_ns == before.st_mtime_ns == after_ns):
        raise changed_while_read(image)
    if len(content) < image.size_bytes:
        raise ImageError(
            f"{image} is truncated: {image.path} ends before it does.",
            remedy="Replace the tar with a whole one.",
            reason="truncated",
        )
    return FileContent(content=content, mtime_ns=after_ns)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[BinaryIO, os.stat_result]]:
    """A regular file, open for reading, and its state; what goes wrong in the block becomes an ImageError."""
    try:
        # O_NONBLOCK: a FIFO put in the place of a file must not stop the run
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise ImageError(
                    f"{path} is not a regular file.", remedy="Take it out of the folder.", reason="not_a_file"
                )
            yield file, status
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(image: Locator, error: OSError) -> ImageError:
    """The ImageError of what the system says about a file."""
    if isinstance(error, FileNotFoundError):
        return ImageError(f"{image} is missing.", remedy="Bring the file back.", reason="missing_file")
    return ImageError(
        f"{image} cannot be read: {error.strerror or error}.",
        remedy="Check the permissions and the disk.",
        reason="unreadable",
    )


def changed_while_read(image: Locator) -> ImageError:
    return ImageError(
        f"{image} changed while it was read.",
        remedy="Run again once nothing writes to it any more.",
        reason="changed_while_read",
    )


def check_size(image: Locator, size_bytes: int) -> None:
    """Let pass what is neither empty nor too large to be read.

    Raises:
        ImageError: 0 bytes, or over 1 GiB.
    """
    if size_bytes == 0:
        raise ImageError(f"{image} is empty (0 bytes).", remedy="Replace the file with a whole one.", reason="empty")
    if size_bytes > MAX_FILE_BYTES:
        raise ImageError(
            f"{image} has {size_bytes} bytes; at most {MAX_FILE_BYTES} are read.",
            remedy="Replace it with a smaller file.",
            reason="too_large",
        )

"""Image to bytes, without ever waiting for a pipe and without taking half a file for a whole one."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pinembed.errors import ImageError
from pinembed.images.content import FileContent, changed_while_read, check_size, unreadable
from pinembed.nouns.candidate import FileRange, Locator, ParquetCell


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

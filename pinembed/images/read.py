"""Image file to bytes, without ever waiting for a pipe and without taking half a file for a whole one."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from pinembed.errors import ImageError

MAX_FILE_BYTES = 1 << 30


@dataclass(frozen=True, kw_only=True, slots=True)
class FileContent:
    """A file as it was at one moment.

    Attributes:
        content: all its bytes.
        mtime_ns: last change, nanoseconds since 1970.
    """

    content: bytes
    mtime_ns: int


def read_file(path: Path) -> FileContent:
    """All bytes of a regular file.

    Raises:
        ImageError: missing, not readable, not a regular file, empty, over 1 GiB, or changed while it was read.
    """
    try:
        # O_NONBLOCK: a FIFO put in the place of a file must not stop the run
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(descriptor, "rb") as file:
            before = os.fstat(descriptor)
            _check_readable(path, before)
            content = file.read(before.st_size + 1)
            after = os.fstat(descriptor)
    except FileNotFoundError as error:
        raise ImageError(f"{path} is missing.", remedy="Bring the file back.", reason="missing_file") from error
    except OSError as error:
        raise ImageError(
            f"{path} cannot be read: {error.strerror or error}.",
            remedy="Check the permissions and the disk.",
            reason="unreadable",
        ) from error
    if len(content) != before.st_size or (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise ImageError(
            f"{path} changed while it was read.",
            remedy="Run again once nothing writes to it any more.",
            reason="changed_while_read",
        )
    return FileContent(content=content, mtime_ns=before.st_mtime_ns)


def _check_readable(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ImageError(f"{path} is not a regular file.", remedy="Take it out of the folder.", reason="not_a_file")
    if status.st_size == 0:
        raise ImageError(f"{path} is empty (0 bytes).", remedy="Replace the file with a whole one.", reason="empty")
    if status.st_size > MAX_FILE_BYTES:
        raise ImageError(
            f"{path} has {status.st_size} bytes; at most {MAX_FILE_BYTES} are read.",
            remedy="Replace it with a smaller file.",
            reason="too_large",
        )

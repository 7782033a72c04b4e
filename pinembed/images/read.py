"""Image to bytes: a file, a range of a tar, or a value of a Parquet column.

Nothing here ever waits for a pipe, or takes half a file for a whole one. pyarrow is imported only where there is
Parquet, so that a worker process starts without it.
"""

from __future__ import annotations

import errno
import os
import stat
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from pinembed.errors import ImageError
from pinembed.machine import mtime_ns_of
from pinembed.nouns.item import FileRange, Locator, ParquetCell, tar_name

if TYPE_CHECKING:
    import pyarrow as pa

MAX_FILE_BYTES = 1 << 30
BATCH_ROWS = 8
READ_AHEAD_BYTES = 1 << 20


def read_content(image: Locator) -> tuple[bytes, int]:
    """All bytes of an image, wherever it lies, and when the file that holds it last changed, in ns since 1970.

    Raises:
        ImageError: as for `read_file`; also where a tar or Parquet file changed since the image was found in it.
    """
    if isinstance(image, FileRange):
        return _read_range(image)
    if isinstance(image, ParquetCell):
        return _read_cell(image)
    return read_file(image)


def read_file(path: Path) -> tuple[bytes, int]:
    """All bytes of a regular file, and when it last changed, in ns since 1970.

    Raises:
        ImageError: missing, not readable, not a regular file, empty, over 1 GiB, or changed while it was read.
    """
    with _opened(path) as (file, before):
        _check_size(path, before.st_size)
        content = file.read(before.st_size + 1)
        after = os.fstat(file.fileno())
    if len(content) != before.st_size or (before.st_size, mtime_ns_of(before)) != (after.st_size, mtime_ns_of(after)):
        raise _changed_while_read(path)
    return content, mtime_ns_of(before)


def _read_range(image: FileRange) -> tuple[bytes, int]:
    _check_size(image, image.size_bytes)
    with _opened(image.path) as (file, before):
        file.seek(image.offset)
        content = file.read(image.size_bytes)
        after_ns = mtime_ns_of(os.fstat(file.fileno()))
    if not (image.mtime_ns == mtime_ns_of(before) == after_ns):
        raise _changed_while_read(image)
    if len(content) < image.size_bytes:
        raise ImageError(
            f"{image} is truncated: {image.path} ends before it does.",
            remedy="Replace the tar with a whole one.",
            reason="truncated",
        )
    return content, after_ns


@contextmanager
def _opened(path: Path) -> Iterator[tuple[BinaryIO, os.stat_result]]:
    """A regular file, open for reading, and its state; what goes wrong in the block becomes an ImageError."""
    try:
        # O_NONBLOCK: a FIFO put in the place of a file must not stop the run
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise _irregular(path)
            yield file, status
    except OSError as error:
        raise _unreadable(path, error) from error


def _read_cell(cell: ParquetCell) -> tuple[bytes, int]:
    """Rows that are asked for in their order are read in one pass over the row group, which never lies in memory.

    Raises:
        ImageError: without bytes, too large, or the file is damaged, cannot be read, or changed since it was listed.
    """
    import pyarrow as pa

    global _stream
    try:
        if mtime_ns_of(cell.path.stat()) != cell.mtime_ns:
            raise _changed_while_read(cell)
        if _stream is None or not _stream.leads_to(cell):
            _stream = _ColumnStream(cell)
        content = _stream.value(cell.row)
        after_ns = mtime_ns_of(cell.path.stat())
    except (pa.ArrowException, OSError, StopIteration) as error:
        _stream = None
        raise _damaged(cell, error) from error
    if after_ns != cell.mtime_ns:
        raise _changed_while_read(cell)
    if content is None:
        raise ImageError(
            f"{cell} has no bytes: the row holds no image, or only its path.",
            remedy="Write the images themselves into the Parquet file.",
            reason="empty",
        )
    _check_size(cell, len(content))
    return content, cell.mtime_ns


def _damaged(cell: ParquetCell, error: Exception) -> ImageError:
    if isinstance(error, OSError) and error.errno is not None:  # the system's; Arrow gives its own no number
        return _unreadable(cell, error)
    words = " ".join(str(error).split())[:200] or "the file ends before that row"
    return ImageError(
        f"{cell} cannot be read: {words}", remedy="Replace the Parquet file with a whole one.", reason="broken_shard"
    )


class _ColumnStream:
    """One pass over a column of one row group.

    Args:
        cell: any value of it.
    """

    def __init__(self, cell: ParquetCell) -> None:
        import pyarrow as pa
        import pyarrow.parquet

        file = pyarrow.parquet.ParquetFile(cell.path, pre_buffer=False, buffer_size=READ_AHEAD_BYTES)
        self._is_struct = pa.types.is_struct(file.schema_arrow.field(cell.column).type)
        leaf = f"{cell.column}.bytes" if self._is_struct else cell.column
        self._of = (cell.path, cell.mtime_ns, cell.row_group, cell.column)
        self._batches: Iterator[pa.RecordBatch] = file.iter_batches(
            batch_size=BATCH_ROWS, row_groups=[cell.row_group], columns=[leaf], use_threads=False
        )
        self._first_row = 0
        self._values = pa.array([], pa.binary())

    def leads_to(self, cell: ParquetCell) -> bool:
        """Whether this pass has not yet gone by the cell."""
        here = (cell.path, cell.mtime_ns, cell.row_group, cell.column)
        return here == self._of and cell.row >= self._first_row

    def value(self, row: int) -> bytes | None:
        """The bytes in a row.

        Raises:
            StopIteration: the group has no such row.
        """
        while row >= self._first_row + len(self._values):
            self._first_row += len(self._values)
            column = next(self._batches).column(0)
            self._values = column.field("bytes") if self._is_struct else column
        content: bytes | None = self._values[row - self._first_row].as_py()
        return content


_stream: _ColumnStream | None = None


def locate_image(path: Path) -> Locator:
    """The path itself, or where in a tar or Parquet file the image lies that it names.

    Raises:
        ImageError: the tar or Parquet file does not hold it, or cannot be read.
    """
    shard = next((parent for parent in path.parents if parent.is_file()), None)
    if shard is None or shard.suffix.lower() not in _FINDERS:
        return path
    name = path.relative_to(shard).as_posix()
    try:
        found = _FINDERS[shard.suffix.lower()](shard, name)
    except (OSError, tarfile.TarError, ValueError) as error:  # Arrow's errors are ValueErrors
        words = " ".join(str(error).split())[:200]
        raise ImageError(f"{shard} cannot be read: {words}", remedy="Check the file.", reason="broken_shard") from error
    if found is None:
        raise ImageError(f"{shard} holds no {name} any more.", remedy="Bring it back.", reason="missing_file")
    return found


def _in_tar(shard: Path, name: str) -> Locator | None:
    mtime_ns = mtime_ns_of(shard.stat())
    with tarfile.open(shard, "r:") as tar:
        while (member := tar.next()) is not None:
            tar.members = []  # type: ignore[attr-defined]  # it would keep every header that it has seen
            if member.isreg() and tar_name(member.name) == name:
                return FileRange(
                    path=shard, name=name, offset=member.offset_data, size_bytes=member.size, mtime_ns=mtime_ns
                )
    return None


def _in_parquet(shard: Path, name: str) -> Locator | None:
    import pyarrow.parquet

    column, _, number = name.rpartition("/")
    if not number.isdecimal():
        return None
    mtime_ns, row = mtime_ns_of(shard.stat()), int(number)
    with pyarrow.parquet.ParquetFile(shard) as file:
        if column not in file.schema_arrow.names:
            return None
        for row_group in range(file.num_row_groups):
            rows = file.metadata.row_group(row_group).num_rows
            if row < rows:
                return ParquetCell(
                    path=shard, column=column, number=int(number), row_group=row_group, row=row, mtime_ns=mtime_ns
                )
            row -= rows
    return None


_FINDERS = {".tar": _in_tar, ".parquet": _in_parquet}


def _unreadable(image: Locator, error: OSError) -> ImageError:
    """The ImageError of what the system says about a file."""
    if isinstance(error, FileNotFoundError):
        return ImageError(f"{image} is missing.", remedy="Bring the file back.", reason="missing_file")
    if error.errno == errno.ENXIO:  # what a socket answers
        return _irregular(image)
    return ImageError(
        f"{image} cannot be read: {error.strerror or error}.",
        remedy="Check the permissions and the disk.",
        reason="unreadable",
    )


def _irregular(image: Locator) -> ImageError:
    return ImageError(f"{image} is not a regular file.", remedy="Take it out of the folder.", reason="not_a_file")


def _changed_while_read(image: Locator) -> ImageError:
    return ImageError(
        f"{image} changed while it was read.",
        remedy="Run again once nothing writes to it any more.",
        reason="changed_while_read",
    )


def _check_size(image: Locator, size_bytes: int) -> None:
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

"""Image to bytes: a file, a range of a tar, or a value of a Parquet column, on this machine or in an object store.

Nothing here ever waits for a pipe, or takes half a file for a whole one. pyarrow is imported only where there is
Parquet, so that a worker process starts without it.
"""

from __future__ import annotations

import dataclasses
import errno
import os
import stat
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from pinembed.errors import ImageError, StoreError
from pinembed.images.remote import image_error, is_remote, read_remote
from pinembed.images.shard_file import opened_parquet, opened_tar
from pinembed.machine import mtime_ns_of
from pinembed.nouns.item import FileRange, Locator, ParquetCell, StagedRange, Unread, tar_name
from pinembed.stores.address import Address, Place, parse_place

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
    if isinstance(image, Path):
        return read_file(image)
    if isinstance(image, Unread):
        raise ImageError(image.message, remedy=image.remedy, reason=image.reason)
    if isinstance(image, ParquetCell):
        return _read_cell(image)
    if isinstance(image, Address) or is_remote(image):
        return _read_remote(image)
    return _read_range(image)


def read_members(members: Sequence[FileRange]) -> Iterator[tuple[bytes, int] | ImageError]:
    """As `read_content` for neighbours in a tar in a store, in one request; each member's own error is given.

    Args:
        members: of one tar, in its order.
    """
    head, last = members[0], members[-1]
    whole = dataclasses.replace(head, size_bytes=last.offset + last.size_bytes - head.offset)
    try:
        content, stamp = read_remote(whole) if whole.size_bytes else (b"", head.mtime_ns)
    except StoreError as error:
        yield from (image_error(member, error) for member in members)
        return
    for member in members:
        start = member.offset - head.offset
        part = content[start : start + member.size_bytes]
        try:
            _check_size(member, member.size_bytes)
        except ImageError as error:
            yield error
        else:
            yield (part, stamp) if len(part) == member.size_bytes else _truncated(member)


def _read_remote(image: Address | FileRange | StagedRange) -> tuple[bytes, int]:
    assert not isinstance(image, StagedRange)
    if isinstance(image, FileRange):
        _check_size(image, image.size_bytes)
    try:
        content, stamp = read_remote(image)
    except StoreError as error:
        raise image_error(image, error) from error
    if isinstance(image, FileRange) and len(content) < image.size_bytes:
        raise _truncated(image)
    _check_size(image, len(content))
    return content, stamp


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


def _read_range(image: FileRange | StagedRange) -> tuple[bytes, int]:
    _check_size(image, image.size_bytes)
    assert isinstance(image.path, Path)
    with _opened(image.path) as (file, before):
        file.seek(image.offset)
        content = file.read(image.size_bytes)
        after_ns = mtime_ns_of(os.fstat(file.fileno()))
    if isinstance(image, FileRange) and not (image.mtime_ns == mtime_ns_of(before) == after_ns):
        raise _changed_while_read(image)
    if len(content) < image.size_bytes:
        raise _truncated(image)
    return content, image.mtime_ns


def _truncated(image: FileRange | StagedRange) -> ImageError:
    return ImageError(
        f"{image} is truncated: its tar ends before it does.",
        remedy="Replace the tar with a whole one.",
        reason="truncated",
    )


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
        _refuse_changed(cell)
        if _stream is None or not _stream.leads_to(cell):
            _stream = _ColumnStream(cell)
        content = _stream.value(cell.row)
        _refuse_changed(cell)
    except StoreError as error:
        _stream = None
        raise image_error(cell, error) from error
    except (pa.ArrowException, OSError, StopIteration) as error:
        _stream = None
        raise _damaged(cell, error) from error
    if content is None:
        raise ImageError(
            f"{cell} has no bytes: the row holds no image, or only its path.",
            remedy="Write the images themselves into the Parquet file.",
            reason="empty",
        )
    _check_size(cell, len(content))
    return content, cell.mtime_ns


def _refuse_changed(cell: ParquetCell) -> None:
    """Let only the file pass that was listed; each request to a store sees to that itself."""
    if isinstance(cell.path, Path) and mtime_ns_of(cell.path.stat()) != cell.mtime_ns:
        raise _changed_while_read(cell)


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

        shard, _, e_tag = opened_parquet(cell.path)
        if e_tag != cell.e_tag:
            raise _changed_while_read(cell)
        file = pyarrow.parquet.ParquetFile(shard, pre_buffer=False, buffer_size=READ_AHEAD_BYTES)
        self._is_struct = pa.types.is_struct(file.schema_arrow.field(cell.column).type)
        leaf = f"{cell.column}.bytes" if self._is_struct else cell.column
        self._of: tuple[Place, int, int, str] = (cell.path, cell.mtime_ns, cell.row_group, cell.column)
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


def locate_image(path: Place) -> Locator:
    """The path or address itself, or where in a tar or Parquet file the image lies that it names.

    Raises:
        ImageError: the tar or Parquet file does not hold it, or cannot be read.
    """
    path = parse_place(path)  # a Path that was made of a row's address
    parents: Iterable[Place] = path.parents
    shard = next(filter(_may_be_shard, parents), None)
    if shard is None or shard.suffix.lower() not in _FINDERS:
        return path
    name = str(path)[len(str(shard)) + 1 :]
    try:
        found = _FINDERS[shard.suffix.lower()](shard, name)
    except StoreError as error:
        raise image_error(path, error) from error
    except (OSError, tarfile.TarError, ValueError) as error:  # Arrow's errors are ValueErrors
        words = " ".join(str(error).split())[:200]
        raise ImageError(f"{shard} cannot be read: {words}", remedy="Check the file.", reason="broken_shard") from error
    if found is None:
        raise ImageError(f"{shard} holds no {name} any more.", remedy="Bring it back.", reason="missing_file")
    return found


def _may_be_shard(place: Place) -> bool:
    return place.is_file() if isinstance(place, Path) else place.suffix.lower() in _FINDERS


def _in_tar(shard: Place, name: str) -> Locator | None:
    with opened_tar(shard) as (tar, mtime_ns, e_tag):
        while (member := tar.next()) is not None:
            tar.members = []  # type: ignore[attr-defined]  # it would keep every header that it has seen
            if member.isreg() and tar_name(member.name) == name:
                at = {"offset": member.offset_data, "size_bytes": member.size, "mtime_ns": mtime_ns}
                return FileRange(path=shard, name=name, e_tag=e_tag, **at)
    return None


def _in_parquet(shard: Place, name: str) -> Locator | None:
    import pyarrow.parquet

    column, _, number = name.rpartition("/")
    if not number.isdecimal():
        return None
    opened, mtime_ns, e_tag = opened_parquet(shard)
    row = int(number)
    with pyarrow.parquet.ParquetFile(opened) as file:
        if column not in file.schema_arrow.names:
            return None
        for row_group in range(file.num_row_groups):
            rows = file.metadata.row_group(row_group).num_rows
            if row < rows:
                at = {"number": int(number), "row_group": row_group, "row": row, "mtime_ns": mtime_ns}
                return ParquetCell(path=shard, column=column, e_tag=e_tag, **at)
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

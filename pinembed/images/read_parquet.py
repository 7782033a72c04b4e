"""A value of a Parquet column to bytes: the column is read as a stream, so that a row group never lies in memory."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet

from pinembed.errors import ImageError
from pinembed.images.content import FileContent, changed_while_read, check_size, unreadable
from pinembed.nouns.candidate import ParquetCell

BATCH_ROWS = 8
READ_AHEAD_BYTES = 1 << 20


def read_cell(cell: ParquetCell) -> FileContent:
    """The bytes of one image. Rows that are asked for in their order are read in one pass over the row group.

    Raises:
        ImageError: without bytes, too large, or the file is damaged, cannot be read, or changed since it was listed.
    """
    global _stream
    try:
        if cell.path.stat().st_mtime_ns != cell.mtime_ns:
            raise changed_while_read(cell)
        if _stream is None or not _stream.leads_to(cell):
            _stream = _ColumnStream(cell)
        content = _stream.value(cell.row)
        after_ns = cell.path.stat().st_mtime_ns
    except (pa.ArrowException, OSError, StopIteration) as error:
        _stream = None
        raise _damaged(cell, error) from error
    if after_ns != cell.mtime_ns:
        raise changed_while_read(cell)
    if content is None:
        raise ImageError(
            f"{cell} has no bytes: the row holds no image, or only its path.",
            remedy="Write the images themselves into the Parquet file.",
            reason="empty",
        )
    check_size(cell, len(content))
    return FileContent(content=content, mtime_ns=cell.mtime_ns)


def _damaged(cell: ParquetCell, error: Exception) -> ImageError:
    if isinstance(error, OSError) and error.errno is not None:  # the system's; Arrow gives its own no number
        return unreadable(cell, error)
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
        file = pa.parquet.ParquetFile(cell.path, pre_buffer=False, buffer_size=READ_AHEAD_BYTES)
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

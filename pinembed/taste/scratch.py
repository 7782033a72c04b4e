"""Columns of numbers on the disk: as long as a log makes them, and no memory that a run cannot do without.

They lie in files without a name, which are gone with the process, however it ends.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

VALUES_AT_ONCE = 1 << 18


class ScratchColumn:
    """Numbers that are added at the end, then mapped.

    Args:
        dtype: of the numbers.
        folder: on whose disk the file lies; None for the system's folder of temporary files.

    Raises:
        OSError: no file can be made there.
    """

    def __init__(self, dtype: DTypeLike, folder: Path | None) -> None:
        self._dtype = np.dtype(dtype)
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  (open as long as the column is)
        self._count = 0

    def append(self, values: NDArray[Any]) -> None:
        """Add numbers.

        Raises:
            OSError: the disk is full.
        """
        self._file.write(np.ascontiguousarray(values, self._dtype).data)
        self._count += len(values)

    def reserve(self, count: int) -> NDArray[Any]:
        """So many zeros, mapped.

        Raises:
            OSError: the disk is full; told now, since writing to a mapped page that has no place ends the process.
        """
        for stretch in stretches(count):
            self.append(np.zeros(stretch.stop - stretch.start, self._dtype))
        return self.mapped()

    def mapped(self) -> NDArray[Any]:
        """All of them; what is written to the array is kept in the file."""
        self._file.flush()
        if not self._count:
            return np.empty(0, self._dtype)
        return np.memmap(self._file, self._dtype, "r+", shape=(self._count,))


def stretches(count: int) -> Iterator[slice]:
    """Some numbers at a time."""
    for start in range(0, count, VALUES_AT_ONCE):
        yield slice(start, min(start + VALUES_AT_ONCE, count))


def row_stretches(start_R: NDArray[Any]) -> Iterator[slice]:
    """Some rows at a time, of as many numbers as memory is meant to hold, or one row of more.

    Args:
        start_R: where each row begins, and where the last ends, (R + 1,).
    """
    first, rows = 0, len(start_R) - 1
    while first < rows:
        fitting = int(np.searchsorted(start_R, int(start_R[first]) + VALUES_AT_ONCE, "right")) - 1
        yield slice(first, max(first + 1, fitting))
        first = max(first + 1, fitting)

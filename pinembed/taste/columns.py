"""Columns of rows that belong together: runs of equal rows, and texts as numbers.

Legend: M rows, R runs.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def begins(*columns: Ints) -> NDArray[np.bool_]:
    """Where a run of rows begins that are equal in all columns, (M,)."""
    begins_M = np.ones(len(columns[0]), bool)
    begins_M[1:] = np.any([column[1:] != column[:-1] for column in columns], axis=0)
    return begins_M


def starts(*columns: Ints) -> Ints:
    """The first row of each run, (R,)."""
    return np.flatnonzero(begins(*columns))


def run_of(start_R: Ints, rows: int) -> Ints:
    """Number of the run of each row, (M,)."""
    return np.repeat(np.arange(len(start_R)), np.diff(np.r_[start_R, rows]))


def places(*columns: Ints) -> Ints:
    """How many rows of the same run stand before each, (M,)."""
    start_R, rows = starts(*columns), len(columns[0])
    return np.arange(rows) - start_R[run_of(start_R, rows)]


def places_from_end(*columns: Ints) -> Ints:
    """How many rows of the same run follow each, (M,)."""
    return places(*(column[::-1] for column in columns))[::-1]


def sums(values_M: Ints, start_R: Ints) -> Ints:
    """Sum of each run, 0 of an empty one.

    Args:
        values_M: whole numbers.
        start_R: where each run begins, and where the last ends, (R + 1,).
    """
    total_M = np.r_[0, np.cumsum(values_M)]
    sums_R: Ints = np.diff(total_M[start_R])
    return sums_R


def latest_of(moments: pa.Array) -> int:
    """The last of these moments, in microseconds since 1970; 0 of none."""
    return int(pc.max(moments.cast(pa.int64())).as_py() or 0)


def encoded(values: pa.Array | pa.ChunkedArray) -> pa.DictionaryArray:
    """Texts as one array of codes."""
    if isinstance(values, pa.ChunkedArray):
        chunks = values.unify_dictionaries().chunks
        values = pa.concat_arrays(chunks) if chunks else pa.array([], values.type)
    return values if isinstance(values, pa.DictionaryArray) else values.dictionary_encode()


def codes(values: pa.DictionaryArray) -> Ints:
    """Of each row, (M,)."""
    code_M: Ints = values.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return code_M


def sorted_codes(values: pa.Array | pa.ChunkedArray) -> tuple[list[str], Ints]:
    """Distinct texts in order, and the number of each row's."""
    found = encoded(values)
    names = found.dictionary.to_pylist()
    order = np.array(sorted(range(len(names)), key=names.__getitem__), np.int64)
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    return [names[index] for index in order.tolist()], place[codes(found)]


def lists(values: pa.Array, lengths: Ints) -> pa.ListArray:
    """Values cut into lists, one after the other."""
    return pa.ListArray.from_arrays(pa.array(np.r_[0, np.cumsum(lengths)].astype(np.int32)), values)

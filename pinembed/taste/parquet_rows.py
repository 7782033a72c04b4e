"""Rows of a Parquet log in Python's values; one that Python cannot hold is an odd value, and not the end of the run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pyarrow as pa

UNKNOWN_TO_PYTHON = (ValueError, OverflowError, pa.ArrowException)


class Unreadable:
    """A value that Python cannot hold: text that is no UTF-8, a year beyond 9999.

    Args:
        why: in words.
    """

    def __init__(self, why: Exception) -> None:
        self._words = " ".join(str(why).split())[:80]

    def __repr__(self) -> str:
        return f"({self._words})"


def rows_of(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    """The rows by column; moments to the microsecond, in UTC where they have a zone."""
    columns = [_values(column) for column in batch.columns]
    for row in zip(*columns, strict=True):
        yield dict(zip(batch.schema.names, row, strict=True))


def _values(column: pa.Array) -> list[Any]:
    if pa.types.is_timestamp(column.type):
        with suppress(pa.ArrowException):
            column = column.cast(pa.timestamp("us", "UTC" if column.type.tz else None), safe=False)
    try:
        return list(column.to_pylist())
    except UNKNOWN_TO_PYTHON:
        return [_value(scalar) for scalar in column]


def _value(scalar: pa.Scalar) -> Any:
    try:
        return scalar.as_py()
    except UNKNOWN_TO_PYTHON as error:
        return Unreadable(error)

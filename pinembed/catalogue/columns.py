"""Metadata that came as one JSON object an item: which columns that makes, and of which type."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from typing import Any

import pyarrow as pa

LARGEST_INT = 2**63 - 1


def as_columns(rows: Iterable[dict[str, Any]]) -> pa.Schema:
    """Make the values of each name one type, in place, and say which.

    Whole numbers and fractions together become fractions; whatever else differs becomes text, and lists and objects
    are kept as their JSON. A name is a column even where only some rows have it.

    Args:
        rows: one dict an item.

    Returns:
        a field for each name, in the order in which they first occur.
    """
    held = list(rows)
    kinds: dict[str, set[pa.DataType]] = {}
    for row in held:
        for name, value in row.items():
            known = kinds.setdefault(name, set())
            if value is not None:
                known.add(_kind(value))
    types = {name: _joint(known) for name, known in kinds.items()}
    for row in held:
        for name, value in row.items():
            if value is not None:
                row[name] = CONVERSIONS[types[name]](value)
    return pa.schema(list(types.items()))


def _kind(value: object) -> pa.DataType:
    if isinstance(value, bool):
        return pa.bool_()
    if isinstance(value, int):
        return pa.int64() if abs(value) <= LARGEST_INT else pa.string()
    return pa.float64() if isinstance(value, float) else pa.string()


def _joint(kinds: set[pa.DataType]) -> pa.DataType:
    if len(kinds) == 1:
        return next(iter(kinds))
    return pa.float64() if kinds == {pa.int64(), pa.float64()} else pa.string()


def _text(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text.encode("utf-8", "backslashreplace").decode()  # JSON may hold halves of surrogate pairs


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


CONVERSIONS: dict[pa.DataType, Callable[[Any], Any]] = {
    pa.bool_(): bool,
    pa.int64(): int,
    pa.float64(): _number,
    pa.string(): _text,
}

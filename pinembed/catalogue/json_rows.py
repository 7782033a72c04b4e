"""JSON objects to columns of one type each, where every object may hold other names and types."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import pyarrow as pa

from pinembed.machine import LARGEST_INT, LARGEST_OF_FLOAT


def as_table(content: bytes) -> pa.Table:
    """The objects of JSON lines, also where one name holds different types; Arrow's own reader refuses those.

    Columns are as `with_one_type_each` has them, but for lists and objects that go together.

    Raises:
        ValueError: no UTF-8, no JSON, no object, or a name twice in one.
    """
    rows = [
        _object(number, line) for number, line in enumerate(content.decode("utf-8-sig").split("\n"), 1) if line.strip()
    ]
    columns: dict[str, pa.Array] = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        values = [row.get(name) for row in rows]
        held = [{name: value} for value in values]
        kind = with_one_type_each(held).field(name).type
        columns[name] = pa.array([row[name] for row in held], kind)
        if any(isinstance(value, list | dict) for value in values):
            with suppress(pa.ArrowException, TypeError, ValueError, OverflowError):  # else they stay JSON's text
                columns[name] = pa.array(values)
    return pa.table(columns)


def _object(number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line, object_pairs_hook=_without_repeated, parse_float=float_or_text)
    except ValueError as error:
        raise ValueError(f"line {number} is no JSON: {error}") from error
    if not isinstance(row, dict):
        raise ValueError(f"line {number} holds {type(row).__name__}; wanted a JSON object")
    return row


def float_or_text(written: str) -> float | str:
    """A number of JSON; the text of one that no float holds, such as 1e999 or 1e-999."""
    number = float(written)
    is_lost = math.isinf(number) or (number == 0 and any(digit in "123456789" for digit in _mantissa(written)))
    return written if is_lost else number


def _mantissa(written: str) -> str:
    return written.lower().partition("e")[0]


def _without_repeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object holds a name twice")
    return found


def with_one_type_each(rows: Iterable[dict[str, Any]]) -> pa.Schema:
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
    largest: dict[str, int] = {}
    for row in held:
        for name, value in row.items():
            known = kinds.setdefault(name, set())
            if value is not None:
                known.add(_kind(value))
            if isinstance(value, int):
                largest[name] = max(largest.get(name, 0), abs(value))
    types = {name: _joint(known, largest.get(name, 0)) for name, known in kinds.items()}
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


def _joint(kinds: set[pa.DataType], largest: int) -> pa.DataType:
    if len(kinds) == 1:
        return next(iter(kinds))
    is_exact = kinds == {pa.int64(), pa.float64()} and largest <= LARGEST_OF_FLOAT
    return pa.float64() if is_exact else pa.string()


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

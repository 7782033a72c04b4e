"""JSON objects to columns of one type each, where every object may hold other names and types."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

import pyarrow as pa

from pinembed.machine import LARGEST_INT, LARGEST_OF_FLOAT

ROWS_AT_ONCE = 4096
NUMBERS = {pa.int64(), pa.float64()}  # of which a later row may still make text
AS_JSON = pa.binary()


def as_table(content: bytes) -> pa.Table:
    """The objects of JSON lines, also where one name holds different types; Arrow's own reader refuses those.

    Columns are as JsonColumns has them, but for lists and objects that go together.

    Raises:
        ValueError: no UTF-8, no JSON, no object, or a name twice in one.
    """
    rows = [
        _object(number, line) for number, line in enumerate(content.decode("utf-8-sig").split("\n"), 1) if line.strip()
    ]
    columns = JsonColumns()
    for row in rows:
        columns.append(row)
    table = columns.to_arrow()
    for index, name in enumerate(table.column_names):
        values = [row.get(name) for row in rows]
        if any(isinstance(value, list | dict) for value in values):
            with suppress(pa.ArrowException, TypeError, ValueError, OverflowError):  # else they stay JSON's text
                table = table.set_column(index, name, pa.array(values))
    return table


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


class JsonColumns:
    """Collects JSON objects in columns of one type each; few of them are Python's objects at a time.

    Whole numbers and fractions together become fractions; whatever else differs becomes text, and lists and objects
    are kept as their JSON. A name is a column even where only some rows have it; columns stand in the order in which
    their names first occur.
    """

    def __init__(self) -> None:
        self._held: list[dict[str, Any]] = []
        self._packed = 0
        self._columns: dict[str, _Column] = {}

    def append(self, row: dict[str, Any]) -> None:
        """Take an object."""
        self._held.append(row)
        if len(self._held) == ROWS_AT_ONCE:
            self._pack()

    def to_arrow(self) -> pa.Table:
        """All of them; a table without columns where no object holds a name."""
        self._pack()
        return pa.table({name: column.to_arrow(self._packed) for name, column in self._columns.items()})

    def _pack(self) -> None:
        for name in dict.fromkeys(name for row in self._held for name in row):
            column = self._columns.setdefault(name, _Column())
            column.take(self._packed, [row.get(name) for row in self._held])
        self._packed += len(self._held)
        self._held = []


class _Column:
    """The values of one name, as far as their type is known: those that may yet be either are kept as JSON."""

    def __init__(self) -> None:
        self._parts: list[pa.Array] = []
        self._rows = 0
        self._kinds: set[pa.DataType] = set()
        self._largest = 0

    def take(self, first: int, values: Sequence[Any]) -> None:
        """The values of the rows from `first` on; those before that were not told of have none."""
        kinds = {_kind(value) for value in values if value is not None}
        self._kinds |= kinds
        self._largest = max(self._largest, *(abs(value) for value in values if isinstance(value, int)), 0)
        self._fill(first)
        if kinds == NUMBERS:
            self._parts.append(pa.array([None if value is None else json.dumps(value) for value in values], AS_JSON))
        else:
            kind = _joint(kinds, 0)
            self._parts.append(pa.array(values if kind == pa.float64() else _as(kind, values), kind))
        self._rows += len(values)

    def to_arrow(self, rows: int) -> pa.ChunkedArray:
        """As many as there are rows, in the type that holds them all."""
        self._fill(rows)
        kind = _joint(self._kinds, self._largest)
        return pa.chunked_array([_part_as(kind, part) for part in self._parts], kind)

    def _fill(self, rows: int) -> None:
        if rows > self._rows:
            self._parts.append(pa.nulls(rows - self._rows))
            self._rows = rows


def _part_as(kind: pa.DataType, part: pa.Array) -> pa.Array:
    if part.type == kind != pa.float64():
        return part
    values = part.to_pylist()
    if part.type == AS_JSON:
        values = [None if value is None else json.loads(value) for value in values]
    return pa.array(_as(kind, values), kind)


def _as(kind: pa.DataType, values: Iterable[Any]) -> list[Any]:
    return [None if value is None else CONVERSIONS[kind](value) for value in values]


def _kind(value: object) -> pa.DataType:
    if isinstance(value, bool):
        return pa.bool_()
    if isinstance(value, int):
        return pa.int64() if abs(value) <= LARGEST_INT else pa.string()
    return pa.float64() if isinstance(value, float) else pa.string()


def _joint(kinds: set[pa.DataType], largest: int) -> pa.DataType:
    if len(kinds) == 1:
        return next(iter(kinds))
    is_exact = kinds == NUMBERS and largest <= LARGEST_OF_FLOAT
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

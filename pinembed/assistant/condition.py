"""Condition: what one column of an item must or must not say; as SQL for Lance, and as a check of one row."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pinembed.nouns.item import FieldValue, is_missing, text_of_value
from pinembed.stored import list_of, record_of
from pinembed.table.embedding_table import sql_text

IN, NOT_IN = "in", "not in"
LESS, AT_MOST, MORE, AT_LEAST = "<", "<=", ">", ">="
COMPARISONS = {LESS: operator.lt, AT_MOST: operator.le, MORE: operator.gt, AT_LEAST: operator.ge}
UPPER, LOWER = (LESS, AT_MOST), (MORE, AT_LEAST)
OPERATORS = (IN, NOT_IN, *COMPARISONS)
Value = str | bool | float


@dataclass(frozen=True, kw_only=True, slots=True)
class Condition:
    """One column and what is wanted of it.

    Attributes:
        op: one of OPERATORS.
        values: as the table stores them; one number for a comparison. An item without a value is none of them.
    """

    column: str
    op: str
    values: tuple[Value, ...]

    def holds(self, fields: Mapping[str, FieldValue]) -> bool:
        """Whether an item satisfies it, as the SQL would say."""
        if self.op in COMPARISONS:
            number = number_in(fields, self.column)
            return number is not None and bool(COMPARISONS[self.op](number, self.values[0]))
        value = fields.get(self.column)
        own = value if isinstance(value, list | tuple) else [value]
        is_one = any(entry in self.values for entry in own if not is_missing(entry))
        return is_one == (self.op == IN)

    def to_json(self) -> dict[str, Any]:
        return {"column": self.column, "op": self.op, "values": list(self.values)}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Condition:
        found = record_of(cls, stored, "a condition")
        return dataclasses.replace(found, values=tuple(list_of(found.values, "values of a condition")))

    def __str__(self) -> str:
        shown = " or ".join(f"{value:g}" if isinstance(value, float) else text_of_value(value) for value in self.values)
        return f"{self.column} {'not ' if self.op == NOT_IN else self.op + ' ' if self.op != IN else ''}{shown}"


def same_as(fields: Mapping[str, FieldValue], column: str) -> tuple[Condition, ...]:
    """The condition that another item shares a value of a column with this one; none where this one has no value."""
    value = fields.get(column)
    values = tuple(value) if isinstance(value, list | tuple) else () if is_missing(value) else (value,)
    return (Condition(column=column, op=IN, values=values),) if values else ()


def number_in(fields: Mapping[str, FieldValue], column: str) -> float | None:
    """An item's number; None where it is missing."""
    value = fields.get(column)
    return None if is_missing(value) else float(value)  # type: ignore[arg-type]  # a column of numbers


def sql_of(conditions: Iterable[Condition], lists: Sequence[str] = ()) -> str | None:
    """One SQL condition for all of them; None where there is none.

    Args:
        conditions: to be joined.
        lists: columns whose values are lists, of which one entry decides.
    """
    return " AND ".join(_sql(condition, condition.column in lists) for condition in conditions) or None


def _sql(condition: Condition, is_list: bool) -> str:
    column = f"`{condition.column}`"
    if condition.op in COMPARISONS:
        # a cast, for Lance compares decimals with no fraction
        return f"CAST({column} AS DOUBLE) {condition.op} {condition.values[0]!r}"
    values = ", ".join(map(_literal, condition.values))
    found = f"array_has_any({column}, make_array({values}))" if is_list else f"{column} IN ({values})"
    return found if condition.op == IN else f"({column} IS NULL OR NOT ({found}))"


def _literal(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return sql_text(str(value))


def merged(old: Sequence[Condition], new: Sequence[Condition]) -> tuple[Condition, ...]:
    """The old conditions as the new ones leave them.

    A value wanted now takes the place of those wanted before of its column, and of their exclusion; a limit that of
    the limit on its side, or of one that it contradicts; exclusions add up.
    """
    kept = list(old)
    for condition in new:
        kept = [left for one in kept if (left := _left_of(one, condition)) is not None] + [condition]
    return tuple(kept)


def _left_of(old: Condition, new: Condition) -> Condition | None:
    """What of an old condition stands beside a new one."""
    if old.column != new.column:
        return old
    if new.op in COMPARISONS:
        same_side = (old.op in UPPER) == (new.op in UPPER)
        return None if old.op in COMPARISONS and (same_side or _contradict(old, new)) else old
    if old.op == NOT_IN and new.op == NOT_IN:
        return None if set(old.values) <= set(new.values) else old
    rest = tuple(value for value in old.values if value not in new.values)
    if old.op == IN and new.op == IN:
        return None
    return Condition(column=old.column, op=old.op, values=rest) if rest else None


def _contradict(old: Condition, new: Condition) -> bool:
    lower, upper = (old, new) if old.op in LOWER else (new, old)
    least, most = float(lower.values[0]), float(upper.values[0])
    return least > most or (least == most and (lower.op == MORE or upper.op == LESS))

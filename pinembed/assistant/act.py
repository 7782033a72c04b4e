"""Act: the one thing that a turn does, and its strict grammar, the JSON of a tool call.

`{"name": "filter", "arguments": {"filters": [{"column": "color", "op": "not in", "values": ["red"]}]}}`. A name,
column, operator or value that is not in the grammar, or an argument that its act does not take, makes the whole of it
refused, so that no text of a person or of a catalogue can become more than a text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from pinembed.assistant.condition import COMPARISONS, OPERATORS, Condition
from pinembed.assistant.vocabulary import MOST_VALUES, Vocabulary

SEARCH, FILTER, MODIFY, COMPARE, ABOUT = "search", "filter", "modify", "compare", "about"
GOES_WITH, MORE_OF, UNDO, UNCLEAR = "goes-with", "more", "undo", "unclear"
TAKES = {
    SEARCH: ("text", "avoid", "filters", "sort", "count"),
    FILTER: ("text", "avoid", "filters", "relative", "drop", "sort", "count"),
    MODIFY: ("items", "text", "avoid", "filters", "relative", "count"),
    COMPARE: ("items", "question"),
    ABOUT: ("items", "question"),
    GOES_WITH: ("items", "filters", "count"),
    MORE_OF: ("count",),
    UNDO: (),
    UNCLEAR: ("reason",),
}
"""Arguments by act."""
MEANS = {
    SEARCH: "Begin a new search for what the person wants.",
    FILTER: "Narrow or change the conditions of the search that is shown.",
    MODIFY: "Find items like one that is shown, with other values.",
    COMPARE: "Compare items that are shown.",
    ABOUT: "Answer a question about items that are shown.",
    GOES_WITH: "Find items of other kinds that go with one that is shown.",
    MORE_OF: "Show the next items of the same search.",
    UNDO: "Go back to the list before.",
    UNCLEAR: "Nothing of this can be meant.",
}
LONGEST_TEXT, MOST_PARTS = 500, 50
LONGEST_LIST = 50
"""Items that can be asked for at once."""


class ActError(ValueError):
    """What was given is no act of the grammar; the message says where."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Relative:
    """A comparison with the number of shown items.

    Attributes:
        items: their positions; empty for the item that was spoken of last, else for all that are shown.
    """

    column: str
    op: str
    items: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {"column": self.column, "op": self.op, "items": list(self.items)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Sort:
    """An order by a quantity."""

    column: str
    descending: bool = False

    def to_json(self) -> dict[str, Any]:
        return {"column": self.column, "descending": self.descending}


@dataclass(frozen=True, kw_only=True, slots=True)
class Act:
    """One act.

    Attributes:
        name: one of TAKES.
        text: words for the encoder.
        avoid: words that no column knows, to stay away from.
        filters: conditions that are set.
        relative: comparisons with shown items.
        drop: columns whose conditions go.
        items: positions on the list that is shown, 1 the first, -1 the last; empty for what was spoken of last.
        count: items to be shown; 0 for the usual number.
        question: about the items, as it was asked.
        reason: why nothing was understood, for the person.
    """

    name: str
    text: str = ""
    avoid: str = ""
    filters: tuple[Condition, ...] = ()
    relative: tuple[Relative, ...] = ()
    drop: tuple[str, ...] = ()
    sort: Sort | None = None
    items: tuple[int, ...] = ()
    count: int = 0
    question: str = ""
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """The tool call; arguments that say nothing are left out."""
        given = {field.name: getattr(self, field.name) for field in fields(self)[1:]}
        return {"name": self.name, "arguments": {name: _plain(value) for name, value in given.items() if value}}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(entry) for entry in value]
    return value.to_json() if hasattr(value, "to_json") else value


def act_from_json(stored: Any, vocabulary: Vocabulary) -> Act:
    """An act out of a tool call.

    Raises:
        ActError: not in the grammar of this table.
    """
    call = _object(stored, "a tool call", {"name", "arguments"})
    name, arguments = call.get("name"), call.get("arguments", {})
    if name not in TAKES:
        raise ActError(f"there is no act {name!r}")
    given = _object(arguments, f"the arguments of {name}", set(TAKES[name]))
    return Act(name=name, **{key: READERS[key](value, vocabulary) for key, value in given.items()})


def _object(stored: Any, place: str, known: set[str]) -> dict[str, Any]:
    if not isinstance(stored, dict):
        raise ActError(f"{place} is no object")
    if unknown := sorted(set(stored) - known):
        raise ActError(f"{place} has {unknown[0]!r}; known are {', '.join(sorted(known)) or 'none'}")
    return stored


def _text(stored: Any, _: Vocabulary) -> str:
    if not isinstance(stored, str) or len(stored) > LONGEST_TEXT:
        raise ActError(f"wanted a text of at most {LONGEST_TEXT} characters")
    return stored


def _several(stored: Any, most: int = MOST_PARTS) -> list[Any]:
    if not isinstance(stored, list) or len(stored) > most:
        raise ActError(f"wanted a list of at most {most}")
    return stored


def _items(stored: Any, _: Vocabulary) -> tuple[int, ...]:
    found = _several(stored)
    if not all(isinstance(position, int) and not isinstance(position, bool) and position for position in found):
        raise ActError("items are positions on the list, 1 the first and -1 the last")
    return tuple(found)


def _conditions(stored: Any, vocabulary: Vocabulary) -> tuple[Condition, ...]:
    return tuple(_condition(one, vocabulary) for one in _several(stored))


def _condition(stored: Any, vocabulary: Vocabulary) -> Condition:
    given = _object(stored, "a filter", {"column", "op", "values"})
    column, op, values = given.get("column"), given.get("op"), tuple(_several(given.get("values"), most=MOST_VALUES))
    if op in COMPARISONS:
        if column not in vocabulary.quantities or len(values) != 1 or not _is_number(values[0]):
            raise ActError(f"{column!r} {op} wants a column of numbers and one number")
        return Condition(column=str(column), op=str(op), values=(float(values[0]),))
    if op not in OPERATORS or column not in vocabulary.choices or not values:
        raise ActError(f"{op!r} on {column!r} wants a column of values that repeat, and values")
    counts = vocabulary.choices[str(column)].counts
    if unknown := [value for value in values if not isinstance(value, str | bool) or value not in counts]:
        raise ActError(f"no item has {unknown[0]!r} for its {column}")
    return Condition(column=str(column), op=str(op), values=values)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _relatives(stored: Any, vocabulary: Vocabulary) -> tuple[Relative, ...]:
    found = []
    for one in _several(stored):
        given = _object(one, "a comparison", {"column", "op", "items"})
        if given.get("column") not in vocabulary.quantities or given.get("op") not in COMPARISONS:
            raise ActError("a comparison wants a column of numbers and one of " + ", ".join(COMPARISONS))
        items = _items(given.get("items", []), vocabulary)
        found.append(Relative(column=given["column"], op=given["op"], items=items))
    return tuple(found)


def _columns(stored: Any, vocabulary: Vocabulary) -> tuple[str, ...]:
    found = _several(stored)
    if unknown := [name for name in found if name not in vocabulary.choices and name not in vocabulary.quantities]:
        raise ActError(f"there is no column {unknown[0]!r} to drop")
    return tuple(found)


def _sort(stored: Any, vocabulary: Vocabulary) -> Sort:
    given = _object(stored, "an order", {"column", "descending"})
    if given.get("column") not in vocabulary.quantities or not isinstance(given.get("descending", False), bool):
        raise ActError("an order wants a column of numbers, and true or false for descending")
    return Sort(column=given["column"], descending=given.get("descending", False))


def _count(stored: Any, _: Vocabulary) -> int:
    if not isinstance(stored, int) or isinstance(stored, bool) or not 1 <= stored <= LONGEST_LIST:
        raise ActError(f"wanted a number of items from 1 to {LONGEST_LIST}")
    return stored


READERS: Mapping[str, Callable[[Any, Vocabulary], Any]] = {
    **dict.fromkeys(("text", "avoid", "question", "reason"), _text),
    "filters": _conditions,
    "relative": _relatives,
    "drop": _columns,
    "sort": _sort,
    "items": _items,
    "count": _count,
}

"""Integer labels: class numbers are names, quantities quantities; the schema says which, else name and values do."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa

from pinembed.nouns.item import FieldValue, is_missing

HUGGING_FACE = b"huggingface"
MOST_CLASSES = 1000
FEWEST_REPEATS = 2
CLASS_WORDS = re.compile(
    r"(?<![a-z])(label|class|category|target|code|kind|type|cluster|group|product|id|"
    r"zip|zipcode|postcode|postal|sku)(?![a-z])"
)
QUANTITY_WORDS = re.compile(
    r"(?<![a-z])(price|cost|weight|width|height|length|depth|size|volume|area|year|age|amount|quantity|count|number|"
    r"stock|rating|score|stars|views|likes|temperature|percent|n|num|total|max|maximum|min|minimum|from|people|"
    r"(?:player|person|seat|room|bedroom|bathroom|door|gear|speed|page|piece|part|pack|drawer|shelf|shelve|floor|level|"
    r"bulb|blade|burner|port|lane|wheel|string|key|layer|pocket|month|day|hour|minute|core|guest|bed|bath)s?|"
    r"years|ages|counts|pct|eur|usd|gbp|cm|mm|km|kg|mg|ml|cl|gb|tb|mb|hz|mah|watts?|lumens?|m2|sqm)(?![a-z])"
)
"""Names of what is counted or measured, and units."""


def class_names(schema: pa.Schema) -> dict[str, tuple[str, ...]]:
    """By column, the names that stand for its numbers, as Hugging Face's ClassLabel stores them in Parquet.

    Source: datasets.features.Features, `arrow_schema`.
    """
    try:
        stored = json.loads((schema.metadata or {}).get(HUGGING_FACE, b"{}"))
        features: Mapping[str, Any] = stored["info"]["features"]
        return {
            name: tuple(map(str, feature["names"]))
            for name, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and feature.get("names")
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def class_name(names: tuple[str, ...], number: FieldValue) -> str | None:
    """The name of a number; None for -1, which stands for no label, and for what is none of them."""
    return names[number] if isinstance(number, int) and 0 <= number < len(names) else None


def with_class_names(table: pa.Table) -> pa.Table:
    """The table with names in place of the numbers of its ClassLabel columns."""
    for column, names in class_names(table.schema).items():
        place = table.schema.get_field_index(column)
        if place >= 0 and pa.types.is_integer(table.schema.field(place).type):
            named = pa.array((class_name(names, number) for number in table[column].to_pylist()), pa.string())
            table = table.set_column(place, column, named)
    return table


def are_class_numbers(column: str, values: Iterable[FieldValue]) -> bool:
    """Whether a column of numbers counts nothing, but numbers kinds: whole ones, few, that repeat.

    A column whose name says neither (`label_id` or `price`) holds classes where its integers begin at 0 or 1 and use at
    least half of the numbers up to the highest.
    """
    known = [value for value in values if not is_missing(value)]
    if not _repeat(known) or QUANTITY_WORDS.search(_words_of(column)):
        return False
    distinct = {int(value) for value in known}
    is_dense = min(distinct) in (0, 1) and max(distinct) < 2 * len(distinct)
    return is_called_class(column) or (is_dense and all(isinstance(value, int) for value in known))


def is_called_class(column: str) -> bool:
    """Whether a column's name says that its numbers are those of classes: `label_id`, but not `product_count`."""
    words = _words_of(column)
    return bool(CLASS_WORDS.search(words)) and not QUANTITY_WORDS.search(words)


def _words_of(column: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", column).lower()


def _repeat(known: Sequence[Any]) -> bool:
    """Whether there are few numbers, all whole, and several of each."""
    return all(map(_is_whole, known)) and 2 <= len(set(known)) <= min(MOST_CLASSES, len(known) // FEWEST_REPEATS)


def _is_whole(value: FieldValue) -> bool:
    return not isinstance(value, bool) and isinstance(value, int | float | Decimal) and value % 1 == 0

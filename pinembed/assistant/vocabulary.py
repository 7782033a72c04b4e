"""Vocabulary: what the columns of one table say, read from the table itself, so that any catalogue can be talked to."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from pinembed.assistant.condition import Value
from pinembed.catalogue.class_labels import is_called_class
from pinembed.catalogue.metadata import SPLIT
from pinembed.catalogue.slices import USUAL_COLUMNS
from pinembed.catalogue.wording import levels, path_separator, without_echoes
from pinembed.nouns.item import FieldValue, text_of_value
from pinembed.table.schema import OWN_COLUMNS
from pinembed.trimmed.questions import MAX_VALUE_CHARACTERS, MIN_ITEMS_PER_VALUE, spoken

MOST_VALUES = 5000
MOST_ATTRIBUTE_VALUES, MOST_ATTRIBUTE_WORDS = 50, 2
SAMPLED_ROWS = 2000
BATCH_ROWS = 65_536
PRICE = re.compile(r"(?<![a-z])(price|cost|preis|prix|precio|prezzo|pris)(?![a-z])", re.IGNORECASE)
CURRENCIES = {
    "eur": "EUR",
    "euro": "EUR",
    "€": "EUR",
    "usd": "USD",
    "dollar": "USD",
    "buck": "USD",
    "$": "USD",
    "gbp": "GBP",
    "pound": "GBP",
    "quid": "GBP",
    "£": "GBP",
    "chf": "CHF",
    "franc": "CHF",
    "jpy": "JPY",
    "yen": "JPY",
    "¥": "JPY",
    "sek": "SEK",
    "nok": "NOK",
    "dkk": "DKK",
    "kr": "kr",
    "kronor": "kr",
    "inr": "INR",
    "rupee": "INR",
    "₹": "INR",
    "krw": "KRW",
    "won": "KRW",
    "₩": "KRW",
    "cny": "CNY",
    "yuan": "CNY",
    "pln": "PLN",
    "zloty": "PLN",
}
"""Codes of currencies by their signs and by the stems of their names."""


class Columns(Protocol):
    """Rows of metadata in columns, such as those of a table."""

    @property
    def schema(self) -> pa.Schema: ...

    def count_rows(self) -> int: ...

    def batches(self, columns: Sequence[str], rows: int, /) -> Iterator[pa.RecordBatch]: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """A column of short values that repeat, or of yes and no.

    Attributes:
        counts: items by value, as the table stores it.
        is_list: an item may have several values.
        phrases: by what people call it, the values that it means; a path is called by any of its levels.
    """

    name: str
    counts: Mapping[Value, int]
    is_list: bool = False
    phrases: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)

    def most_frequent(self, count: int) -> list[Value]:
        """So many of its values, those of the most items first."""
        return sorted(self.counts, key=lambda value: (-self.counts[value], str(value)))[:count]


@dataclass(frozen=True, kw_only=True, slots=True)
class Quantity:
    """A column of numbers that measure something, and the range of them."""

    name: str
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """What can be asked of a table.

    Attributes:
        rows: of the table.
        fields: all metadata columns, in the table's order.
        price: the quantity that is the price; empty where there is none.
        currency: of the price, where the table says it.
        kind: the choice that says what kind of thing an item is; empty where there is none.
    """

    rows: int
    fields: tuple[str, ...]
    choices: Mapping[str, Choice]
    quantities: Mapping[str, Quantity]
    price: str = ""
    currency: str = ""
    kind: str = ""

    @property
    def lists(self) -> tuple[str, ...]:
        """The columns whose values are lists."""
        return tuple(name for name, choice in self.choices.items() if choice.is_list)

    @property
    def spoken(self) -> tuple[str, ...]:
        """The choices that describe an item in words, in the table's order: all but those of yes and no."""
        return tuple(name for name in self.choices if not isinstance(next(iter(self.choices[name].counts)), bool))

    @property
    def attributes(self) -> tuple[str, ...]:
        """The choices that people would name of a thing beside its kind: few values, each a word or two."""
        return tuple(
            name
            for name in self.spoken
            if name != self.kind
            and not self.choices[name].is_list
            and 2 <= len(self.choices[name].counts) <= MOST_ATTRIBUTE_VALUES
            and all(len(str(value).split()) <= MOST_ATTRIBUTE_WORDS for value in self.choices[name].counts)
        )

    def caption(self, fields: Mapping[str, FieldValue]) -> str:
        """An item's choices as one text for the encoder, joined as captions are; empty where none is known."""
        said = {name: text_of_value(fields.get(name)) for name in self.spoken}
        return ". ".join(without_echoes(said))

    def described(self, say: Callable[[Value], str], *, most: int, examples: int) -> list[str]:
        """A line for each column: all of its values, or the most frequent of very many, or the range of its numbers.

        Args:
            say: a value in words; empty for one that is not to be told.
            most: values of a column that are all told.
            examples: of a column that has more.
        """
        lines = []
        for name, choice in self.choices.items():
            is_whole = len(choice.counts) <= most
            said = [*filter(None, map(say, choice.most_frequent(most if is_whole else examples)))]
            lines.append(f"{name}: {', '.join(said if is_whole else [*said, '...'])}")
        return [*lines, *(f"{one.name}: {one.low:g} to {one.high:g}" for one in self.quantities.values())]

    @classmethod
    def read(cls, table: Columns) -> Vocabulary:
        """Read it from a table, or from other rows.

        Raises:
            TableError: the table cannot be read.
        """
        fields = tuple(name for name in table.schema.names if name not in OWN_COLUMNS)
        sample = _first_rows(table, fields)
        found = [
            column
            for name in fields
            if name != SPLIT and _may_count(sample[name]) and (column := _read_column(table, name)) is not None
        ]
        choices = {column.name: column for column in found if isinstance(column, Choice)}
        quantities = {column.name: column for column in found if isinstance(column, Quantity)}
        price = next((name for name in quantities if PRICE.search(name.replace("_", " "))), "")
        return cls(
            rows=table.count_rows(),
            fields=fields,
            choices=choices,
            quantities=quantities,
            price=price,
            currency=_currency(price, choices),
            kind=next((name for name in USUAL_COLUMNS if name in choices), ""),
        )


def _first_rows(table: Columns, fields: Sequence[str]) -> pa.Table:
    """Some of the first rows, SAMPLED_ROWS or all where there are fewer."""
    found, rows = list[pa.RecordBatch](), 0
    for batch in table.batches(fields, SAMPLED_ROWS) if fields else ():
        found.append(batch)
        rows += batch.num_rows
        if rows >= SAMPLED_ROWS:
            break
    return pa.Table.from_batches(found) if found else pa.table({name: [] for name in fields})


def _may_count(sample: pa.ChunkedArray) -> bool:
    """Whether the first rows leave open that a column is of numbers, or of short texts."""
    kind = sample.type.value_type if pa.types.is_list(sample.type) else sample.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        return bool(pa.types.is_boolean(kind) or _is_number(kind))
    flat = pc.list_flatten(sample) if pa.types.is_list(sample.type) else sample
    longest = pc.max(pc.utf8_length(flat)).as_py()
    return longest is not None and longest <= MAX_VALUE_CHARACTERS


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _read_column(table: Columns, name: str) -> Choice | Quantity | None:
    """The column by what it is; None for one that tells items apart, or holds nothing."""
    kind = table.schema.field(name).type
    if _is_number(kind):
        return _quantity(table, name)
    counts: Counter[Value] = Counter()
    for batch in table.batches([name], BATCH_ROWS):
        column = batch.column(0)
        values = pc.list_flatten(column) if pa.types.is_list(kind) else column
        for pair in pc.value_counts(values).to_pylist():
            counts[pair["values"]] += pair["counts"]
        if len(counts) > MOST_VALUES:
            return None
    counts = Counter({value: count for value, count in counts.items() if value is not None and str(value).strip()})
    repeats = sum(counts.values()) >= MIN_ITEMS_PER_VALUE * len(counts)
    if not counts or not repeats or any(len(str(value)) > MAX_VALUE_CHARACTERS for value in counts):
        return None
    phrases = {spoken(name): (True,)} if pa.types.is_boolean(kind) else _phrases(sorted(map(str, counts)))
    return Choice(name=name, counts=counts, is_list=pa.types.is_list(kind), phrases=phrases)


def _phrases(values: Sequence[str]) -> dict[str, tuple[Value, ...]]:
    separator = path_separator(values)
    found: dict[str, list[Value]] = {}
    for value in values:
        for name in levels(value, separator) if separator else [value]:
            found.setdefault(name, []).append(value)
    return {name: tuple(stored) for name, stored in found.items()}


def _quantity(table: Columns, name: str) -> Quantity | None:
    """The range of the numbers; None where they are called those of classes."""
    if is_called_class(name):
        return None
    lows, highs = list[float](), list[float]()
    for batch in table.batches([name], BATCH_ROWS):
        column = batch.column(0)
        if pa.types.is_floating(column.type):
            column = column.filter(pc.is_finite(column))
        ends = pc.min_max(column).as_py()
        if ends["min"] is not None:
            lows.append(float(ends["min"]))
            highs.append(float(ends["max"]))
    return Quantity(name=name, low=min(lows), high=max(highs)) if lows else None


def _currency(price: str, choices: Mapping[str, Choice]) -> str:
    """The code in the price column's name, or the one value of a column `currency`."""
    column = choices.get("currency")
    if column is not None and len(column.counts) == 1:
        code = str(next(iter(column.counts)))
        return CURRENCIES.get(code.casefold(), code.upper())
    words: Iterable[str] = re.split(r"[^a-z]+", price.casefold())
    return next((CURRENCIES[word] for word in words if word in CURRENCIES), "")

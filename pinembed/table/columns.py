"""Metadata columns of a table over the nights: stated, guessed, widened, and what does not fit them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import pyarrow as pa

from pinembed.errors import UsageError
from pinembed.machine import LARGEST_OF_FLOAT
from pinembed.nouns.item import is_missing, text_of_value
from pinembed.table.embedding_table import EmbeddingTable, reading
from pinembed.table.schema import OWN_COLUMNS, STATED, is_stated, metadata_fields
from pinembed.table.whole import committing

WIDENING = "__pinembed_wider"
FIRST_ROWS = 1024
SQL_TYPES = {pa.int64(): "Int64", pa.float32(): "Float32", pa.float64(): "Float64"}
STATED_TYPES: Mapping[str, pa.DataType] = {
    "text": pa.string(),
    "int": pa.int64(),
    "float": pa.float64(),
    "bool": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us"),
}
"""What --column calls a type."""
CODE = re.compile(r"\+|-?0\d|\d+[eE]\d")
"""Text that may be a code although it reads as a number: `0012`, `10E5`."""


def refuse_other_types(table: EmbeddingTable, stated: Mapping[str, str]) -> None:
    """Let only those statements pass that a stored column can follow: whole numbers that become fractions, for one.

    Args:
        table: with its columns.
        stated: names of STATED_TYPES by column.

    Raises:
        UsageError: the table stores a column as another type.
    """
    stored = _stored_fields(table)
    for name, kind in stated.items():
        field = pa.field(name, STATED_TYPES[kind], metadata=STATED)
        if name not in stored or _can_follow(table, stored[name], field):
            continue
        raise UsageError(
            f"Table {table.address} stores the metadata column {name} as {stored[name].type}; "
            f"--column {name}={kind} asks for {field.type}.",
            remedy=f"Leave --column {name}={kind} out, or give another --table.",
        )


def text_columns(table: EmbeddingTable) -> set[str]:
    """Metadata columns that hold text, so that a night's text is not taken for something else on its way there."""
    texts = [field for field in table.schema if field.name not in OWN_COLUMNS and pa.types.is_string(field.type)]
    return {field.name for field in texts} - _without_value(table, [f.name for f in texts if not is_stated(f)])


def as_stated(fields: pa.Table | None, stated: Mapping[str, str]) -> tuple[pa.Table | None, tuple[str, ...]]:
    """Metadata in the types that the user has stated.

    Returns:
        the metadata, and a sentence about each column that is not there or has values left out.
    """
    names = [] if fields is None else fields.column_names
    notes = []
    for name, kind in stated.items():
        if fields is None or name not in names:
            notes.append(f"--column {name}={kind}: the metadata have no such column; theirs are {_shown(names)}.")
            continue
        column, odd = converted(fields[name], STATED_TYPES[kind], with_codes=True)
        if odd:
            notes.append(
                f"{len(odd)} value(s) of the metadata column {name} are no {kind}, as --column says, and are left "
                f"out; the first is {odd[0]!r}."
            )
        field = pa.field(name, STATED_TYPES[kind], metadata=STATED)
        fields = fields.set_column(names.index(name), field, column)
    return fields, tuple(notes)


def _shown(names: list[str]) -> str:
    return ", ".join(names) or "none"


def as_stored(table: EmbeddingTable, fields: pa.Table) -> tuple[pa.Table, tuple[str, ...]]:
    """Metadata in the types of the table's columns, so that a night's odd value does not stop the night.

    A column that the table can follow keeps its own type for `fit_columns`. Of others each value is converted, whole
    numbers to text for one, and one that does not fit is left out.

    Returns:
        the metadata, and a sentence about each column that has values left out.
    """
    notes = []
    stored = _stored_fields(table)
    for index, field in enumerate(fields.schema):
        own = stored.get(field.name)
        if own is None or pa.types.is_null(field.type) or _can_follow(table, own, field):
            continue
        kind = own.type
        column, odd = converted(fields.column(index), kind, with_codes=is_stated(own))
        if odd:
            notes.append(
                f"{len(odd)} value(s) of the metadata column {field.name} are no {kind}, as which table "
                f"{table.address} stores it, and are left out; the first is {odd[0]!r}."
            )
        fields = fields.set_column(index, field.name, column)
    return fields, tuple(notes)


def fit_columns(table: EmbeddingTable, metadata_schema: pa.Schema) -> None:
    """Give a table the metadata columns that it lacks, and the wider or first types that `as_stored` left to it.

    Commits only where something is lacking. A run that is killed in the middle is completed by the next one.

    Raises:
        DataError: a name cannot be a column.
        TableError: the table cannot be written.
    """
    wanted = metadata_fields(metadata_schema)
    nothing = {field.name for field in metadata_schema if pa.types.is_null(field.type)}
    with committing(table.address, table.dataset):
        _finish_widening(table)
        stored = _stored_fields(table)
        known = [field for field in wanted if field.name in stored and field.name not in nothing]
        _make_room(table, stored, [field for field in known if field.type != stored[field.name].type])
        stored = _stored_fields(table)
        if lacking := [field for field in wanted if field.name not in stored]:
            table.dataset.add_columns(pa.schema(lacking))


def _make_room(table: EmbeddingTable, stored: Mapping[str, pa.Field], others: Sequence[pa.Field]) -> None:
    """Take the columns out that hold no value, and widen others as far as the new types want it."""
    empty = _without_value(table, [field.name for field in others])
    if empty:
        table.dataset.drop_columns(sorted(empty))
    joint = {field.name: _joint_type(stored[field.name].type, field.type) for field in others}
    wider = {
        name: SQL_TYPES[kind]
        for name, kind in joint.items()
        if name not in empty and kind not in (None, stored[name].type)
    }
    if wider:  # Lance does not cast whole numbers to fractions in place: a wider column takes the name of the old one
        table.dataset.add_columns({name + WIDENING: f"arrow_cast(`{name}`, '{kind}')" for name, kind in wider.items()})
        table.dataset.drop_columns(sorted(wider))
        table.dataset.alter_columns(*({"path": name + WIDENING, "name": name} for name in wider))


def _stored_fields(table: EmbeddingTable) -> dict[str, pa.Field]:
    return {field.name: field for field in table.schema}


def _can_follow(table: EmbeddingTable, stored: pa.Field, field: pa.Field) -> bool:
    """Whether a table's column can take this type: its own, a wider one, or any where it has no value yet.

    A column whose type the user has stated follows none; one that is stated now follows only where it can become that.
    """
    if stored.type == field.type or is_stated(stored):
        return bool(stored.type == field.type)
    joint = _joint_type(stored.type, field.type)
    if joint == stored.type and not is_stated(field):
        return False  # its values become the table's
    if joint is not None and (joint == field.type or not is_stated(field)) and _widens_exactly(table, stored, joint):
        return True
    return bool(_without_value(table, [field.name]))


def _without_value(table: EmbeddingTable, names: Sequence[str]) -> set[str]:
    """Those of the columns in which all rows are null; most are told by the first rows, the others by all."""
    left = set(names)
    for limit in (FIRST_ROWS, None):
        if not left:
            break
        with reading(table.address):
            for batch in table.dataset.to_batches(columns=sorted(left), limit=limit):
                left -= {name for name in left if batch[name].null_count < len(batch)}
                if not left:
                    break
    return left


def _widens_exactly(table: EmbeddingTable, stored: pa.Field, joint: pa.DataType) -> bool:
    """Whether a wider type holds what is stored to the last digit."""
    if not pa.types.is_integer(stored.type) or not pa.types.is_floating(joint):
        return True
    largest = LARGEST_OF_FLOAT if joint == pa.float64() else 2**24
    return not table.count_rows(f"`{stored.name}` > {largest} OR `{stored.name}` < -{largest}")


def converted(column: pa.ChunkedArray, kind: pa.DataType, *, with_codes: bool) -> tuple[pa.ChunkedArray, list[Any]]:
    """The column as another type, with null for what does not fit it, and those values; NaN is a gap and no value.

    Args:
        column: of any type.
        kind: to make of it.
        with_codes: text such as `0012` is a number, as only the user can say.
    """
    with suppress(pa.ArrowException, ValueError, OverflowError):
        made = column.cast(kind)
        # else it would change values: the time of a day, 5 to True, False to 0, a duration to a number
        if made.cast(column.type).equals(column) and not (_is_no_number(column.type) and _is_number(kind)):
            if pa.types.is_temporal(kind):
                made.to_pylist()  # which knows the years 1 to 9999 alone
            return made, []
    values = column.to_pylist()
    fitting = [_converted(value, kind, with_codes) for value in values]
    odd = [value for value, new in zip(values, fitting, strict=True) if new is None and not is_missing(value)]
    return pa.chunked_array([pa.array(fitting, kind)]), odd


def _is_no_number(kind: pa.DataType) -> bool:
    """Of what Arrow casts to numbers."""
    return bool(pa.types.is_boolean(kind) or pa.types.is_temporal(kind))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _converted(value: Any, kind: pa.DataType, with_codes: bool) -> Any:
    if value is None or (isinstance(value, str) and not with_codes and CODE.match(value)):
        return None
    try:
        if pa.types.is_string(kind):
            return _text(value)
        old = pa.scalar(value)
        if _is_no_number(old.type) and _is_number(kind):
            return None
        new = old.cast(kind)
        is_equal = _stands_for(value, new.as_py()) if isinstance(value, str) else new.cast(old.type).equals(old)
        return new.as_py() if is_equal else None
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return None


def _text(value: Any) -> str:
    """Lists and objects in JSON, as where JSON lines hold them beside text."""
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False, default=_text)
    return value.decode() if isinstance(value, bytes) else text_of_value(value)


def _stands_for(text: str, value: Any) -> bool:
    """Whether a text was read as what it says: 1e400 is no infinity, and no float stands for 2**53 + 1."""
    if not isinstance(value, float):
        return True
    if math.isinf(value):
        return "inf" in text.lower()
    return not text.lstrip("+-").isdecimal() or int(text) == value


def _joint_type(stored: pa.DataType, wanted: pa.DataType) -> pa.DataType | None:
    """The type that holds numbers of both, where Lance can widen to it; None where there is none."""
    if stored == wanted:
        return stored
    if not (_is_number(stored) and _is_number(wanted)):
        return None
    schemas = [pa.schema([pa.field("both", kind)]) for kind in (stored, wanted)]
    joint = pa.unify_schemas(schemas, promote_options="permissive").field(0).type
    if joint == pa.int64() and pa.uint64() in (stored, wanted):
        return None
    return joint if joint == stored or joint in SQL_TYPES else None


def _finish_widening(table: EmbeddingTable) -> None:
    names = set(table.schema.names)
    for name in sorted(name for name in names if name.endswith(WIDENING)):
        if name.removesuffix(WIDENING) in names:
            table.dataset.drop_columns([name])
        else:
            table.dataset.alter_columns({"path": name, "name": name.removesuffix(WIDENING)})

"""Types of metadata columns: what a CSV's text has the form of, and what the table stores and Python shows.

A CSV says nothing of its types, so a column takes one that all its values have the form of: codes with leading zeros,
`10E5` and whole numbers of more than 64 bits stay text.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pinembed.machine import LARGEST_OF_FLOAT

# of more digits a float would lose some; without a sign, an exponent may as well be a code
NUMBER = r"^-?(0|[1-9]\d{0,14})(\.\d+)?([eE][+-]\d{1,2})?$"
WHOLE = r"^(0|-?[1-9]\d{0,17})$"
YES_OR_NO = r"^([Tt]rue|TRUE|[Ff]alse|FALSE)$"
YEAR = r"(000[1-9]|00[1-9]\d|0[1-9]\d{2}|[1-9]\d{3})"
DAY = rf"^{YEAR}-\d{{2}}-\d{{2}}$"
MOMENT = rf"^{YEAR}-\d{{2}}-\d{{2}}" r"[ T]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?$"
CSV_TYPES: tuple[tuple[str, pa.DataType], ...] = (
    (WHOLE, pa.int64()),
    (NUMBER, pa.float64()),
    (YES_OR_NO, pa.bool_()),
    (DAY, pa.date32()),
    (MOMENT, pa.timestamp("us")),
)


def typed_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text in the first of CSV_TYPES that every value has the form of; a column without a value has none."""
    if column.null_count == len(column):
        return pa.chunked_array([pa.nulls(len(column))])
    for form, kind in CSV_TYPES:
        if pc.all(pc.match_substring_regex(column, form)).as_py():
            try:
                return column.cast(kind)
            except pa.ArrowInvalid:  # the 30th of February
                return column
    return column


def may_be_rounded(column: pa.ChunkedArray) -> bool:
    """Whether floats, also inside of lists and objects, are so large that they were whole numbers of more digits."""
    if pa.types.is_list(column.type):
        return may_be_rounded(pc.list_flatten(column))
    if pa.types.is_struct(column.type):
        return any(may_be_rounded(pc.struct_field(column, [index])) for index in range(column.type.num_fields))
    if not pa.types.is_floating(column.type):
        return False
    return bool(pc.any(pc.greater_equal(pc.abs(column), LARGEST_OF_FLOAT)).as_py())


def with_text_for_moments(field: pa.Field) -> pa.Field:
    """A column with text where Arrow has taken text for moments, also inside of lists and objects."""
    kind = field.type
    if pa.types.is_list(kind):
        return field.with_type(pa.list_(with_text_for_moments(kind.value_field).type))
    if pa.types.is_struct(kind):
        return field.with_type(pa.struct([with_text_for_moments(part) for part in kind]))
    return field.with_type(pa.string()) if pa.types.is_timestamp(kind) else field


def plain_columns(table: pa.Table) -> pa.Table:
    """Columns in types that the table stores and Python shows: views, dictionaries and maps as what they stand for.

    Moments are of the years 1 to 9999 and to the microsecond; a column that has others is in words, and in nanoseconds
    where they are durations.

    Raises:
        pa.ArrowException: a type for which there is no other.
    """
    columns = []
    for column in table.columns:
        column = _without_empty_objects(_without_extension(column))
        if pa.types.is_list_view(column.type):  # which Arrow's own cast leaves with too few offsets
            column = pa.chunked_array([pa.array(column.to_pylist(), pa.list_(column.type.value_type))])
        columns.append(_plain(column))
    return pa.table(columns, names=table.column_names)


def concatenated(tables: Sequence[pa.Table]) -> pa.Table:
    """The rows of all; a column of several types takes the widest, moments for days, and text where there is none.

    Raises:
        pa.ArrowException: lists or objects beside other types.
    """
    for name, kind in joint_types(tables).items():
        tables = [_with_type(table, name, kind) for table in tables]
    return pa.concat_tables(tables, promote_options="permissive")


def joint_types(tables: Sequence[pa.Table]) -> dict[str, pa.DataType]:
    """Of the columns whose types Arrow does not widen to one: moments for days and moments, else text."""
    columns: dict[str, list[pa.ChunkedArray]] = {}
    for table in tables:
        for name, column in zip(table.column_names, table.columns, strict=True):
            columns.setdefault(name, []).append(column)
    return {name: joint for name, found in columns.items() if (joint := _joint_type(found))}


def _joint_type(columns: Sequence[pa.ChunkedArray]) -> pa.DataType | None:
    """None where Arrow widens them, or nothing would do."""
    kinds = {column.type for column in columns}
    if len(kinds) == 1:
        return None
    with suppress(pa.ArrowException):
        schemas = [pa.schema([("", kind)]) for kind in kinds]
        widest = pa.unify_schemas(schemas, promote_options="permissive").field(0).type
        return pa.string() if pa.types.is_floating(widest) and any(map(_would_be_rounded, columns)) else None
    if all(pa.types.is_date(kind) or kind == pa.timestamp("us") for kind in kinds):
        return pa.timestamp("us")
    return None if any(pa.types.is_nested(kind) or is_bytes(kind) for kind in kinds) else pa.string()


def _would_be_rounded(column: pa.ChunkedArray) -> bool:
    """Whether whole numbers are so large that a float does not hold them."""
    if not pa.types.is_integer(column.type):
        return False
    ends = pc.min_max(column).as_py().values()
    return any(end is not None and abs(end) > LARGEST_OF_FLOAT for end in ends)


def is_bytes(kind: pa.DataType) -> bool:
    """Whether a type is one of bytes."""
    of_any_length = pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)
    return bool(of_any_length or pa.types.is_fixed_size_binary(kind))


def _with_type(table: pa.Table, name: str, kind: pa.DataType) -> pa.Table:
    index = table.schema.get_field_index(name)
    return table if index < 0 else table.set_column(index, name, table.column(index).cast(kind))


def _without_extension(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """What a type is built on: lists of tensors, numbers of 8-bit booleans; UUIDs as text."""
    if not isinstance(column.type, pa.BaseExtensionType):
        return column
    if column.type.extension_name == "arrow.uuid":
        texts = [None if value is None else str(value) for value in column.to_pylist()]
        return pa.chunked_array([pa.array(texts, pa.string())])
    return pa.chunked_array([chunk.storage for chunk in column.chunks], column.type.storage_type)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = _plain_type(column.type, in_words=False)
    with suppress(pa.ArrowException, ValueError, OverflowError):
        made = column if kind == column.type else column.cast(kind)
        if kind != _plain_type(kind, in_words=True):
            made.to_pylist()  # Python does not know all moments that Arrow knows
        return made
    return column.cast(_plain_type(column.type, in_words=True))


def _plain_type(kind: pa.DataType, *, in_words: bool, is_inner: bool = False) -> pa.DataType:
    """The type for a type; where `in_words`, text for moments and numbers for durations."""
    if pa.types.is_map(kind):
        pair = [pa.field("key", kind.key_type, nullable=False), pa.field("value", kind.item_type)]
        return _plain_type(pa.list_(pa.struct(pair)), in_words=in_words)
    if pa.types.is_list(kind):
        return pa.list_(_plain_type(kind.value_type, in_words=in_words, is_inner=True))
    if pa.types.is_large_list(kind):
        return pa.large_list(_plain_type(kind.value_type, in_words=in_words, is_inner=True))
    if pa.types.is_struct(kind):
        parts = [part.with_type(_plain_type(part.type, in_words=in_words, is_inner=True)) for part in kind]
        return pa.struct(parts)
    if pa.types.is_temporal(kind):
        return _plain_moment(kind, in_words=in_words)
    if (pa.types.is_dictionary(kind) and not is_inner) or pa.types.is_run_end_encoded(kind):
        return _plain_type(kind.value_type, in_words=in_words)
    if pa.types.is_null(kind):
        return pa.string() if is_inner else kind
    return pa.binary() if pa.types.is_binary_view(kind) else pa.string() if pa.types.is_string_view(kind) else kind


def _plain_moment(kind: pa.DataType, *, in_words: bool) -> pa.DataType:
    if in_words:
        return pa.int64() if pa.types.is_duration(kind) else pa.string()
    if getattr(kind, "unit", "") != "ns":
        return kind
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", kind.tz)
    return pa.duration("us") if pa.types.is_duration(kind) else pa.time64("us")


def _without_empty_objects(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Nothing in place of objects that have no field in any row: a Lance table with such a column cannot be read."""
    kind = _with_nothing_for_empty_objects(column.type)
    if kind == column.type:
        return column
    return pa.chunked_array([pa.array(map(_without_empty, column.to_pylist()), kind)])


def _with_nothing_for_empty_objects(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_list(kind):
        return pa.list_(_with_nothing_for_empty_objects(kind.value_type))
    if not pa.types.is_struct(kind):
        return kind
    parts = [part.with_type(_with_nothing_for_empty_objects(part.type)) for part in kind]
    return pa.struct(parts) if parts else pa.null()


def _without_empty(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_empty(part) for part in value]
    return ({name: _without_empty(part) for name, part in value.items()} or None) if isinstance(value, dict) else value

"""A table's metadata columns over the years: new ones appear, and whole numbers become fractions."""

from __future__ import annotations

import pyarrow as pa

from pinembed.errors import DataError
from pinembed.table.embedding_table import EmbeddingTable, writing
from pinembed.table.schema import metadata_fields

WIDENING = "__pinembed_wider"
SQL_TYPES = {pa.int64(): "Int64", pa.float32(): "Float32", pa.float64(): "Float64"}


def fit_columns(table: EmbeddingTable, metadata_schema: pa.Schema) -> None:
    """Give a table the metadata columns that it lacks, and a wider number type where the metadata needs it now.

    Commits only where something is lacking. A run that is killed in the middle is completed by the next one.

    Raises:
        DataError: a column's types do not go together, or a name cannot be a column.
        TableError: the table cannot be written.
    """
    wanted = metadata_fields(metadata_schema)
    with writing(table.address):
        _finish_widening(table)
        stored = {field.name: field.type for field in table.schema}
        for field in wanted:
            if field.name in stored and not pa.types.is_null(metadata_schema.field(field.name).type):
                joint = _joint_type(table, stored[field.name], field)
                if joint != stored[field.name]:
                    _widen(table, field.name, SQL_TYPES[joint])
        lacking = [field for field in wanted if field.name not in stored]
        if lacking:
            table.dataset.add_columns(pa.schema(lacking))


def _joint_type(table: EmbeddingTable, stored: pa.DataType, wanted: pa.Field) -> pa.DataType:
    """The type that holds what is stored and what the metadata holds now."""
    if stored == wanted.type:
        return stored
    numbers = [kind for kind in (stored, wanted.type) if pa.types.is_integer(kind) or pa.types.is_floating(kind)]
    if len(numbers) == 2:
        schemas = [pa.schema([pa.field(wanted.name, kind)]) for kind in numbers]
        joint = pa.unify_schemas(schemas, promote_options="permissive").field(0).type
        if joint == stored or joint in SQL_TYPES:
            return joint
    raise DataError(
        f"The metadata column {wanted.name} holds {wanted.type}; table {table.address} stores it as {stored}.",
        remedy="Make the column's values alike in the metadata, rename the column, or give another --table.",
    )


def _widen(table: EmbeddingTable, name: str, sql_type: str) -> None:
    """Lance does not cast whole numbers to fractions in place: a wider column takes the name of the old one."""
    table.dataset.add_columns({name + WIDENING: f"arrow_cast(`{name}`, '{sql_type}')"})
    table.dataset.drop_columns([name])
    table.dataset.alter_columns({"path": name + WIDENING, "name": name})


def _finish_widening(table: EmbeddingTable) -> None:
    names = set(table.schema.names)
    for name in sorted(name for name in names if name.endswith(WIDENING)):
        if name.removesuffix(WIDENING) in names:
            table.dataset.drop_columns([name])
        else:
            table.dataset.alter_columns({"path": name, "name": name.removesuffix(WIDENING)})

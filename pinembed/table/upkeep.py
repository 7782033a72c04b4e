"""Keeps a table in order over the years: compaction, clean-up, the index, and columns that appear or widen."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pyarrow as pa
from lance import LanceDataset

from pinembed.errors import DataError
from pinembed.nouns.item import text_of_value
from pinembed.table.address import TableAddress
from pinembed.table.embedding_table import REFINE_FACTOR, EmbeddingTable, writing
from pinembed.table.schema import VECTOR, metadata_fields

COMPACT_FROM_FRAGMENTS = 16
SMALL_FRAGMENT_ROWS = 100_000
ROWS_PER_FRAGMENT = 1 << 20
KEPT_FOR = timedelta(days=1)  # a reader that began on an older version can finish
INDEX_FROM_ROWS = 200_000  # below, an exact search takes less than a tenth of a second
UNINDEXED_SHARE = 5  # the index is built anew when more than one row in five is not in it
DIM_MULTIPLE = 8  # IVF_RQ packs one bit for each float
SAMPLE = 50
RECALL_K = 10
INDEX_NAME = f"{VECTOR}_idx"


def tidy(table: EmbeddingTable) -> bool:
    """Join small fragments, and drop versions older than a day that no tag keeps.

    Returns:
        Whether there was anything to join.

    Raises:
        TableError: the table cannot be written.
    """
    return compact(table.address, table.dataset)


def compact(address: TableAddress, dataset: LanceDataset) -> bool:
    """As `tidy`, for any Lance dataset.

    Raises:
        TableError: the table cannot be written.
    """
    with writing(address):
        small = dataset.stats.dataset_stats(max_rows_per_group=SMALL_FRAGMENT_ROWS)["num_small_files"]
        if small < COMPACT_FROM_FRAGMENTS:
            return False
        dataset.optimize.compact_files(target_rows_per_fragment=ROWS_PER_FRAGMENT)
        dataset.cleanup_old_versions(older_than=KEPT_FOR, error_if_tagged_old_versions=False)
        dataset.checkout_latest()
    return True


def index_if_large(table: EmbeddingTable, *, from_rows: int = INDEX_FROM_ROWS) -> float | None:
    """Build an IVF_RQ index where exact search has become slow, or where too much was added since.

    Args:
        table: to search in.
        from_rows: rows from which on an index is worth it.

    Returns:
        recall@10 of the index against exact search on rows of the table; None when none was built, also because D is
        no multiple of 8.

    Raises:
        TableError: the table cannot be written.
    """
    rows = table.count_rows()
    if rows < from_rows or table.spec.dim % DIM_MULTIPLE or _unindexed_rows(table, rows) * UNINDEXED_SHARE <= rows:
        return None
    from lancedb.index import IvfRq

    with writing(table.address):
        table.lance.create_index(VECTOR, config=IvfRq(distance_type="cosine"), name=INDEX_NAME, replace=True)
        table.dataset.checkout_latest()
    return recall_of_index(table, _sample(table, rows))


def recall_of_index(table: EmbeddingTable, vectors: Sequence[Sequence[float]]) -> float:
    """Share of the 10 exact nearest rows that the index finds, over these queries."""
    found = wanted = 0
    for vector in vectors:
        query = table.lance.search(list(vector), vector_column_name=VECTOR).distance_type("cosine").limit(RECALL_K)
        indexed = _ids(query.refine_factor(REFINE_FACTOR).to_arrow())
        query = table.lance.search(list(vector), vector_column_name=VECTOR).distance_type("cosine").limit(RECALL_K)
        exact = _ids(query.bypass_vector_index().to_arrow())
        found += len(indexed & exact)
        wanted += len(exact)
    return found / wanted if wanted else 1.0


def _unindexed_rows(table: EmbeddingTable, rows: int) -> int:
    if all(index.name != INDEX_NAME for index in table.dataset.describe_indices()):
        return rows
    return int(table.dataset.stats.index_stats(INDEX_NAME)["num_unindexed_rows"])


def _sample(table: EmbeddingTable, rows: int) -> list[list[float]]:
    indices = list(range(0, rows, max(1, rows // SAMPLE)))[:SAMPLE]
    taken = table.dataset.take(indices, columns=[VECTOR])
    return [[float(value) for value in vector] for vector in taken[VECTOR].to_pylist()]


def _ids(found: pa.Table) -> set[str]:
    return set(found["id"].to_pylist())


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
    empty = {field.name for field in wanted if has_no_value(table, field)}
    with writing(table.address):
        _finish_widening(table)
        stored = {field.name: field.type for field in table.schema}
        for field in wanted:
            if field.name in empty:
                table.dataset.drop_columns([field.name])
                del stored[field.name]
            elif field.name in stored and not pa.types.is_null(metadata_schema.field(field.name).type):
                joint = _joint_type(stored[field.name], field.type)
                if joint is None:
                    raise DataError(
                        f"The metadata column {field.name} holds {field.type}; table {table.address} stores it as "
                        f"{stored[field.name]}.",
                        remedy="Make the column's values alike, rename the column, or give another --table.",
                    )
                if joint != stored[field.name]:
                    _widen(table, field.name, SQL_TYPES[joint])
        lacking = [field for field in wanted if field.name not in stored]
        if lacking:
            table.dataset.add_columns(pa.schema(lacking))


def has_no_value(table: EmbeddingTable, field: pa.Field) -> bool:
    """Whether a table stores a column under another type than this, but no value in it that would hold it to that."""
    if field.name not in table.schema.names or table.schema.field(field.name).type == field.type:
        return False
    return not table.count_rows(f"`{field.name}` IS NOT NULL")


def as_stored(table: EmbeddingTable, fields: pa.Table) -> tuple[pa.Table, tuple[str, ...]]:
    """Metadata in the types of the table's columns, so that a night's odd value does not stop the night.

    A column that has no value yet, or whose numbers only become wider, keeps its own type for `fit_columns`. Of others
    each value is converted, whole numbers to text for one, and one that does not fit is left out.

    Returns:
        the metadata, and a sentence about each column that has values left out.
    """
    notes = []
    for index, field in enumerate(fields.schema):
        if field.name not in table.schema.names or pa.types.is_null(field.type):
            continue
        kind = table.schema.field(field.name).type
        if kind == field.type or _joint_type(kind, field.type) is not None or has_no_value(table, field):
            continue
        column, odd = converted(fields[field.name], kind)
        if odd:
            notes.append(
                f"{len(odd)} value(s) of the metadata column {field.name} are no {kind}, as which table "
                f"{table.address} stores it, and are left out; the first is {odd[0]!r}."
            )
        fields = fields.set_column(index, field.name, column)
    return fields, tuple(notes)


def converted(column: pa.ChunkedArray, kind: pa.DataType) -> tuple[pa.ChunkedArray, list[Any]]:
    """The column as another type, with null for what does not fit it, and those values."""
    with suppress(pa.ArrowException):
        made = column.cast(kind)
        if made.cast(column.type).equals(column):  # else it would change values: the time of a day, 5 to True
            return made, []
    values = column.to_pylist()
    fitting = [_converted(value, kind) for value in values]
    odd = [value for value, new in zip(values, fitting, strict=True) if value is not None and new is None]
    return pa.chunked_array([pa.array(fitting, kind)]), odd


def _converted(value: Any, kind: pa.DataType) -> Any:
    if value is None:
        return None
    if pa.types.is_string(kind):
        return text_of_value(value)
    try:
        old = pa.scalar(value)
        new = old.cast(kind)
        return new.as_py() if new.cast(old.type).equals(old) or isinstance(value, str) else None
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return None


def _joint_type(stored: pa.DataType, wanted: pa.DataType) -> pa.DataType | None:
    """The type that holds numbers of both, where Lance can widen to it; None where there is none."""
    if stored == wanted:
        return stored
    if not all(pa.types.is_integer(kind) or pa.types.is_floating(kind) for kind in (stored, wanted)):
        return None
    schemas = [pa.schema([pa.field("both", kind)]) for kind in (stored, wanted)]
    joint = pa.unify_schemas(schemas, promote_options="permissive").field(0).type
    return joint if joint == stored or joint in SQL_TYPES else None


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

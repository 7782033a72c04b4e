"""Metadata files to one table: CSV, JSON lines or Parquet."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json
import pyarrow.parquet

from pinembed.catalogue.class_labels import with_class_names
from pinembed.catalogue.column_types import (
    concatenated,
    is_bytes,
    joint_types,
    may_be_rounded,
    plain_columns,
    typed_text,
    with_text_for_moments,
)
from pinembed.catalogue.csv_rows import UNTYPED, read_csv, refuse_repeated
from pinembed.catalogue.json_rows import as_table
from pinembed.errors import DataError

SPLIT = "split"
METADATA_NAMES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
ITEM_COLUMNS = ("file_name", "id", SPLIT)
"""What says which item a row is; all other columns describe it."""

WORDS_OF_ERROR = 300
TINY = re.compile(rb"\d[eE]-\d{3}")
"""A fraction that a float may hold as 0 alone."""


def read_metadata(
    root: Path, metadata: Path | None, found: Sequence[str], notes: list[str], *, texts: Collection[str] = ()
) -> tuple[Path, pa.Table] | None:
    """The metadata file that was named, or the one at the top, or those of the folders below in one table.

    Args:
        root: the folder.
        metadata: a metadata file elsewhere; its `file_name`s are relative to `root`.
        found: names of the metadata files below `root`, relative to it.
        notes: gets sentences about what was left out.
        texts: columns whose types are not to be guessed; out of a CSV they come as text.

    Returns:
        the file, the first of several, and the rows; `file_name`, `id` and `split` are text in them. None where there
        is no metadata.

    Raises:
        DataError: unreadable, no `file_name` column, a row without one, or files whose columns do not go together.
    """
    if metadata is not None:
        tables = {metadata: _with_names(metadata, _parsed(metadata, notes))}
    elif (chosen := read_of(found)) and "/" not in chosen[0]:
        path = root / chosen[0]
        tables = {path: _with_names(path, _parsed(path, notes))}
    else:
        parsed = {root / name: _parsed(root / name, notes) for name in chosen}
        ours = {path: table for path, table in parsed.items() if "file_name" in table.column_names}
        tables = {path: _relative_to(root, path, _with_names(path, table)) for path, table in ours.items()}
    if not tables:
        return None
    first = next(iter(tables))
    return first, _as_one(first, list(tables.values()), texts)


def read_of(found: Sequence[str]) -> list[str]:
    """Which metadata files count: the one at the top, else one a folder; the first kind where there are several."""
    folders: dict[str, str] = {}
    for name in sorted(found, key=lambda name: METADATA_NAMES.index(name.rpartition("/")[2])):
        folders.setdefault(name.rpartition("/")[0], name)
    return [folders[""]] if "" in folders else sorted(folders.values())


def _as_one(first: Path, tables: Sequence[pa.Table], texts: Collection[str]) -> pa.Table:
    """The rows of all files; a column that is a CSV's in each of them takes one type of all its values.

    Where a CSV's type does not go with another file's, its text stays as it was written.
    """
    others = {name for table in tables for name in set(table.column_names) - _untyped(table)}
    jointly = set().union(*map(_untyped, tables)) - others
    apart = [_with_types(table, _untyped(table) - jointly - {*texts}) for table in tables]
    as_written = joint_types(apart)
    try:
        one = concatenated(
            [
                pa.table({name: (table if name in as_written else typed)[name] for name in table.column_names})
                for table, typed in zip(tables, apart, strict=True)
            ]
        )
    except pa.ArrowException as error:
        raise DataError(
            f"{first} and the metadata files beside it hold columns of one name and different types: "
            f"{str(error).splitlines()[0]}",
            remedy="Make the column's values alike in all of them.",
        ) from error
    return _with_types(one, jointly - {*texts})


def _untyped(table: pa.Table) -> set[str]:
    return {field.name for field in table.schema if field.metadata == UNTYPED}


def _with_types(table: pa.Table, names: Collection[str]) -> pa.Table:
    columns = [
        typed_text(column) if name in names else column
        for name, column in zip(table.column_names, table.columns, strict=True)
    ]
    return pa.table(columns, names=table.column_names)


def _relative_to(root: Path, metadata: Path, table: pa.Table) -> pa.Table:
    prefix = metadata.parent.relative_to(root).as_posix()
    if prefix == ".":
        return table
    names = [f"{prefix}/{name}" for name in table["file_name"].to_pylist()]
    return table.set_column(table.column_names.index("file_name"), "file_name", pa.array(names, pa.string()))


def _parsed(path: Path, notes: list[str]) -> pa.Table:
    try:
        table = _parse(path, notes)
        table.validate(full=True)  # Arrow's readers of JSON and Parquet let text pass that is not UTF-8
        refuse_repeated(table.column_names)
        return with_item_columns_as_text(_without_nameless(path, table))
    except OSError as error:
        if error.errno is not None:  # the system's; Arrow gives its own no number
            raise DataError(
                f"{path} cannot be read: {error.strerror or error}.", remedy="Check the path and its permissions."
            ) from error
        raise _no_metadata(path, error) from error
    except (pa.ArrowException, UnicodeError, csv.Error, ValueError, RecursionError) as error:
        raise _no_metadata(path, error) from error


def _no_metadata(path: Path, error: Exception) -> DataError:
    words = " ".join(str(error).split())[:WORDS_OF_ERROR]
    return DataError(
        f"{path} cannot be read as metadata: {words or type(error).__name__}",
        remedy="Give UTF-8 CSV with a header line, JSON lines, or Parquet.",
    )


def _with_names(path: Path, table: pa.Table) -> pa.Table:
    if "file_name" not in table.column_names:
        joined = next((name for name in table.column_names if re.search(r"\bfile_name\b", name)), "")
        if separator := re.search(r"[;\t|]", joined):
            raise DataError(
                f"{path} separates its columns by {separator.group()!r}; wanted commas, or tabs in a .tsv.",
                remedy="Write it with commas, or give it as --metadata NAME.tsv where it has tabs.",
            )
        raise DataError(
            f"{path} has no file_name column; found {', '.join(table.column_names) or 'no column'}.",
            remedy="Name the column that holds the image's path relative to the folder file_name.",
        )
    if table["file_name"].null_count:
        raise DataError(
            f"{path} has {table['file_name'].null_count} row(s) without a file_name.",
            remedy="Fill in the file name or take the rows out.",
        )
    return table


def _without_nameless(path: Path, table: pa.Table) -> pa.Table:
    """The table without columns that have neither a name nor a value, as a spreadsheet's trailing commas make them."""
    kept = []
    for index, name in enumerate(table.column_names):
        if name:
            kept.append(index)
        elif table.column(index).null_count < len(table):
            raise DataError(
                f"{path} has values in a column without a name, the {index + 1}th.",
                remedy="Give the column a name, or take it out.",
            )
    return table.select(kept)


def with_item_columns_as_text(table: pa.Table) -> pa.Table:
    """The table with names, ids and splits as text; an empty one is none, as in a CSV.

    Raises:
        ValueError: lists, objects or bytes in one of them.
    """
    for index, name in enumerate(table.column_names):
        if name not in ITEM_COLUMNS:
            continue
        kind = table.schema.field(index).type
        if pa.types.is_nested(kind) or is_bytes(kind):
            raise ValueError(f"its column {name} holds {kind}; wanted text or numbers")
        text = table[name].cast(pa.string())
        table = table.set_column(index, name, pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text))
    return table


def _parse(path: Path, notes: list[str]) -> pa.Table:
    if path.suffix == ".parquet":
        return plain_columns(_read_parquet(path)) if path.stat().st_size else pa.table({})
    if path.suffix in {".jsonl", ".json"}:
        return plain_columns(_read_json(path))
    if path.suffix not in {".csv", ".tsv"}:
        raise ValueError(f"unknown kind of metadata file: {path.suffix or 'no suffix'}")
    return read_csv(path, "\t" if path.suffix == ".tsv" else ",", ITEM_COLUMNS, notes)


def _read_json(path: Path) -> pa.Table:
    """Text stays text, as it is written: Arrow would take some for moments.

    What Arrow refuses, types that differ, or would round, large whole numbers and the least fractions, is read without
    it.
    """
    content = path.read_bytes()
    if TINY.search(content):
        return as_table(content)
    try:
        table = pa.json.read_json(pa.BufferReader(content))
        texts = [
            field
            for field in map(with_text_for_moments, table.schema)
            if field.type != table.schema.field(field.name).type
        ]
        if texts:
            options = pa.json.ParseOptions(explicit_schema=pa.schema(texts))
            table = pa.json.read_json(pa.BufferReader(content), parse_options=options)
    except pa.ArrowInvalid:
        return as_table(content)
    return as_table(content) if any(map(may_be_rounded, table.columns)) else table


def _read_parquet(path: Path) -> pa.Table:
    with pa.parquet.ParquetFile(path) as file:
        refuse_repeated(file.schema_arrow.names)
        return with_class_names(file.read())

"""Metadata files to one table: CSV, JSON lines or Parquet.

A CSV says nothing of its types, so a column takes one that all its values have the form of: codes with leading zeros,
`10E5` and whole numbers of more than 64 bits stay text.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet

from pinembed.errors import DataError

SPLIT = "split"
METADATA_NAMES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
ITEM_COLUMNS = ("file_name", "id", SPLIT)
"""What says which item a row is; all other columns describe it."""

NUMBER = r"^-?(0|[1-9]\d{0,17})(\.\d+)?([eE][+-]\d{1,2})?$"  # without a sign, an exponent may as well be a code
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
WORDS_OF_ERROR = 300
FIRST_S, LAST_S = -62_135_596_800, 253_402_300_799  # of the years 1 and 9999, seconds since 1970


def read_metadata(root: Path, metadata: Path | None, found: Sequence[str]) -> tuple[Path, pa.Table] | None:
    """The metadata file that was named, or the one at the top, or those of the folders below in one table.

    Args:
        root: the folder.
        metadata: a metadata file elsewhere; its `file_name`s are relative to `root`.
        found: names of the metadata files below `root`, relative to it.

    Returns:
        the file, the first of several, and the rows; `file_name`, `id` and `split` are text in them. None where there
        is no metadata.

    Raises:
        DataError: unreadable, no `file_name` column, a row without one, or files whose columns do not go together.
    """
    if metadata is not None:
        return metadata, _read(metadata)
    if not found:
        return None
    at_the_top = [name for name in METADATA_NAMES if name in found][:1]
    if at_the_top:
        path = root / at_the_top[0]
        return path, _read(path)
    folders: dict[str, str] = {}  # the first kind of each
    for name in sorted(found, key=lambda name: METADATA_NAMES.index(name.rpartition("/")[2])):
        folders.setdefault(name.rpartition("/")[0], name)
    tables = {path: table for name in sorted(folders.values()) if (table := _parsed(path := root / name)) is not None}
    named = {path: table for path, table in tables.items() if "file_name" in table.column_names}  # others are not ours
    if not named:
        return None
    first = next(iter(named))
    return first, _as_one(first, [_relative_to(root, path, _with_names(path, table)) for path, table in named.items()])


def _as_one(first: Path, tables: Sequence[pa.Table]) -> pa.Table:
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise DataError(
            f"{first} and the metadata files beside it hold columns of one name and different types: "
            f"{str(error).splitlines()[0]}",
            remedy="Make the column's values alike in all of them.",
        ) from error


def _relative_to(root: Path, metadata: Path, table: pa.Table) -> pa.Table:
    prefix = metadata.parent.relative_to(root).as_posix()
    if prefix == ".":
        return table
    names = [f"{prefix}/{name}" for name in table["file_name"].to_pylist()]
    return table.set_column(table.column_names.index("file_name"), "file_name", pa.array(names, pa.string()))


def _read(path: Path) -> pa.Table:
    return _with_names(path, _parsed(path))


def _parsed(path: Path) -> pa.Table:
    try:
        table = _parse(path)
        table.validate(full=True)  # Arrow's readers of JSON and Parquet let text pass that is not UTF-8
        _refuse_repeated(table.column_names)
        return _with_item_columns_as_text(_without_nameless(path, table))
    except (OSError, pa.ArrowException, UnicodeError, csv.Error, ValueError) as error:
        words = " ".join(str(error).split())[:WORDS_OF_ERROR]
        raise DataError(
            f"{path} cannot be read as metadata: {words or type(error).__name__}",
            remedy="Give UTF-8 CSV with a header line, JSON lines, or Parquet.",
        ) from error


def _with_names(path: Path, table: pa.Table) -> pa.Table:
    if "file_name" not in table.column_names:
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


def _refuse_repeated(names: Sequence[str]) -> None:
    repeated = [name for name, count in Counter(names).items() if count > 1 and name]
    if repeated:
        raise ValueError(f"it has several columns {repeated[0]}")


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


def _with_item_columns_as_text(table: pa.Table) -> pa.Table:
    for index, name in enumerate(table.column_names):
        if name not in ITEM_COLUMNS:
            continue
        kind = table.schema.field(index).type
        if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            raise ValueError(f"its column {name} holds {kind}; wanted text or numbers")
        table = table.set_column(index, name, table[name].cast(pa.string()))
    return table


def _parse(path: Path) -> pa.Table:
    if path.suffix == ".parquet":
        return pa.Table.from_batches([], pa.schema([])) if not path.stat().st_size else _plain(_read_parquet(path))
    if path.suffix in {".jsonl", ".json"}:
        return _plain(_read_json(path))
    if path.suffix not in {".csv", ".tsv"}:
        raise ValueError(f"unknown kind of metadata file: {path.suffix or 'no suffix'}")
    return _read_csv(path, "\t" if path.suffix == ".tsv" else ",")


def _read_json(path: Path) -> pa.Table:
    """Names, ids and splits that are text stay it: Arrow would take some for moments."""
    texts = pa.schema([(name, pa.string()) for name in ITEM_COLUMNS])
    try:
        table = pa.json.read_json(path, parse_options=pa.json.ParseOptions(explicit_schema=texts))
    except pa.ArrowInvalid:  # numbers, or something else that is wrong
        return pa.json.read_json(path)
    return table.select([n for n in table.column_names if n not in ITEM_COLUMNS or table[n].null_count < len(table)])


def _read_parquet(path: Path) -> pa.Table:
    with pa.parquet.ParquetFile(path) as file:
        _refuse_repeated(file.schema_arrow.names)
        return file.read()


def _read_csv(path: Path, delimiter: str) -> pa.Table:
    with path.open(encoding="utf-8-sig", errors="backslashreplace", newline="") as file:
        names = next(csv.reader(file, delimiter=delimiter), [])
    _refuse_repeated(names)
    if not names:
        raise ValueError("Empty CSV file")
    nameless = [name or f"\0{index}" for index, name in enumerate(names)]  # Arrow wants names that differ
    table = pa.csv.read_csv(
        path,
        read_options=pa.csv.ReadOptions(column_names=nameless, skip_rows=0, skip_rows_after_names=1),
        parse_options=pa.csv.ParseOptions(newlines_in_values=True, delimiter=delimiter),
        convert_options=pa.csv.ConvertOptions(
            column_types=dict.fromkeys(nameless, pa.binary()), strings_can_be_null=True, null_values=[""]
        ),
    )
    columns = [_decoded(name, column) for name, column in zip(names, table.columns, strict=True)]
    typed = [column if name in ITEM_COLUMNS else _typed(column) for name, column in zip(names, columns, strict=True)]
    return pa.Table.from_arrays(typed, names=names)


def _decoded(name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    try:
        return column.cast(pa.string())
    except pa.ArrowInvalid as error:
        raise ValueError(f"column {name} is not UTF-8") from error


def _typed(column: pa.ChunkedArray) -> pa.ChunkedArray:
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


def _plain(table: pa.Table) -> pa.Table:
    """Columns in types that the table stores and Python shows: views and dictionaries as what they stand for."""
    for index, field in enumerate(table.schema):
        column = table.column(index)
        for is_it, plain in PLAIN_TYPES:
            if is_it(field.type):
                column = plain(column)
        if column.type != field.type:
            table = table.set_column(index, field.name, column)
    return table


def _to_microseconds(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Moments and durations in microseconds; where that would cost digits, in words and as nanoseconds."""
    kind = column.type
    try:
        return column.cast(pa.timestamp("us", kind.tz) if pa.types.is_timestamp(kind) else pa.duration("us"))
    except pa.ArrowInvalid:
        return column.cast(pa.string() if pa.types.is_timestamp(kind) else pa.int64())


def _in_range(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Moments and days of the years 1 to 9999, which Python knows; in words where there are others."""
    unit = {"s": 1, "ms": 10**3, "us": 10**6}.get(getattr(column.type, "unit", ""), 1 / 86_400)
    found = pc.min_max(column.cast(pa.int64() if pa.types.is_timestamp(column.type) else pa.int32()).cast(pa.int64()))
    low, high = found["min"].as_py(), found["max"].as_py()
    if low is None or (low >= FIRST_S * unit and high <= LAST_S * unit):
        return column
    return column.cast(pa.string())


PLAIN_TYPES: tuple[tuple[Callable[[pa.DataType], bool], Callable[[pa.ChunkedArray], pa.ChunkedArray]], ...] = (
    (pa.types.is_dictionary, lambda column: column.cast(column.type.value_type)),
    (pa.types.is_run_end_encoded, lambda column: column.cast(column.type.value_type)),
    (pa.types.is_string_view, lambda column: column.cast(pa.string())),
    (pa.types.is_binary_view, lambda column: column.cast(pa.binary())),
    (lambda kind: pa.types.is_timestamp(kind) and kind.unit == "ns", _to_microseconds),
    (lambda kind: pa.types.is_duration(kind) and kind.unit == "ns", _to_microseconds),
    (lambda kind: pa.types.is_date32(kind) or (pa.types.is_timestamp(kind) and kind.unit != "ns"), _in_range),
)

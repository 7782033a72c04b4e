"""CSV files to columns of text, whose types are guessed when the columns of all files are together."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import pyarrow as pa
import pyarrow.csv

from pinembed.catalogue.candidates import is_text

if TYPE_CHECKING:
    from _csv import Reader as Lines

UNTYPED = {b"untyped": b"1"}
"""Mark of a column out of a CSV, before its text is looked at."""
SHOWN_LINES = 5
MOST_CELL_CHARS = 2**31 - 1  # by default Python's reader takes 128 KiB for too much


def read_csv(path: Path, delimiter: str, typed: Collection[str], notes: list[str]) -> pa.Table:
    """Every column as text, marked UNTYPED but for those in `typed`.

    Cells that a row lacks at its end are empty. A row of too many cells cannot be told from one whose text holds a
    delimiter without quotes, so that its values may stand under the wrong names: it is left out.

    Args:
        path: the file, in UTF-8.
        delimiter: of the cells.
        typed: columns that are text whatever they hold.
        notes: gets a sentence about the rows that are left out.

    Raises:
        ValueError: no header, a name twice in it, bytes that are not UTF-8, or a quote that is never closed.
        pa.ArrowException: no CSV.
    """
    names, blank, has_rows = _header(path, delimiter)
    refuse_repeated(names)
    if not all(map(is_text, names)):
        raise ValueError("the header is not UTF-8")
    schema = pa.schema([pa.field(name, pa.string(), metadata=None if name in typed else UNTYPED) for name in names])
    if not has_rows:
        return schema.empty_table()
    nameless = [name or f"\0{index}" for index, name in enumerate(names)]  # Arrow wants names that differ
    try:
        table = pa.csv.read_csv(
            path,
            read_options=pa.csv.ReadOptions(column_names=nameless, skip_rows=blank, skip_rows_after_names=1),
            parse_options=pa.csv.ParseOptions(newlines_in_values=True, delimiter=delimiter),
            convert_options=pa.csv.ConvertOptions(
                column_types=dict.fromkeys(nameless, pa.binary()), strings_can_be_null=True, null_values=[""]
            ),
        )
    except pa.ArrowInvalid:  # not all rows are as long as the header; Arrow's handler of such rows wants UTF-8
        return _by_rows(path, delimiter, schema, notes)
    columns = [_decoded(name, column) for name, column in zip(names, table.columns, strict=True)]
    if any("\n" in (column[-1].as_py() or "") for column in columns):
        _refuse_open_quote(path, delimiter)
    return pa.table(columns, schema=schema)


def _lines(file: TextIO, delimiter: str, *, strict: bool = False) -> Lines:
    csv.field_size_limit(MOST_CELL_CHARS)  # one for the process, which other readers set too
    return csv.reader(file, delimiter=delimiter, strict=strict)


def refuse_repeated(names: Sequence[str]) -> None:
    """Let no column be there twice.

    Raises:
        ValueError: one is.
    """
    repeated = [name for name, count in Counter(names).items() if count > 1 and name]
    if repeated:
        raise ValueError(f"it has several columns {repeated[0]}")


def _header(path: Path, delimiter: str) -> tuple[list[str], int, bool]:
    """The names, how many blank lines are before them, and whether anything is behind them."""
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        lines = _lines(file, delimiter)
        blank = 0
        while (names := next(lines, None)) == []:
            blank += 1
        if names is None:
            raise ValueError("Empty CSV file")
        return names, blank, any(line.strip("\r\n") for line in file)


def _by_rows(path: Path, delimiter: str, schema: pa.Schema, notes: list[str]) -> pa.Table:
    """A file whose rows are not all as long as its header, by Python's reader: Arrow's knows no lines of rows."""
    _refuse_open_quote(path, delimiter)
    too_long: list[int] = []
    rows = list(_padded(path, delimiter, len(schema), too_long))
    if too_long:
        lines = ", ".join(map(str, too_long[:SHOWN_LINES])) + (", ..." if len(too_long) > SHOWN_LINES else "")
        notes.append(
            f"{path}: {len(too_long)} row(s) have more cells than the header's {len(schema)} and are left out, on "
            f"line(s) {lines}. Put quotes around text that holds {delimiter!r}."
        )
    columns = [pa.array([row[index] or None for row in rows], pa.string()) for index in range(len(schema))]
    return pa.table(columns, schema=schema)


def _refuse_open_quote(path: Path, delimiter: str) -> None:
    """Let no rows be read as the text of a cell whose quote is never closed, as Arrow's reader does."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = _lines(file, delimiter, strict=True)
        last = 0
        try:
            for _ in lines:
                last = lines.line_num
        except csv.Error as error:
            if "end of data" in str(error):
                raise ValueError(f"the quote that opens on line {last + 1} is never closed") from error


def _padded(path: Path, delimiter: str, wanted: int, too_long: list[int]) -> Iterator[list[str]]:
    """Rows of as many cells as wanted; lines of longer ones, unless only empty cells are too many, go to `too_long`."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = _lines(file, delimiter)
        next(row for row in lines if row)
        last = lines.line_num
        for row in lines:
            first, last = last + 1, lines.line_num
            if any(row[wanted:]):
                too_long.append(first)
            elif row:
                yield row[:wanted] + [""] * (wanted - len(row))


def _decoded(name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    try:
        return column.cast(pa.string())
    except pa.ArrowInvalid as error:
        raise ValueError(f"column {name} is not UTF-8") from error

"""What a metadata file says, by the plainest reader, and whether what a table holds is that: for the tests of loss."""

from __future__ import annotations

import csv
import datetime
import io
import itertools
import json
import math
import re
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]\d{1,2})?")
"""Text that may become a number: nothing of it is lost but zeros at its end."""
NANOSECONDS_A_MICROSECOND = 1000


class Moment(NamedTuple):
    """A time or duration in nanoseconds, which Python's own types cannot hold; and as Arrow writes it."""

    nanoseconds: int
    words: str


def rows_in(content: bytes, kind: str) -> list[dict[str, Any]]:
    """The rows of a file that encode took; `kind` is its suffix."""
    if kind == "parquet":
        table = pq.read_table(io.BytesIO(content))
        columns = [_values(column) for column in table.columns]
        return [dict(zip(table.column_names, row, strict=True)) for row in zip(*columns, strict=True)]
    text = content.decode("utf-8-sig")
    if kind == "jsonl":
        return [json.loads(line) for line in text.split("\n") if line.strip()]
    header, *rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
    whole = [row for row in rows if not any(row[len(header) :])]  # longer ones are left out, told by their lines
    return [
        {name: cell for name, cell in itertools.zip_longest(header, row[: len(header)], fillvalue="") if name}
        for row in whole
    ]


def _values(column: pa.ChunkedArray) -> list[Any]:
    if not (pa.types.is_timestamp(column.type) or pa.types.is_duration(column.type)):
        return column.to_pylist()
    numbers = column.cast(pa.int64())
    words = column.cast(pa.string()) if pa.types.is_timestamp(column.type) else numbers.cast(pa.string())
    pairs = zip(numbers.to_pylist(), words.to_pylist(), strict=True)
    return [None if number is None else Moment(number, text) for number, text in pairs]


def stands_for(stored: Any, value: Any) -> bool:
    """Whether a stored value is what was written, in the type of its column."""
    if value is None or value == "":
        return stored in (None, "")
    if isinstance(value, float) and math.isnan(value):
        return stored is None or stored != stored or stored in ("", "NaN", "nan")
    if value == {}:  # which a table cannot have: it is an object whose fields are all missing, or nothing
        known = json.loads(stored) if isinstance(stored, str) and stored.startswith("{") else stored
        return known is None or (isinstance(known, dict) and not any(known.values()))
    if stored is None:
        return False
    if isinstance(value, Moment):
        return _is_moment(stored, value)
    if isinstance(value, dict) and isinstance(stored, dict):
        return all(stands_for(stored.get(name), part) for name, part in value.items())
    if isinstance(stored, str):
        return stored in _texts_of(value)
    if isinstance(value, str):
        return _is_text_of(value, stored)
    return bool(stored == value)


def _is_moment(stored: Any, moment: Moment) -> bool:
    whole, rest = divmod(moment.nanoseconds, NANOSECONDS_A_MICROSECOND)
    duration = datetime.timedelta(microseconds=whole)
    if isinstance(stored, datetime.timedelta):
        return not rest and stored == duration
    if isinstance(stored, datetime.datetime):
        return not rest and stored.replace(tzinfo=None) == datetime.datetime(1970, 1, 1) + duration
    if isinstance(stored, np.timedelta64 | int | float):  # a duration that Python does not know is its nanoseconds
        return bool(stored == moment.nanoseconds)
    in_python = {str(duration), str(datetime.datetime(1970, 1, 1) + duration)} if not rest else set()
    return stored in {moment.words, *in_python}


def _texts_of(value: Any) -> set[str]:
    """All ways in which a text column may hold a value."""
    if isinstance(value, bytes):
        return {value.decode("utf-8", "replace")} - {"\ufffd"}
    texts = {json.dumps(value, ensure_ascii=False)}
    if not isinstance(value, list | dict):
        texts |= {str(value), " ".join(str(value).split())}
    return {text.encode("utf-8", "backslashreplace").decode() for text in texts}


def _is_text_of(text: str, stored: Any) -> bool:
    """Whether text became a value of another type without a loss: no code a number, no number a rounded one."""
    if isinstance(stored, bytes):
        return stored == text.encode()
    if isinstance(stored, bool):
        return text.lower() in ({"true", "1"} if stored else {"false", "0"})
    if isinstance(stored, int):
        return text == str(stored) or (text == "-0" and stored == 0)
    if isinstance(stored, float):
        if math.isnan(stored):
            return text.lower() == "nan"
        return bool(NUMBER.fullmatch(text)) and float(text) == stored and ("." in text or int(float(text)) == stored)
    if isinstance(stored, datetime.datetime):
        return datetime.datetime.fromisoformat(text) == stored
    return str(stored) == text

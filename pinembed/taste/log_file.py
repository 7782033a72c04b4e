"""Reading a log of events: CSV, JSON Lines (both also as .gz) or Parquet, a batch at a time, from where it was left.

A cursor is the number of bytes that were read of a log and their SHA-256. A file that begins with these bytes is that
log, whatever its name is now: one that was copied, rotated or read before costs one pass of hashing, and of one that
grew only the end is parsed. Text logs hold one event a line.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from pinembed.errors import DataError
from pinembed.taste.event import FUTURE_US, Event, Kinds, parse_time_us
from pinembed.taste.parquet_rows import Unreadable, rows_of

COLUMNS = ("user", "item", "kind", "time")
OPTIONAL = ("board", "id")
TEXT_FORMATS = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
BATCH_EVENTS = 200_000
HASH_BYTES = 1 << 20
NAMED_ROWS = 20


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a log was read.

    Attributes:
        size_bytes: that were read, uncompressed.
        sha256: of these bytes.
    """

    size_bytes: int
    sha256: str


@dataclass(kw_only=True, slots=True)
class BadRows:
    """Rows of logs that are no events.

    Attributes:
        reasons: number by class: `encoding`, `json`, `columns`, `user`, `item`, `kind`, `time`, `future`.
        named: the first ones, in words.
    """

    reasons: dict[str, int] = field(default_factory=dict)
    named: list[str] = field(default_factory=list)

    def add(self, reason: str, place: tuple[str, int], found: str) -> None:
        self.reasons[reason] = self.reasons.get(reason, 0) + 1
        if len(self.named) < NAMED_ROWS:
            self.named.append(f"{place[0]}:{place[1]}: {found}")


@dataclass(frozen=True, kw_only=True, slots=True)
class LogBatch:
    """Events of a log in its order, and the cursor that stands after them."""

    events: list[Event]
    cursor: Cursor


class RowError(Exception):
    """A row that is no event: its class, and what was found."""


@dataclass(kw_only=True)
class LogReader:
    """Reads logs.

    Attributes:
        kinds: that an event may have.
        bad: filled with the rows that are no events.
        waiting: logs whose last line has no end yet and was left for the next run.
        now_us: events more than a day after it are refused: one wrong clock would age all of a user's other events.
        batch_events: bound on memory.
    """

    kinds: Kinds
    bad: BadRows = field(default_factory=BadRows)
    waiting: list[str] = field(default_factory=list)
    now_us: int = field(default_factory=lambda: time.time_ns() // 1000)
    batch_events: int = field(default_factory=lambda: BATCH_EVENTS)

    def batches(self, path: Path, known: Sequence[Cursor]) -> Iterator[LogBatch]:
        """What a log holds beyond the longest known cursor; nothing where all of it was read.

        Raises:
            DataError: no such file, a format that is none of the three, or columns that are missing.
        """
        form = log_format(path)
        try:
            if form == "parquet":
                yield from self._parquet(path, known)
            else:
                with _open_text(path) as file:
                    yield from self._text(path, file, form, known)
        except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
            raise DataError(f"The log {path} cannot be read: {error}", remedy="Check the file.") from error

    def _text(self, path: Path, file: IO[bytes], form: str, known: Sequence[Cursor]) -> Iterator[LogBatch]:
        columns = _csv_columns(path, file) if form == "csv" else None
        lines = _Lines(file, known)
        parse: Callable[[str], Mapping[str, Any]] = (
            (lambda line: _csv_row(line, columns)) if columns is not None else _json_row
        )
        if columns is not None and lines.cursor.size_bytes == 0:
            next(lines.read(), None)  # the names of the columns
        name, events = path.name, list[Event]()
        for line in lines.read():
            self._take(events, line, parse, (name, lines.number))
            if len(events) >= self.batch_events:
                yield LogBatch(events=events, cursor=lines.cursor)
                events = []
        if lines.tail and form == "jsonl" and _is_json(lines.tail):
            self._take(events, lines.tail, parse, (name, lines.number + 1))
        elif lines.tail:
            self.waiting.append(str(path))
        if events or lines.has_moved:
            yield LogBatch(events=events, cursor=lines.cursor)

    def _parquet(self, path: Path, known: Sequence[Cursor]) -> Iterator[LogBatch]:
        """A Parquet file is written once: it was read whole or not at all."""
        with path.open("rb") as file:
            digest = _sha256(file)
        whole = Cursor(path.stat().st_size, digest)
        if whole in known:
            return
        parquet = pq.ParquetFile(path)
        names = parquet.schema_arrow.names
        _check_columns(path, names)
        wanted = [name for name in (*COLUMNS, *OPTIONAL) if name in names]
        number, begun = 0, Cursor(0, hashlib.sha256().hexdigest())
        for batch in parquet.iter_batches(batch_size=self.batch_events, columns=wanted):
            events: list[Event] = []
            for row in rows_of(batch):
                number += 1
                self._take(events, row, lambda found: found, (path.name, number))
            yield LogBatch(events=events, cursor=begun)
        yield LogBatch(events=[], cursor=whole)

    def _take(
        self, events: list[Event], row: Any, parse: Callable[[Any], Mapping[str, Any]], place: tuple[str, int]
    ) -> None:
        try:
            events.append(self._event(parse(row.decode() if isinstance(row, bytes) else row)))
        except UnicodeDecodeError:
            self.bad.add("encoding", place, "is no UTF-8")
        except RowError as error:
            self.bad.add(error.args[0], place, error.args[1])

    def _event(self, row: Mapping[str, Any]) -> Event:
        user, item, kind = (_text(row.get(name), name) for name in COLUMNS[:3])
        if kind not in self.kinds:
            raise RowError("kind", f"kind {kind!r} is none of {', '.join(self.kinds)}")
        value = row.get("time")
        try:
            time_us = parse_time_us(value)
        except (ValueError, OverflowError, OSError) as error:
            raise RowError("time", f"time {value!r} is no time") from error
        if time_us > self.now_us + FUTURE_US:
            raise RowError("future", f"time {value!r} lies in the future")
        board, event_id = (_text(row[name], name, may_be_empty=True) if row.get(name) else "" for name in OPTIONAL)
        return Event(user, item, kind, time_us, board, event_id)


def log_files(path: Path) -> list[Path]:
    """The log, or those of a folder by name.

    Raises:
        DataError: nothing there.
    """
    found = sorted(entry for entry in path.iterdir() if _format_of(entry)) if path.is_dir() else [path]
    if not found or not found[0].is_file():
        what = "holds no log" if path.is_dir() else "is no regular file" if path.exists() else "is not there"
        raise DataError(
            f"{path} {what}; wanted events as CSV, JSON Lines or Parquet.",
            remedy="Give a file with the columns user, item, kind and time, or a folder of such files.",
        )
    return found


def log_format(path: Path) -> str:
    """`csv`, `jsonl` or `parquet`.

    Raises:
        DataError: the name tells none of them.
    """
    form = _format_of(path)
    if not form:
        raise DataError(
            f"{path} is named like no log; wanted .csv, .jsonl, .ndjson or .parquet, text also with .gz.",
            remedy="Give the file such a name.",
        )
    return form


def _format_of(path: Path) -> str:
    """Of events.csv, events.csv.1 and events.csv.2.gz alike, as log rotation names them."""
    if path.name.startswith(".") or (path.exists() and not path.is_file()):
        return ""
    if ".parquet" in path.suffixes:
        return "parquet"
    return next((TEXT_FORMATS[suffix] for suffix in path.suffixes if suffix in TEXT_FORMATS), "")


def _open_text(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")


class _Lines:
    """Lines of a text log behind the longest cursor that fits, counted and hashed."""

    def __init__(self, file: IO[bytes], known: Sequence[Cursor]) -> None:
        file.seek(0)
        found = _longest(file, known)
        self._digest, self._size_bytes = hashlib.sha256(), 0
        file.seek(0)
        self.number = 0
        while self._size_bytes < found:
            chunk = file.read(min(HASH_BYTES, found - self._size_bytes))
            self.number += chunk.count(b"\n")
            self._count(chunk)
        self._file = file
        self.tail = b""
        self.has_moved = False

    @property
    def cursor(self) -> Cursor:
        return Cursor(self._size_bytes, self._digest.hexdigest())

    def read(self) -> Iterator[bytes]:
        for line in self._file:
            if not line.endswith(b"\n"):
                self.tail = line
                return
            self._count(line)
            self.number += 1
            self.has_moved = True
            if not line.isspace():
                yield line

    def _count(self, chunk: bytes) -> None:
        self._digest.update(chunk)
        self._size_bytes += len(chunk)


def _longest(file: IO[bytes], known: Sequence[Cursor]) -> int:
    """Bytes of the longest known cursor that the file begins with."""
    digest, done, found = hashlib.sha256(), 0, 0
    for cursor in sorted(known, key=lambda one: one.size_bytes):
        while done < cursor.size_bytes:
            chunk = file.read(min(HASH_BYTES, cursor.size_bytes - done))
            if not chunk:
                return found
            digest.update(chunk)
            done += len(chunk)
        if digest.copy().hexdigest() == cursor.sha256:
            found = cursor.size_bytes
    return found


def _sha256(file: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while chunk := file.read(HASH_BYTES):
        digest.update(chunk)
    return digest.hexdigest()


def _csv_columns(path: Path, file: IO[bytes]) -> list[str]:
    try:
        names = [name.strip() for name in next(csv.reader([file.readline().decode("utf-8-sig")]), [])]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"The first line of {path} names no columns: {error}", remedy="Check the file.") from error
    _check_columns(path, names)
    return names


def _check_columns(path: Path, names: Sequence[str]) -> None:
    if twice := [name for name in (*COLUMNS, *OPTIONAL) if names.count(name) > 1]:
        raise DataError(
            f"{path} has several columns {', '.join(twice)}.", remedy="Leave the one that is meant, rename the others."
        )
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        raise DataError(
            f"{path} has the columns {', '.join(names) or 'none'}; {', '.join(missing)} is missing.",
            remedy="Name the columns user, item, kind and time, and optionally board and id.",
        )


def _csv_row(line: str, columns: Sequence[str]) -> dict[str, str]:
    text = line.rstrip("\r\n")
    try:
        values = text.split(",") if '"' not in text else next(csv.reader([text], strict=True))
    except csv.Error as error:
        raise RowError("columns", f"{error!s}: {text[:80]!r}") from error
    if len(values) != len(columns):
        raise RowError("columns", f"has {len(values)} values; the first line names {len(columns)} columns")
    return dict(zip(columns, values, strict=True))


def _json_row(line: str) -> Mapping[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise RowError("json", f"is no JSON: {line[:80]!r}") from error
    if not isinstance(row, dict):
        raise RowError("json", f"is no JSON object: {line[:80]!r}")
    return row


def _is_json(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _text(value: Any, name: str, *, may_be_empty: bool = False) -> str:
    """A user, item or kind as text; whole numbers are written out, as catalogues do with ids."""
    if type(value) is str and value.isascii() and (text := value.strip()):  # nearly all of them
        return text
    if isinstance(value, float) and value.is_integer():  # as a column of numbers with a gap holds them
        value = int(value)
    if isinstance(value, bool | float | dict | list | Unreadable):
        raise RowError(name, f"{name} {value!r} is no text and no whole number")
    if isinstance(value, bytes):
        value = value.decode()
    text = "" if value is None else str(value).strip()
    if not text and not may_be_empty:
        raise RowError(name, f"{name} is empty")
    try:
        text.encode()
    except UnicodeEncodeError as error:  # half of a surrogate pair, which JSON can spell
        raise RowError(name, f"{name} {value!r} is no text") from error
    return text

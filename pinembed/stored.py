"""Records to JSON, and objects that were stored as JSON, by any version and perhaps edited since, back to records."""

from __future__ import annotations

import base64
import dataclasses
import datetime
import json
import math
import types
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from pinembed.errors import DataError

Kind = TypeVar("Kind")
NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
LONGEST_SHOWN = 60


def record_of(kind: type[Kind], stored: Any, what: str) -> Kind:
    """A dataclass of the entries of an object, whatever their values are.

    Args:
        kind: of the record.
        stored: as JSON gave it.
        what: it is, for people.

    Raises:
        ValueError: it is no object, lacks an entry or has an unknown one; a sentence.
    """
    return kind(**_entries(kind, stored, what, is_whole=False))


def typed_record_of(kind: type[Kind], stored: Any, what: str, *, is_whole: bool = False) -> Kind:
    """As `record_of`, with values that are plain or objects as the fields' types have them; lists are the caller's.

    Where it `is_whole`, every field has an entry, also one with a default.

    Raises:
        ValueError: also where a value is of another type.
    """
    found = _entries(kind, stored, what, is_whole=is_whole)
    hints = _hints(kind)  # type: ignore[arg-type]  # mypy doubts that a type can be hashed
    for name, value in found.items():
        _check(hints[name], value, f"{name} of {what}")
    return kind(**found)


def _entries(kind: type, stored: Any, what: str, *, is_whole: bool) -> Mapping[str, Any]:
    """The entries of an object, which are those of a record."""
    fields = dataclasses.fields(kind)
    found = object_of(stored, what, [field.name for field in fields])
    for field in fields:
        has_none = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if (is_whole or has_none) and field.name not in found:
            raise ValueError(f"{what} has no {field.name}")
    return found


def object_of(stored: Any, what: str, names: Sequence[str]) -> Mapping[str, Any]:
    """An object of entries that are known.

    Raises:
        ValueError: it is none, or has others.
    """
    if not isinstance(stored, Mapping):
        raise ValueError(f"{what} is {shown(stored)}; wanted an object with {', '.join(names)}")
    unknown = sorted(stored.keys() - {*names})
    if unknown:
        raise ValueError(
            f"{what} has {', '.join(unknown)}, which this version does not know; {', '.join(names)} it does"
        )
    return stored


def list_of(stored: Any, what: str) -> Sequence[Any]:
    """A list.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(stored, list | tuple):
        raise ValueError(f"{what} is {shown(stored)}; wanted a list")
    return stored


def shown(stored: Any) -> str:
    """A value as an error shows it, not at full length."""
    text = repr(stored)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


@cache
def _hints(kind: type) -> Mapping[str, Any]:
    return get_type_hints(kind)


def _check(hint: Any, value: Any, what: str) -> None:
    kinds = get_args(hint) if get_origin(hint) in {Union, types.UnionType} else (hint,)
    if value is None and type(None) in kinds:
        return
    [kind] = [kind for kind in kinds if kind is not type(None)]
    if get_origin(kind) is Mapping or get_origin(kind) is dict:
        if not isinstance(value, Mapping):
            raise ValueError(f"{what} is {shown(value)}; wanted an object")
    elif kind in NAMES:
        able = (int, float) if kind is float else kind
        if not isinstance(value, able) or (isinstance(value, bool) and kind is not bool):
            raise ValueError(f"{what} is {shown(value)}; wanted {NAMES[kind]}")


def lines_of(path: Path) -> list[str]:
    """The lines of a file of JSON lines.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8").split("\n")  # a text may hold other ends of lines, such as U+2028
    except (OSError, UnicodeError) as error:
        raise DataError(f"{path} cannot be read: {error}", remedy="Give UTF-8 JSON lines.") from error


def value_in(line: str, *, origin: str, wanted: str) -> Any:
    """What a line of JSON holds.

    Args:
        line: of a file.
        origin: where it stands, for people.
        wanted: what it should hold, for people.

    Raises:
        DataError: it is no JSON, or brackets in brackets without end.
    """
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{origin} is no JSON: {error}; {wanted}.", remedy="Write one JSON object a line.") from error


def fields_of(record: Any) -> dict[str, Any]:
    """The fields of a dataclass by name, as they are."""
    return {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}


def plain(value: Any) -> Any:
    """Records to JSON values: dataclasses to objects, NaN to null, moments in ISO 8601, durations in seconds.

    Bytes become Base64, and whatever else JSON does not know its text, as a path or a decimal has one.
    """
    if hasattr(value, "to_json"):
        return plain(value.to_json())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain(fields_of(value))
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value if value is None or isinstance(value, str | int | float) else str(value)

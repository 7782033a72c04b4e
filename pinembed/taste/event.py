"""Event: one thing that a user did with an item, as a log tells it and as the event table keeps it; and its kind."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

from pinembed.errors import DataError

SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US
MILLISECONDS_FROM, MICROSECONDS_FROM = 1e11, 1e14  # as seconds these would lie after the year 5000
EARLIEST_US = 0
FUTURE_US = DAY_US  # what clocks of other time zones may be ahead

Kinds = Mapping[str, float]
"""Weight by kind: above 0 the user likes the item, 0 only saw it, below 0 wants no more of it."""
KINDS: Kinds = {"view": 0.25, "click": 0.5, "save": 1.0, "purchase": 1.5, "hide": -1.0}
ENGAGED = 0.5
"""From this weight on an event is a choice of the item, which enters interests and the graph; less was only seen."""
DECIDED = 1.5
"""From this weight on an event is a decision for the item."""


class Event(NamedTuple):
    """One event.

    Attributes:
        time_us: microseconds since 1970 in UTC.
        board: that the user put the item on; empty where there is none.
        id: that the log gives it; empty where it gives none.
    """

    user: str
    item: str
    kind: str
    time_us: int
    board: str = ""
    id: str = ""

    @property
    def key(self) -> int:
        """What makes it the same event wherever it is read again: its id, or all that is known of it.

        64 bits of BLAKE2b; among 10 million events two share them by chance once in 370,000 logs.
        """
        user, item, kind, time_us, board, event_id = self
        if event_id:
            told = f"id\x1f{event_id}"
        else:  # with lengths, so that no text can pretend to be two
            told = f"{len(user)},{len(item)},{len(kind)},{time_us}\x1f{user}{item}{kind}{board}"
        digest = hashlib.blake2b(told.encode(), digest_size=8).digest()
        return int.from_bytes(digest, "little", signed=True)


def read_kinds(path: Path | None) -> Kinds:
    """The five kinds, and those of a JSON file `{"wishlist": 1.0, "share": 0.8}`, which win.

    Raises:
        DataError: the file cannot be read, or holds something else than weights.
    """
    if path is None:
        return KINDS
    try:
        own = json.loads(path.read_text(encoding="utf-8"))
        weights = {str(kind): float(weight) for kind, weight in own.items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise DataError(
            f"--kinds {path} is no file of kinds: {error}.", remedy='Write JSON, such as {"wishlist": 1.0}.'
        ) from error
    odd = [kind for kind, weight in weights.items() if not kind or not math.isfinite(weight)]
    if odd:
        raise DataError(
            f"--kinds {path} gives {odd[0]!r} no finite weight or no name.", remedy="Give each kind a number."
        )
    return {**KINDS, **weights}


def parse_time_us(value: Any) -> int:
    """Microseconds since 1970.

    Args:
        value: seconds, milliseconds or microseconds since 1970, told apart by their size; ISO 8601; or a datetime.
            A time without a zone is UTC.

    Raises:
        ValueError: no time, or one before 1970.
    """
    if type(value) is str and value.isdecimal() and value.isascii():  # nearly all of them
        value = int(value)
    found = value if isinstance(value, datetime) else _number_or_moment(value)
    if isinstance(found, datetime):
        aware = found if found.tzinfo is not None else found.replace(tzinfo=timezone.utc)
        found = aware.timestamp()
    scale = 1 if found >= MICROSECONDS_FROM else 1000 if found >= MILLISECONDS_FROM else SECOND_US
    time_us = round(found * scale)
    if time_us < EARLIEST_US:
        raise ValueError("before 1970")
    return time_us


def shown_time(time_us: int) -> str:
    """Microseconds since 1970 as ISO 8601 in UTC, to the second."""
    return datetime.fromtimestamp(time_us / SECOND_US, timezone.utc).isoformat(timespec="seconds")


def _number_or_moment(value: Any) -> float | datetime:
    if isinstance(value, bool) or value is None:
        raise ValueError("no time")
    if isinstance(value, int | float):
        return _finite(value)
    text = str(value).strip()
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return _finite(float(text))
    except ValueError:
        return datetime.fromisoformat(text.replace("Z", "+00:00"))


def _finite(value: float) -> float:
    if value - value != 0:
        raise ValueError("no finite number")
    return value

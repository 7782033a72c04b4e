"""Users' events -> their histories: each item once, with how much they like it, and what they do not want.

Many users are worked on at once, in columns; one is a `History`.

Legend: U users, M events, E items of users.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pinembed.taste.columns import Ints, codes, encoded, places, run_of, sorted_codes, starts
from pinembed.taste.event import ENGAGED, SECOND_US, Event, Kinds

HOUR_US = 3600 * SECOND_US
MOST_PER_HOUR = 1000
"""Events of one user in one hour of the clock that count: one in four seconds."""
TOLD_SCHEMA = pa.schema(
    [
        ("user", pa.string()),
        ("item", pa.string()),
        ("kind", pa.string()),
        ("time", pa.int64()),
        ("board", pa.string()),
        ("key", pa.int64()),
    ]
)
"""What histories are worked out of; time in microseconds since 1970."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Touched:
    """An item in a user's history.

    Attributes:
        weight: of the strongest event since the user last hid it; below 0 while it is hidden.
        time_us: of the last event.
        events: how many, those that only say it was seen included.
        board: of the last event that names one.
    """

    item: str
    weight: float
    time_us: int
    events: int
    board: str = ""

    @property
    def is_liked(self) -> bool:
        """The user chose it; it enters interests and the graph."""
        return self.weight >= ENGAGED


@dataclass(frozen=True, kw_only=True, slots=True)
class History:
    """What a user did.

    Attributes:
        touched: items, the one of the latest event last.
        events: that count.
        capped: events beyond what one user does in an hour; they do not count.
    """

    user: str
    touched: tuple[Touched, ...]
    events: int
    capped: int

    @property
    def liked(self) -> list[Touched]:
        return [found for found in self.touched if found.is_liked]

    @property
    def last_us(self) -> int:
        return self.touched[-1].time_us if self.touched else 0


@dataclass(frozen=True, kw_only=True)
class Histories:
    """Histories of many users in columns; the items of a user stand together, the one of the latest event last.

    Attributes:
        users: names, in order.
        events_U: that count.
        capped_U: that do not.
        start_U: where the items of each user begin, and where those of the last end, (U + 1,).
        item: ids, with codes.
        board: names, with codes; empty where there is none.
        weight_E: as `Touched` has it, and so are the others.
        time_us_E: of the last event.
        events_E: how many.
    """

    users: tuple[str, ...]
    events_U: Ints
    capped_U: Ints
    start_U: Ints
    item: pa.DictionaryArray
    board: pa.DictionaryArray
    weight_E: NDArray[np.float64]
    time_us_E: Ints
    events_E: Ints

    @property
    def user_E(self) -> Ints:
        """Number of the user of each item."""
        return np.repeat(np.arange(len(self.users)), np.diff(self.start_U))

    @property
    def last_us_U(self) -> Ints:
        """Time of each user's last event that counts; 0 without any."""
        last = np.maximum(self.start_U[1:] - 1, 0)
        has_any = np.diff(self.start_U) > 0
        return np.where(has_any, self.time_us_E[last] if len(self.time_us_E) else 0, 0)

    def each(self) -> list[History]:
        """One by one."""
        items, boards = self.item.to_pylist(), self.board.to_pylist()
        columns = zip(
            items, self.weight_E.tolist(), self.time_us_E.tolist(), self.events_E.tolist(), boards, strict=True
        )
        touched = [
            Touched(item=item, weight=weight, time_us=time_us, events=events, board=board)
            for item, weight, time_us, events, board in columns
        ]
        starts = self.start_U.tolist()
        return [
            History(user=user, touched=tuple(touched[start:end]), events=events, capped=capped)
            for user, start, end, events, capped in zip(
                self.users, starts, starts[1:], self.events_U.tolist(), self.capped_U.tolist(), strict=False
            )
        ]


def told_of(events: Iterable[Event]) -> pa.Table:
    """Events as the rows that histories are worked out of."""
    rows = [(event.user, event.item, event.kind, event.time_us, event.board, event.key) for event in events]
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(TOLD_SCHEMA)
    return pa.table(
        [pa.array(column, kind) for column, kind in zip(columns, TOLD_SCHEMA.types, strict=True)], TOLD_SCHEMA
    )


def history_of(user: str, events: Iterable[Event], kinds: Kinds) -> History:
    """The history that a user's events make, in whatever order they come."""
    return histories_of(told_of(events), kinds, users=[user]).each()[0]


def histories_of(told: pa.Table, kinds: Kinds, *, users: Sequence[str] | None = None) -> Histories:
    """The histories that a set of events makes, in whatever order they were stored.

    Args:
        told: events of `TOLD_SCHEMA`, all of the users in it.
        kinds: weights; an event of a kind that is none any more counts as seen.
        users: in order; by default those who have events.
    """
    names, user_M = sorted_codes(told["user"])
    item, board = (encoded(told[name]) for name in ("item", "board"))
    kind = encoded(told["kind"])
    weight_of = np.array([kinds.get(name, 0.0) for name in kind.dictionary.to_pylist()])
    time_us_M = told["time"].to_numpy()
    order_M = np.lexsort((told["key"].to_numpy(), time_us_M, user_M))
    user_M, time_us_M = user_M[order_M], time_us_M[order_M]
    counts_M = places(user_M, time_us_M // HOUR_US) < MOST_PER_HOUR
    kept_M = order_M[counts_M]
    found = _Touches(
        user_M=user_M[counts_M],
        item_M=codes(item)[kept_M],
        board_M=codes(board)[kept_M],
        has_board_M=np.array([bool(name) for name in board.dictionary.to_pylist()], bool)[codes(board)[kept_M]],
        weight_M=weight_of[codes(kind)[kept_M]],
        time_us_M=time_us_M[counts_M],
    ).joined()
    wanted = tuple(names if users is None else users)
    place = {name: number for number, name in enumerate(wanted)}
    number_of = np.array([place[name] for name in names], np.int64)
    items_U, events_U, all_U = (
        np.bincount(number_of[user], minlength=len(wanted)) for user in (found.user_E, user_M[counts_M], user_M)
    )
    return Histories(
        users=wanted,
        events_U=events_U,
        capped_U=all_U - events_U,
        start_U=np.r_[0, np.cumsum(items_U)],
        item=_decoded(found.item_E, item),
        board=_decoded(found.board_E, board),
        weight_E=found.weight_E,
        time_us_E=found.time_us_E,
        events_E=found.events_E,
    )


@dataclass(frozen=True, kw_only=True)
class _Joined:
    """One entry for each item of a user, in the order of users and of last events; a board of -1 is none."""

    user_E: Ints
    item_E: Ints
    board_E: Ints
    weight_E: NDArray[np.float64]
    time_us_E: Ints
    events_E: Ints


@dataclass(frozen=True, kw_only=True)
class _Touches:
    """Events that count, in the order of users and of time."""

    user_M: Ints
    item_M: Ints
    board_M: Ints
    has_board_M: NDArray[np.bool_]
    weight_M: NDArray[np.float64]
    time_us_M: Ints

    def joined(self) -> _Joined:
        """All events with an item made one entry."""
        order_M = np.lexsort((self.item_M, self.user_M))  # stable: an item's events stay in the order of time
        start_E = starts(self.user_M[order_M], self.item_M[order_M])
        if not len(start_E):
            empty = np.empty(0, np.int64)
            weights = np.empty(0)
            return _Joined(user_E=empty, item_E=empty, board_E=empty, weight_E=weights, time_us_E=empty, events_E=empty)
        events_E = np.diff(np.r_[start_E, len(order_M)])
        last_E = order_M[start_E + events_E - 1]
        entry_M = run_of(start_E, len(order_M))
        with_board_E = np.maximum.reduceat(np.where(self.has_board_M[order_M], np.arange(len(order_M)), -1), start_E)
        board_E = np.where(with_board_E >= 0, self.board_M[order_M[with_board_E]], -1)
        weight_E = _weights(self.weight_M[order_M], start_E, entry_M)
        by_time_E = np.argsort(last_E)  # positions among all events, which are in the order of users and of time
        return _Joined(
            user_E=self.user_M[last_E][by_time_E],
            item_E=self.item_M[last_E][by_time_E],
            board_E=board_E[by_time_E],
            weight_E=weight_E[by_time_E],
            time_us_E=self.time_us_M[last_E][by_time_E],
            events_E=events_E[by_time_E],
        )


def _weights(weight_M: NDArray[np.float64], start_E: Ints, entry_M: Ints) -> NDArray[np.float64]:
    """Of each item: the strongest event since it was last hidden, which only choosing it takes back.

    Args:
        weight_M: of events, those of an item together and in the order of time.
        start_E: where each item's begin.
        entry_M: number of the item of each.
    """
    place_M = np.arange(len(weight_M))
    hidden_E = np.maximum.reduceat(np.where(weight_M < 0, place_M, -1), start_E)
    since_M = np.where(place_M > hidden_E[entry_M], weight_M, -np.inf)
    strongest_E = np.maximum.reduceat(since_M, start_E)
    is_hidden_E = (hidden_E >= 0) & (strongest_E < ENGAGED)
    weight_E: NDArray[np.float64] = np.where(is_hidden_E, weight_M[hidden_E], strongest_E)
    return weight_E


def _decoded(code_E: Ints, values: pa.DictionaryArray) -> pa.DictionaryArray:
    """Values by code; the empty text for -1."""
    dictionary = pa.concat_arrays([values.dictionary, pa.array([""], pa.string())])
    code_E = np.where(code_E < 0, len(dictionary) - 1, code_E)
    return pa.DictionaryArray.from_arrays(pa.array(code_E, pa.int32()), dictionary)

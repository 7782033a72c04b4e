"""A user's events -> their history: each item once, with how much they like it, and what they do not want."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pinembed.taste.event import SECOND_US
from pinembed.taste.kinds import DECIDED, ENGAGED, Kinds

HOUR_US = 3600 * SECOND_US
Told = tuple[int, int, str, str, str]
"""time_us, key, item, kind and board of an event."""
MOST_PER_HOUR = 1000
"""Events of one user in one hour of the clock that count: one in four seconds."""


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

    @property
    def is_decided(self) -> bool:
        return self.weight >= DECIDED


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


def history_of(user: str, events: Sequence[Told], kinds: Kinds) -> History:
    """The history that a set of events makes, in whatever order they were stored.

    Args:
        user: whose they are.
        events: of this user.
        kinds: weights; an event of a kind that is none any more counts as seen.
    """
    per_hour: Counter[int] = Counter()
    touched: dict[str, Touched] = {}
    counted = 0
    for time_us, _, item, kind, board in sorted(events):
        hour = time_us // HOUR_US
        per_hour[hour] += 1
        if per_hour[hour] > MOST_PER_HOUR:
            continue
        counted += 1
        before = touched.pop(item, None)  # the item moves to the end
        touched[item] = _after(before, item, kinds.get(kind, 0.0), time_us, board)
    return History(user=user, touched=tuple(touched.values()), events=counted, capped=len(events) - counted)


def _after(before: Touched | None, item: str, weight: float, time_us: int, board: str) -> Touched:
    if before is None:
        return Touched(item=item, weight=weight, time_us=time_us, events=1, board=board)
    if weight >= 0:
        # being seen again does not bring a hidden item back, choosing it does
        weight = before.weight if before.weight < 0 and weight < ENGAGED else max(before.weight, weight)
    return Touched(item=item, weight=weight, time_us=time_us, events=before.events + 1, board=board or before.board)

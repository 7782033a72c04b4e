"""What is chosen now: the choices of the last 30 days, and what the season makes of them.

What followed the same date in earlier years, against what came before it, tells how an item's share will change with
the season. Few choices tell little: the ratio is shrunk towards none at all as far as the items of this log differ no
more than chance makes them differ, so that a log without seasons, or of less than a year, has none.

Legend: I items.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from pinembed.taste.columns import Ints
from pinembed.taste.event import DAY_US

RECENT_DAYS = 30
YEAR_US = int(365.25 * DAY_US)
WINDOW_US = RECENT_DAYS * DAY_US
SURE = 2.0
Shares = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Popularity:
    """How many users each item has.

    Attributes:
        users_I: who did not hide it.
        chosen_I: who chose it.
        recent_I: who chose it in the last 30 days of the log.
        before_I: who chose it in the 30 days before this date, in earlier years.
        after_I: and in the 30 days after it.
    """

    users_I: Ints
    chosen_I: Ints
    recent_I: Ints
    before_I: Ints
    after_I: Ints

    def added_to(self, before: Popularity) -> Popularity:
        """With the users that were counted before, when fewer items were known."""
        new = len(self.users_I) - len(before.users_I)
        return Popularity(**{name: getattr(self, name) + np.pad(getattr(before, name), (0, new)) for name in COUNTS})

    def in_order(self, order_I: Ints) -> Popularity:
        """With the items in this order."""
        return Popularity(**{name: getattr(self, name)[order_I] for name in COUNTS})


COUNTS = tuple(field.name for field in fields(Popularity))


def count_popularity(
    item_E: Ints, time_us_E: Ints, is_seen_E: Flags, is_chosen_E: Flags, *, items: int, latest_us: int
) -> Popularity:
    """Count items of users.

    Args:
        item_E: number of the item.
        time_us_E: of the user's last event with it.
        is_seen_E: it is not hidden.
        is_chosen_E: it is liked.
        items: how many there are.
        latest_us: time of the log's last event.
    """
    age_us_E = latest_us - time_us_E
    before_us_E = (age_us_E + WINDOW_US) % YEAR_US - WINDOW_US  # the nearest same date; negative for after it
    is_earlier_E = is_chosen_E & (age_us_E > WINDOW_US)
    windows = (
        is_seen_E,
        is_chosen_E,
        is_chosen_E & (age_us_E <= WINDOW_US),
        is_earlier_E & (before_us_E > 0) & (before_us_E <= WINDOW_US),
        is_earlier_E & (before_us_E <= 0),
    )
    users_I, chosen_I, recent_I, before_I, after_I = (
        np.bincount(item_E[is_in_E], minlength=items) for is_in_E in windows
    )
    return Popularity(users_I=users_I, chosen_I=chosen_I, recent_I=recent_I, before_I=before_I, after_I=after_I)


def seasonal(before_I: Ints, after_I: Ints) -> Shares:
    """By how much an item's share grows with the season, (I,); 1 where nothing is known.

    The choices of an item in both windows are a sample of how they fall before and after; how far the items differ
    beyond chance is told by the method of moments for the beta-binomial distribution.
    """
    both_I = before_I + after_I
    if not before_I.sum() or not after_I.sum():
        return np.ones(len(before_I))
    mean = after_I.sum() / both_I.sum()
    chance = mean * (1 - mean)
    beyond = float((np.square(after_I - both_I * mean) - both_I * chance).sum())
    spread = beyond / max(float((both_I * (both_I - 1)).sum()), 1.0)
    if spread <= 0:
        return np.ones(len(before_I))
    strength = max(chance / spread - 1, 1.0)  # choices that the mean weighs as much as
    share_I = (after_I + strength * mean) / (both_I + strength)
    ratio_I: Shares = share_I / (1 - share_I) / (mean / (1 - mean))
    return ratio_I


def forecast(recent_I: Ints, before_I: Ints, after_I: Ints) -> Shares:
    """Choices of each item to be expected of the next days, in those of the last 30 days, (I,)."""
    return recent_I * seasonal(before_I, after_I)


def drift_of(chosen_I: Ints, recent_I: Ints) -> float:
    """Share of the choices of the last 30 days, 0 to 1, that lie on items which are chosen oftener than before.

    What two standard deviations of chance explain does not count, so that a log that stays as it is has next to none.
    """
    recent, ever = int(recent_I.sum()), int(chosen_I.sum())
    if not recent:
        return 0.0
    expected_I = chosen_I * (recent / ever)
    beyond_I = recent_I - expected_I - SURE * np.sqrt(expected_I)
    return float(np.maximum(beyond_I, 0).sum() / recent)

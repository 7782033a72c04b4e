"""Drift: how far what users chose lately lies from what they chose before."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from pinembed.taste.user_table import User

FEWEST_ITEMS = 8
LATEST_SHARE = 4
MOVED = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Drift:
    """Of all users with 8 liked items or more.

    Attributes:
        users: how many these are.
        mean: of `drift_of`; NaN without any.
        moved: share of them whose drift is over a half.
    """

    users: int
    mean: float
    moved: float


def drift_of(user: User) -> float | None:
    """Distance in total variation, 0 to 1, between interests of the latest quarter of liked items and of those before.

    0 says that a user goes on as ever, 1 that all of what they chose lately belongs to interests that are new to them.
    None for a user with too few items.
    """
    interest_of = {item: number for number, found in enumerate(user.interests) for item in found.members}
    liked = [interest_of[touched.item] for touched in user.history.liked if touched.item in interest_of]
    if len(liked) < FEWEST_ITEMS:
        return None
    cut = len(liked) - len(liked) // LATEST_SHARE
    before, after = (np.bincount(part, minlength=len(user.interests)) for part in (liked[:cut], liked[cut:]))
    return float(np.abs(before / before.sum() - after / after.sum()).sum() / 2)


def drift_of_all(users: Iterable[User]) -> Drift:
    """Drift over users."""
    found = [drift for user in users if (drift := drift_of(user)) is not None]
    if not found:
        return Drift(users=0, mean=float("nan"), moved=float("nan"))
    return Drift(users=len(found), mean=float(np.mean(found)), moved=float(np.mean([one > MOVED for one in found])))

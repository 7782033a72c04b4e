"""Histories -> interests: groups of liked items that look alike, each with the item in its middle.

Items are clustered by Ward's method on their vectors and an interest is named by its medoid, as in PinnerSage (Pal et
al. 2020, arXiv:2007.03634). An interest holds ids and weights, never vectors: every reason is a real item, and a new
encoder needs no migration. Many users are worked on at once, in columns.

Legend: U users, M liked items of all users, I interests of all users, D floats of an embedding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from pinembed.taste.columns import Ints, run_of, starts
from pinembed.taste.event import DAY_US, DECIDED
from pinembed.taste.history import History
from pinembed.taste.ward import SURE_DIGITS, group_by_user

DECAY_PER_DAY = 0.01  # PinnerSage
RECENT_DECAY = 0.8
"""Each later event takes a fifth of the short memory: after five events of a new taste they hold two thirds of it."""
SHORT_SHARE = 0.6
MOST_ITEMS = 200
EXPLORE, CONSIDER, DECIDE = STAGES = ("explore", "consider", "decide")
STAGE_DAYS = 30
RETURNS = 3
ROWS_AT_ONCE = 4_000
"""So many vectors of liked items fit a cache: 8 MB at 512 floats."""

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class Interest:
    """One of the things that a user likes.

    Attributes:
        item: the medoid.
        weight: share of the user's taste; those of one user add up to 1. All of them decay alike, so that the shares
            stay true without being rewritten.
        members: item ids, the latest last.
        stage: `explore`, `consider` once something was saved or looked at again, `decide` once something was bought or
            one item was returned to three times; by the events of the 30 days before the user's last one.
    """

    item: str
    weight: float
    members: tuple[str, ...]
    stage: str


@dataclass(frozen=True, kw_only=True)
class Liked:
    """Liked items of many users; those of a user stand together, the latest at most 200 of them, in the order of ids.

    Attributes:
        user_M: number of the user, rising.
        order_M: where the id of the item stands among all ids.
        weight_M: in the history.
        age_us_M: time from the last event with the item to the user's last one.
        events_M: how many.
    """

    user_M: Ints
    order_M: Ints
    weight_M: NDArray[np.float64]
    age_us_M: Ints
    events_M: Ints

    def part(self, span: slice) -> Liked:
        """Those of a stretch."""
        return Liked(
            user_M=self.user_M[span],
            order_M=self.order_M[span],
            weight_M=self.weight_M[span],
            age_us_M=self.age_us_M[span],
            events_M=self.events_M[span],
        )


@dataclass(frozen=True, kw_only=True)
class Found:
    """Interests of many users, those of a user together and the strongest first.

    Attributes:
        user_I: number of the user.
        medoid_I: place of the medoid in `Liked`.
        weight_I: share of the user's taste.
        stage_I: number in `STAGES`.
        member_M: places in `Liked`, those of an interest together and the latest last.
        start_I: where the members of each interest begin, and where those of the last end, (I + 1,).
    """

    user_I: Ints
    medoid_I: Ints
    weight_I: NDArray[np.float64]
    stage_I: Ints
    member_M: Ints
    start_I: Ints

    @classmethod
    def join(cls, parts: Sequence[tuple[int, Found]]) -> Found:
        """Those of stretches, each with the place in `Liked` at which it begins."""
        empty = np.empty(0, np.int64)
        lengths = [np.diff(found.start_I) for _, found in parts]
        return cls(
            user_I=np.concatenate([empty, *(found.user_I for _, found in parts)]),
            medoid_I=np.concatenate([empty, *(found.medoid_I + start for start, found in parts)]),
            weight_I=np.concatenate([np.empty(0), *(found.weight_I for _, found in parts)]),
            stage_I=np.concatenate([empty, *(found.stage_I for _, found in parts)]),
            member_M=np.concatenate([empty, *(found.member_M + start for start, found in parts)]),
            start_I=np.cumsum(np.concatenate([np.zeros(1, np.int64), *lengths])),
        )


def find_interests(history: History, vectors: dict[str, Floats], *, width: float) -> tuple[Interest, ...]:
    """Interests of one user, the strongest first.

    Args:
        history: of one user.
        vectors: of the items that have one, (D,) of norm 1.
        width: of the catalogue, `catalogue_width`.
    """
    touched = [found for found in history.liked if found.item in vectors][-MOST_ITEMS:]
    if not touched:
        return ()
    touched.sort(key=lambda found: found.item)
    liked = Liked(
        user_M=np.zeros(len(touched), np.int64),
        order_M=np.arange(len(touched)),
        weight_M=np.array([found.weight for found in touched]),
        age_us_M=np.array([history.last_us - found.time_us for found in touched]),
        events_M=np.array([found.events for found in touched]),
    )
    found = group_liked(liked, np.stack([vectors[one.item] for one in touched]), width)
    members = [touched[place].item for place in found.member_M.tolist()]
    return tuple(
        Interest(
            item=touched[int(found.medoid_I[number])].item,
            weight=float(found.weight_I[number]),
            members=tuple(members[found.start_I[number] : found.start_I[number + 1]]),
            stage=STAGES[int(found.stage_I[number])],
        )
        for number in range(len(found.user_I))
    )


def group_liked(liked: Liked, vectors_MD: Floats, width: float) -> Found:
    """Interests of many users at once.

    Args:
        liked: items of the users.
        vectors_MD: of each item.
        width: of the catalogue.
    """
    share_M = _shares(liked)
    label_M = group_by_user(liked.user_M, vectors_MD, width)
    by_group_M = np.lexsort((liked.order_M, label_M, liked.user_M))
    start_I = starts(liked.user_M[by_group_M], label_M[by_group_M])
    group_M = run_of(start_I, len(by_group_M))
    weight_I = np.add.reduceat(share_M[by_group_M], start_I).round(9)
    medoid_I = _medoids(share_M[by_group_M], vectors_MD[by_group_M], start_I, group_M)
    stage_I = np.maximum.reduceat(_stages(liked)[by_group_M], start_I)
    # the strongest first, equal ones by the id of their medoid
    user_I = liked.user_M[by_group_M[start_I]]
    rank_I = np.lexsort((liked.order_M[by_group_M[medoid_I]], -weight_I, user_I))
    place_I = np.empty(len(rank_I), np.int64)
    place_I[rank_I] = np.arange(len(rank_I))
    by_time = np.lexsort((liked.order_M[by_group_M], -liked.age_us_M[by_group_M], place_I[group_M]))
    return Found(
        user_I=user_I[rank_I],
        medoid_I=by_group_M[medoid_I[rank_I]],
        weight_I=weight_I[rank_I],
        stage_I=stage_I[rank_I],
        member_M=by_group_M[by_time],
        start_I=np.r_[0, np.cumsum(np.bincount(group_M)[rank_I])],
    )


def parts_of(user_M: Ints) -> Iterator[slice]:
    """Stretches of whole users, as many rows at once as memory is meant to hold."""
    if not len(user_M):
        return
    start_U = starts(user_M)
    ends = [*start_U[1:].tolist(), len(user_M)]
    first = 0
    for end, following in zip(ends, [*ends[1:], None], strict=True):
        if following is None or following - first > ROWS_AT_ONCE:
            yield slice(first, end)
            first = end


def catalogue_width(vectors_ND: Floats) -> float:
    """Mean distance between two items, by which what is near is told in any encoder's space."""
    mean_D = vectors_ND.mean(axis=0, dtype=np.float64)
    return float(np.sqrt(max(2 * (1 - float(mean_D @ mean_D)), 1e-9)))


def _shares(liked: Liked) -> NDArray[np.float64]:
    """Share of each item in the taste: four tenths by PinnerSage's slow decay, six by a memory of the latest few."""
    user_M = liked.user_M
    start_U = starts(user_M)
    of_user_M = run_of(start_U, len(user_M))
    by_age = np.lexsort((liked.order_M, liked.age_us_M, user_M))
    rank_M = np.empty(len(user_M))
    rank_M[by_age] = np.arange(len(user_M)) - start_U[of_user_M]
    share_M = np.zeros(len(user_M))
    fading = (np.exp(-DECAY_PER_DAY * liked.age_us_M / DAY_US), 1 - SHORT_SHARE), (RECENT_DECAY**rank_M, SHORT_SHARE)
    for fade_M, part in fading:
        weight_M = liked.weight_M * fade_M
        share_M += part * weight_M / np.maximum(np.add.reduceat(weight_M, start_U), 1e-300)[of_user_M]
    return share_M


def _medoids(share_M: NDArray[np.float64], vectors_MD: Floats, start_I: Ints, group_M: Ints) -> Ints:
    """Place of the item of each group that lies nearest to the group's weighted centre."""
    ends = np.r_[start_I, len(share_M)]
    share_IM = sparse.csr_array((share_M.astype(np.float32), np.arange(len(share_M)), ends))
    centre_ID = share_IM @ vectors_MD
    scale_I = np.maximum(np.add.reduceat(share_M, start_I), 1e-300)
    near_M = np.einsum("md,md->m", vectors_MD, centre_ID[group_M]) / scale_I[group_M]
    best = np.lexsort((np.arange(len(group_M)), -np.round(near_M, SURE_DIGITS), group_M))
    return best[start_I]


def _stages(liked: Liked) -> Ints:
    """What each item says by itself."""
    is_recent_M = liked.age_us_M <= STAGE_DAYS * DAY_US
    is_decided_M = (liked.weight_M >= DECIDED) | (liked.events_M >= RETURNS)
    is_considered_M = (liked.weight_M >= 1) | (liked.events_M > 1)
    return np.where(is_recent_M, np.where(is_decided_M, 2, np.where(is_considered_M, 1, 0)), 0)

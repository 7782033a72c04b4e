"""A history -> interests: groups of liked items that look alike, each with the item in its middle.

Items are clustered by Ward's method on their vectors and an interest is named by its medoid, as in PinnerSage (Pal et
al. 2020, arXiv:2007.03634). An interest holds ids and weights, never vectors: every reason is a real item, and a new
encoder needs no migration.

Legend: M liked items of the user, D floats of an embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage

from pinembed.taste.event import DAY_US
from pinembed.taste.history import History, Touched

DECAY_PER_DAY = 0.01  # PinnerSage
RECENT_DECAY = 0.8
"""Each later event takes a fifth of the short memory: after five events of a new taste they hold two thirds of it."""
SHORT_SHARE = 0.6
MOST_ITEMS = 200
ITEMS_PER_INTEREST = 4
MOST_INTERESTS = 20
APART = 0.7
"""Groups are two interests where their centres lie farther apart than this share of the mean distance of two items."""
EXPLORE, CONSIDER, DECIDE = "explore", "consider", "decide"
STAGE_DAYS = 30
RETURNS = 3

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


def find_interests(history: History, vectors: dict[str, Floats], *, width: float) -> tuple[Interest, ...]:
    """Interests, the strongest first.

    Args:
        history: of one user.
        vectors: of the items that have one, (D,) of norm 1.
        width: of the catalogue, `catalogue_width`.
    """
    liked = [touched for touched in history.liked if touched.item in vectors][-MOST_ITEMS:]
    if not liked:
        return ()
    # in the order of ids, so that equal distances are decided alike in whatever order events arrived
    liked.sort(key=lambda touched: touched.item)
    vectors_MD = np.stack([vectors[touched.item] for touched in liked]).astype(np.float64)
    share_M = _shares(liked, history.last_us)
    label_M = group(vectors_MD, width)
    found = [_interest(label_M == label, liked, share_M, vectors_MD, history.last_us) for label in np.unique(label_M)]
    return tuple(sorted(found, key=lambda interest: (-interest.weight, interest.item)))


def catalogue_width(vectors_ND: Floats) -> float:
    """Mean distance between two items, by which what is near is told in any encoder's space."""
    mean_D = vectors_ND.astype(np.float64).mean(axis=0)
    return float(np.sqrt(max(2 * (1 - float(mean_D @ mean_D)), 1e-9)))


def group(vectors_MD: NDArray[np.float64], width: float) -> NDArray[np.int64]:
    """Number of the group of each item, (M,)."""
    count = len(vectors_MD)
    most = min(count // ITEMS_PER_INTEREST, MOST_INTERESTS)
    if most <= 1:
        return np.ones(count, np.int64)
    tree = linkage(vectors_MD, "ward")
    sizes = np.r_[np.ones(count), tree[:, 3]]
    left, right = sizes[tree[:, 0].astype(int)], sizes[tree[:, 1].astype(int)]
    between = tree[:, 2] / np.sqrt(2 * left * right / (left + right))  # distance of the two centres
    apart = int((between >= APART * width).sum()) + 1
    labels: NDArray[np.int64] = fcluster(tree, min(apart, most), "maxclust").astype(np.int64)
    return labels


def _shares(liked: Sequence[Touched], last_us: int) -> NDArray[np.float64]:
    """Share of each item in the taste: four tenths by PinnerSage's slow decay, six by a memory of the latest few."""
    weight_M = np.array([touched.weight for touched in liked])
    age_days_M = np.array([(last_us - touched.time_us) / DAY_US for touched in liked])
    rank_M = np.empty(len(liked))
    rank_M[np.argsort(age_days_M, kind="stable")] = np.arange(len(liked))
    long_M = weight_M * np.exp(-DECAY_PER_DAY * age_days_M)
    short_M = weight_M * RECENT_DECAY**rank_M
    share_M: NDArray[np.float64] = (1 - SHORT_SHARE) * long_M / max(long_M.sum(), 1e-300)
    share_M += SHORT_SHARE * short_M / max(short_M.sum(), 1e-300)
    return share_M


def _interest(
    is_in_M: NDArray[np.bool_],
    liked: Sequence[Touched],
    share_M: NDArray[np.float64],
    vectors_MD: NDArray[np.float64],
    last_us: int,
) -> Interest:
    members = [liked[index] for index in np.flatnonzero(is_in_M).tolist()]
    own_MD = vectors_MD[is_in_M]
    centre_D = share_M[is_in_M] @ own_MD
    medoid = members[int(np.argmax(np.round(own_MD @ centre_D, 9)))]
    latest = sorted(members, key=lambda touched: (touched.time_us, touched.item))
    return Interest(
        item=medoid.item,
        weight=round(float(share_M[is_in_M].sum()), 9),
        members=tuple(touched.item for touched in latest),
        stage=_stage([touched for touched in members if touched.time_us >= last_us - STAGE_DAYS * DAY_US]),
    )


def _stage(recent: Sequence[Touched]) -> str:
    if any(touched.is_decided or touched.events >= RETURNS for touched in recent):
        return DECIDE
    if any(touched.weight >= 1 or touched.events > 1 for touched in recent):
        return CONSIDER
    return EXPLORE

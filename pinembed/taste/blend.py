"""Slots of a list: what the graph knows, new items that it cannot know, and items to the side of the user's taste.

One blended score hides new items behind old ones, so that they get slots of their own. Half of them are theirs for
certain; each of the others goes to a new item only where the head expects it to be liked more than the last item that
the graph has to offer: both scores are estimates of the same thing, the strength of a choice.

Legend: N items of the catalogue, D floats of an embedding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pinembed.taste.features import Floats

KNOWN, FRESH, LATERAL = "known", "fresh", "lateral"  # and POPULAR, which is an arm too
DIVERSIFIED = 5
"""Times the length of the list are candidates of a diverse one."""
Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Slots:
    """What a list is made of.

    Attributes:
        k: its length.
        fresh: share of the slots that items with under five users may take.
        explore: share of the slots for items to the side.
        diversity: 0 to 1, how much likeness to items before it costs an item (MMR).
    """

    k: int
    fresh: float = 0.0
    explore: float = 0.0
    diversity: float = 0.0


def ranked(
    scores_N: Floats, allowed_N: NDArray[np.bool_], count: int, *, above: float = -math.inf, tie_N: Ints | None = None
) -> Ints:
    """Rows of the best allowed items, best first; equal ones in the order of `tie_N`, by default of ids."""
    rows = np.flatnonzero(allowed_N & (scores_N > above))
    if len(rows) > count > 0:
        cut = np.partition(scores_N[rows], len(rows) - count)[len(rows) - count]
        rows = rows[scores_N[rows] >= cut]
    return rows[np.lexsort((rows if tie_N is None else tie_N[rows], -scores_N[rows]))][:count]


def diverse(rows: Ints, scores_N: Floats, vectors_ND: Floats, slots: Slots) -> Ints:
    """The best of these rows, each taken where it is good and unlike those before it.

    Source: Carbonell and Goldstein 1998, maximal marginal relevance, doi 10.1145/290941.291025.
    """
    if slots.diversity == 0 or len(rows) <= 1:
        return rows[: slots.k]
    score = scores_N[rows]
    score = (score - score.min()) / max(float(score.max() - score.min()), 1e-12)
    vectors = vectors_ND[rows]
    taken = [0]
    nearest = vectors @ vectors[0]
    while len(taken) < min(slots.k, len(rows)):
        gain = (1 - slots.diversity) * score - slots.diversity * nearest
        gain[taken] = -np.inf
        taken.append(int(np.argmax(gain)))
        nearest = np.maximum(nearest, vectors @ vectors[taken[-1]])
    return rows[taken]


def share_slots(
    known: Sequence[tuple[int, float]], fresh: Sequence[tuple[int, float]], lateral: Sequence[int], slots: Slots
) -> list[tuple[int, str]]:
    """Rows with the slot that each takes, in the order of the list; what the graph leaves empty is filled by the head.

    Args:
        known: rows and scores by the graph, best first.
        fresh: rows and scores by the head, best first.
        lateral: rows to the side, best first.
        slots: the list's make.
    """
    aside = list(lateral[: round(slots.explore * slots.k)])
    most = min(round(slots.fresh * slots.k), len(fresh))
    taken = max(min(math.ceil(most / 2), len(fresh)), min(len(fresh), slots.k - len(aside) - len(known)))
    while taken < most and fresh[taken][1] > _last(known, slots.k - len(aside) - taken):
        taken += 1
    main = [row for row, _ in known[: slots.k - len(aside) - taken]]
    return _spread(main, [[row for row, _ in fresh[:taken]], aside], slots.k)


def _last(known: Sequence[tuple[int, float]], place: int) -> float:
    """Score of the known item that would have to go."""
    return known[place - 1][1] if 0 < place <= len(known) else -math.inf


def _spread(main: Sequence[int], others: Sequence[Sequence[int]], k: int) -> list[tuple[int, str]]:
    """Reserved slots stand evenly among the others."""
    placed: dict[int, tuple[int, str]] = {}
    length = min(k, len(main) + sum(map(len, others)))
    for rows, slot in zip(others, (FRESH, LATERAL), strict=True):
        for index, row in enumerate(rows):
            place = (index + 1) * length // (len(rows) + 1)
            while place in placed or place >= length:
                place = place + 1 if place + 1 < length else 0
            placed[place] = (row, slot)
    rest = iter(main)
    return [placed[place] if place in placed else (next(rest), KNOWN) for place in range(length)]

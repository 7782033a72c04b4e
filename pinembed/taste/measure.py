"""What lists are worth: users ask again after a cut, and every arm answers before it.

recall@k is the share of the items that a user chose after the cut, and had not touched before, that a list of k holds,
meaned over users; the whole catalogue is ranked. Of a stratum of items it counts only these. coverage is the share of
the catalogue that any list holds, novelty the mean of -log2 of the share of users who touched an item, diversity one
minus the mean cosine of two items of a list.

Legend: U users, N items of the catalogue, K items of a list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from pinembed.metrics.intervals import estimate
from pinembed.nouns.progress import Progress
from pinembed.nouns.scores import Estimate
from pinembed.settings.taste import ARMS, BLEND, GRAPH
from pinembed.taste.blend import Ints, Slots
from pinembed.taste.recommender import Recommender
from pinembed.taste.user_table import User

ITEM_KNN, WALK = "item-kNN", "RP3beta"
"""Graphs to compare with: plain cosine, and the random walk that large catalogues get in the place of EASE."""
STRATA = ("warm", "thin", "cold")
LENGTHS = {"no history": (0, 1), "1 to 4 items": (1, 5), "5 to 19 items": (5, 20), "20 items or more": (20, 1 << 60)}
Recalls = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A user at the cut.

    Attributes:
        user: as the events before it tell.
        wanted: rows of what they chose after it.
    """

    user: User
    wanted: Ints


@dataclass(frozen=True, kw_only=True)
class Lists:
    """The lists of one arm.

    Attributes:
        rows_UK: -1 where a list is shorter.
        recall_U: over all items.
        by_stratum: recall over items of a stratum; NaN for a user who wanted none of them.
    """

    rows_UK: Ints
    recall_U: Recalls
    by_stratum: Mapping[str, Recalls]


class Measurement:
    """Trials, and the catalogue that they are held on.

    Args:
        recommender: of the events before the cut.
        rivals: the same with another graph, by the name of its arm; to compare with.
        trials: users with something wanted.
        k: length of the lists.
        seed: breaks ties, and draws for the intervals.
    """

    def __init__(
        self,
        recommender: Recommender,
        rivals: Mapping[str, Recommender],
        trials: Sequence[Trial],
        *,
        k: int,
        seed: int = 0,
    ) -> None:
        tie_N = np.random.default_rng(seed).permutation(len(recommender.items.ids))
        for each in (recommender, *rivals.values()):
            each.tie_N = tie_N
        self.recommender, self.rivals, self.trials, self.k, self._seed = recommender, rivals, trials, k, seed
        users_N = recommender.users_N
        self._stratum_N = np.where(users_N == 0, 2, np.where(recommender.is_thin_N, 1, 0))
        self._everything_N = recommender.allowed(None)

    def arms(self, slots: Slots, progress: Progress) -> dict[str, Lists]:
        """Lists of every arm, the blend first."""
        progress.start("lists", total=len(ARMS) + len(self.rivals), unit="arm")
        plain, found = Slots(k=self.k), {}
        for arm in ARMS:
            found[arm] = self.lists(slots if arm == BLEND else plain, arm=arm)
            progress.advance()
        for name, rival in self.rivals.items():
            found[name] = self.lists(plain, arm=GRAPH, recommender=rival)
            progress.advance()
        return found

    def lists(
        self,
        slots: Slots,
        *,
        arm: str = BLEND,
        recommender: Recommender | None = None,
        only: NDArray[np.bool_] | None = None,
    ) -> Lists:
        """One arm's lists, and what they hold of what was wanted.

        Args:
            slots: the lists' make.
            arm: who fills them.
            recommender: by default that of the measurement.
            only: candidates, (N,); by default the whole catalogue.
        """
        asked = recommender or self.recommender
        allowed_N = self._everything_N if only is None else only
        rows_UK = np.full((len(self.trials), self.k), -1, np.int64)
        for index, trial in enumerate(self.trials):
            rows = [row for row, _, _ in asked.place(trial.user, slots, allowed_N, arm=arm)]
            rows_UK[index, : len(rows)] = rows
        by_stratum = {name: self._recall(rows_UK, number) for number, name in enumerate(STRATA)}
        return Lists(rows_UK=rows_UK, recall_U=self._recall(rows_UK, None), by_stratum=by_stratum)

    def _recall(self, rows_UK: Ints, stratum: int | None) -> Recalls:
        found = np.full(len(self.trials), np.nan)
        for index, trial in enumerate(self.trials):
            wanted = trial.wanted if stratum is None else trial.wanted[self._stratum_N[trial.wanted] == stratum]
            if len(wanted):
                found[index] = np.isin(wanted, rows_UK[index]).mean()
        return found

    def mean(self, recall_U: Recalls) -> Estimate | None:
        """Over users who wanted something of the kind, with its 95 % interval; None where nobody did."""
        known = recall_U[np.isfinite(recall_U)]
        return estimate(torch.from_numpy(known)[:, None], seed=self._seed)[0] if len(known) else None

    def by_length(self, recall_U: Recalls) -> dict[str, Estimate]:
        """Over users by the number of items in their history."""
        length_U = np.array([len(trial.user.history.touched) for trial in self.trials])
        found = {
            name: self.mean(recall_U[(length_U >= low) & (length_U < high)]) for name, (low, high) in LENGTHS.items()
        }
        return {name: figure for name, figure in found.items() if figure is not None}

    def coverage(self, rows_UK: Ints) -> float:
        return len(np.unique(rows_UK[rows_UK >= 0])) / max(len(self._everything_N), 1)

    def novelty(self, rows_UK: Ints) -> float:
        """Bits; an item that nobody touched counts as touched by one more than are."""
        users = max(len(self.trials), int(self.recommender.users_N.max(initial=0))) + 1
        share = (self.recommender.users_N[rows_UK[rows_UK >= 0]] + 1) / users
        return float(-np.log2(share).mean()) if len(share) else float("nan")

    def diversity(self, rows_UK: Ints) -> float:
        found = []
        for rows_K in rows_UK:
            vectors = self.recommender.items.vectors_ND[rows_K[rows_K >= 0]]
            if len(vectors) > 1:
                total = float(np.square(vectors.sum(axis=0)).sum()) - len(vectors)
                found.append(1 - total / (len(vectors) * (len(vectors) - 1)))
        return float(np.mean(found)) if found else float("nan")

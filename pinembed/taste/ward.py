"""Ward's clustering of the liked items of many users: a tree for each user, all trees cut at once.

Legend: M liked items of all users, U users, R merges of two groups, N nodes, which are
items or merges, D floats of an embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import squareform

from pinembed.taste.columns import Ints, starts

ITEMS_PER_GROUP = 4
MOST_GROUPS = 20
APART = 0.7
"""Two groups are told apart where their centres lie farther from each other than this share of the mean distance of two
items."""
SURE_DIGITS = 6
"""Cosines and distances are compared to so many, so that what is equal but for rounding is decided by id."""
ONE_THREAD = 1 << 18
"""Multiplications up to which OpenBLAS takes one thread; several cost a user's small product ten times its CPU.
Source: https://github.com/OpenMathLib/OpenBLAS/blob/develop/interface/gemm.c, `SMP_THRESHOLD_MIN`."""


def group_by_user(user_M: Ints, vectors_MD: NDArray[np.float32], width: float) -> Ints:
    """Number of the group of each item, which tells the items of one user apart, (M,).

    Args:
        user_M: number of the user, rising.
        vectors_MD: of each item.
        width: of the catalogue, its mean distance between two items.
    """
    start_U = starts(user_M)
    length_U = np.diff(np.r_[start_U, len(user_M)])
    is_grouped_U = length_U >= 2 * ITEMS_PER_GROUP
    group_M = np.zeros(len(user_M), np.int64)
    if is_grouped_U.any():
        start_U, length_U = start_U[is_grouped_U], length_U[is_grouped_U]
        spans = [
            slice(start, start + length) for start, length in zip(start_U.tolist(), length_U.tolist(), strict=True)
        ]
        forest = _Forest.of([linkage(distances(vectors_MD[span]), "ward") for span in spans])
        group_M[np.concatenate([np.arange(span.start, span.stop) for span in spans])] = forest.cut(APART * width)
    return group_M


def distances(vectors_MD: NDArray[np.float32]) -> NDArray[np.float64]:
    """Between each two, rounded, in the order of `scipy.spatial.distance.pdist`, (M * (M - 1) / 2,)."""
    count, dim = vectors_MD.shape
    rows = max(1, ONE_THREAD // (count * dim))
    padded_MD = np.zeros((-(-count // rows) * rows, dim))
    padded_MD[:count] = vectors_MD
    blocks_MM = padded_MD.reshape(-1, rows, dim) @ padded_MD[:count].T
    product_MM = blocks_MM.reshape(-1, count)[:count]
    square_M = product_MM.diagonal()
    distance_MM = np.sqrt(np.maximum(square_M[:, None] + square_M - 2 * product_MM, 0))
    found: NDArray[np.float64] = squareform(distance_MM, checks=False).round(SURE_DIGITS)
    return found


@dataclass(frozen=True, kw_only=True)
class _Forest:
    """Trees of many users; the merges of a user stand together, the lowest first.

    Attributes:
        length_U: items of each user.
        user_R: number of the user.
        left_R: node that a merge takes in; those of a user are numbered from twice the number of all items before, the
            items first and then the merges.
        right_R: and the other one.
        height_R: as Ward's method counts it.
        items_R: how many a merge holds.
    """

    length_U: Ints
    user_R: Ints
    left_R: Ints
    right_R: Ints
    height_R: NDArray[np.float64]
    items_R: NDArray[np.float64]

    @classmethod
    def of(cls, trees: Sequence[NDArray[np.float64]]) -> _Forest:
        """Trees as `scipy.cluster.hierarchy.linkage` makes them."""
        merges_U = np.array([len(tree) for tree in trees], np.int64)
        length_U = merges_U + 1
        user_R = np.repeat(np.arange(len(trees)), merges_U)
        first_node_U = 2 * (np.cumsum(length_U) - length_U)
        tree_R4 = np.concatenate(trees)
        left_R, right_R = (tree_R4[:, :2].astype(np.int64) + first_node_U[user_R, None]).T
        return cls(
            length_U=length_U,
            user_R=user_R,
            left_R=left_R,
            right_R=right_R,
            height_R=tree_R4[:, 2],
            items_R=tree_R4[:, 3],
        )

    @property
    def start_U(self) -> Ints:
        """Number of items before those of each user."""
        return np.cumsum(self.length_U) - self.length_U

    @property
    def item_M(self) -> Ints:
        """Node of each item."""
        return np.arange(int(self.length_U.sum())) + np.repeat(self.start_U, self.length_U)

    @property
    def merge_R(self) -> Ints:
        """Node of each merge."""
        return np.arange(len(self.user_R)) + (self.start_U + self.length_U + np.arange(len(self.length_U)))[self.user_R]

    def cut(self, apart: float) -> Ints:
        """Number of the group of each item, (M,).

        Args:
            apart: groups whose centres lie as far from each other are two, as far as there may be so many.
        """
        groups_U = 1 + np.bincount(self.user_R[self._between() >= apart], minlength=len(self.length_U))
        groups_U = np.minimum(groups_U, np.minimum(self.length_U // ITEMS_PER_GROUP, MOST_GROUPS))
        highest_U = self.height_R[np.cumsum(self.length_U - 1) - groups_U]
        is_kept_R = self.height_R <= highest_U[self.user_R]  # merges of equal height stay together
        root_N = np.arange(2 * int(self.length_U.sum()))
        root_N[self.left_R[is_kept_R]] = root_N[self.right_R[is_kept_R]] = self.merge_R[is_kept_R]
        while not np.array_equal(above_N := root_N[root_N], root_N):
            root_N = above_N
        return root_N[self.item_M]

    def _between(self) -> NDArray[np.float64]:
        """Distance of the centres of the two groups of each merge."""
        items_N = np.ones(2 * int(self.length_U.sum()))
        items_N[self.merge_R] = self.items_R
        left_R, right_R = items_N[self.left_R], items_N[self.right_R]
        between_R: NDArray[np.float64] = self.height_R / np.sqrt(2 * left_R * right_R / self.items_R)
        return between_R

"""Which items users chose together: item-item weights out of the users' histories.

Up to some 10,000 items with enough users the weights are those of EASE, the closed-form linear autoencoder (Steck 2019,
arXiv:1905.03375); beyond, of a random walk of three steps with popular ends held down, RP3beta (Paudel et al. 2017,
doi 10.1145/2955101). Both are kept as the strongest neighbours of each item, so that a table holds either.

All is counted anew from all histories: what one user adds is gone when the user is.

Legend: U users, I items, B boards.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse

SEEN = 0.5
"""What an item that was only seen adds, where a chosen one adds 1."""
FEWEST_USERS = 5
"""An item with fewer is thin: no graph says much of it, its vector does."""
MOST_EXACT = 10_000
NEIGHBOURS = 200
BOARD_NEIGHBOURS = 50
RIDGE = 30.0
"""Times the root of the mean number of users an item is the ridge; near the best values known for catalogues from 100
thousand to 20 million events."""
POPULAR_END = 0.6
ROWS_AT_ONCE = 512
PIVOT = 1e-12
Strongest = tuple[NDArray[np.int64], NDArray[np.float32]]
"""Numbers of the neighbours of an item, in order, and the weight of each."""


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """Sparse item-item weights, by the item that they speak for.

    Attributes:
        items: number of an item, sorted, (N,).
        start_N: where each item's neighbours begin, and where those of the last end, (N + 1,).
        neighbour: numbers of items.
        weight: of each neighbour.
    """

    items: NDArray[np.int64]
    start_N: NDArray[np.int64]
    neighbour: NDArray[np.int64]
    weight: NDArray[np.float32]

    def of(self, index: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Neighbours and weights of the item at this index of `items`."""
        span = slice(int(self.start_N[index]), int(self.start_N[index + 1]))
        return self.neighbour[span], self.weight[span]


def co_engagement(strength_UI: sparse.csr_array, *, most_exact: int = MOST_EXACT) -> Neighbours:
    """What having chosen one item says for another.

    Args:
        strength_UI: 1 for what a user chose, `SEEN` for what they only saw.
        most_exact: more items than this are left to the random walk.
    """
    users_I = np.diff(strength_UI.tocsc().indptr)
    warm = np.flatnonzero(users_I >= FEWEST_USERS)
    strength_UW = strength_UI.tocsc()[:, warm].tocsr()
    if not len(warm):
        return _join([], warm)
    if len(warm) <= most_exact:
        return _join(_strongest(ease(strength_UW), NEIGHBOURS), warm)
    return _join(random_walk(strength_UW), warm)


def ease(strength_UI: sparse.csr_array) -> NDArray[np.float32]:
    """Weights (I, I): the column of an item holds what each other one says for it; the diagonal is 0."""
    gram_II = np.asarray((strength_UI.T @ strength_UI).todense(), np.float64)
    diagonal = np.arange(len(gram_II))
    users = np.diff(strength_UI.tocsc().indptr).mean()
    gram_II[diagonal, diagonal] += RIDGE * np.sqrt(max(users, 1.0))
    inverse_II = linalg.inv(gram_II, overwrite_a=True, check_finite=False)
    weight_II: NDArray[np.float32] = (-inverse_II / inverse_II[diagonal, diagonal]).astype(np.float32)
    weight_II[diagonal, diagonal] = 0
    return weight_II


def random_walk(strength_UI: sparse.csr_array) -> list[Strongest]:
    """From an item to its users, to their items: strongest neighbours of each item."""
    users_I = np.maximum(np.diff(strength_UI.tocsc().indptr), 1).astype(np.float64)
    items_U = np.maximum(strength_UI.sum(axis=1), 1)
    step_IU = (sparse.diags_array(1 / items_U) @ strength_UI).T.tocsr()
    back_UI = strength_UI @ sparse.diags_array(1 / users_I)
    held_down_IU = sparse.diags_array(users_I**-POPULAR_END) @ step_IU
    return _products(held_down_IU, back_UI, NEIGHBOURS)


def by_cosine(member_BI: sparse.csr_array, *, count: int = BOARD_NEIGHBOURS) -> Neighbours:
    """Items that lie on the same boards, by the cosine of the boards that hold them; of users: item-kNN.

    Args:
        member_BI: above 0 where a board holds an item.
        count: neighbours of each item to keep.
    """
    boards_I = np.diff(member_BI.tocsc().indptr)
    held = np.flatnonzero(boards_I)
    member_BH = member_BI.tocsc()[:, held].tocsr().astype(np.float64)
    norm_H = np.sqrt(np.asarray(member_BH.multiply(member_BH).sum(axis=0)))
    unit_BH = member_BH @ sparse.diags_array(1 / np.maximum(norm_H, 1e-12))
    return _join(_products(unit_BH.T.tocsr(), unit_BH, count), held)


def _products(left_IU: sparse.csr_array, right_UI: sparse.csr_array, count: int) -> list[Strongest]:
    """The strongest of each row of a product, some rows at a time: it is never whole in memory."""
    left_IU, right_UI, found = left_IU.tocsr(), right_UI.tocsr(), []
    for start in range(0, left_IU.shape[0], ROWS_AT_ONCE):
        block_CI = left_IU[start : start + ROWS_AT_ONCE] @ right_UI
        for row in range(block_CI.shape[0]):
            span = slice(block_CI.indptr[row], block_CI.indptr[row + 1])
            other, weight = block_CI.indices[span], block_CI.data[span]
            is_other = other != start + row
            found.append(_top(other[is_other].astype(np.int64), weight[is_other].astype(np.float32), count))
    return found


def _strongest(weight_II: NDArray[np.float32], count: int) -> list[Strongest]:
    found = []
    for column in range(weight_II.shape[1]):
        weight = weight_II[:, column]
        other = np.flatnonzero(np.abs(weight) > PIVOT)
        found.append(_top(other, weight[other], count))
    return found


def _top(other: NDArray[np.int64], weight: NDArray[np.float32], count: int) -> Strongest:
    """The strongest by size, equal ones by number, and these in the order of numbers."""
    size = np.abs(weight)
    if len(size) > count:
        kept = np.flatnonzero(size >= np.partition(size, len(size) - count)[len(size) - count])
        other, weight, size = other[kept], weight[kept], size[kept]
    order = np.lexsort((other, -size))[:count]
    order = order[np.argsort(other[order])]
    return other[order], weight[order]


def _join(found: list[Strongest], number: NDArray[np.int64]) -> Neighbours:
    lengths = [len(other) for other, _ in found]
    return Neighbours(
        items=number,
        start_N=np.r_[0, np.cumsum(lengths)].astype(np.int64) if found else np.zeros(1, np.int64),
        neighbour=number[np.concatenate([other for other, _ in found])] if found else np.empty(0, np.int64),
        weight=np.concatenate([weight for _, weight in found]) if found else np.empty(0, np.float32),
    )

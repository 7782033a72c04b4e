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

from pinembed.taste.columns import Ints
from pinembed.taste.pairs import Floats, Pairs

FEWEST_USERS = 5
"""An item with fewer is thin: no graph says much of it, its vector does."""
MOST_EXACT = 10_000
NEIGHBOURS = 200
BOARD_NEIGHBOURS = 50
RIDGE = 30.0
"""Times the root of the mean number of users an item is the ridge; near the best values known for catalogues from 100
thousand to 20 million events."""
POPULAR_END = 0.6
WALKS, EXACT_WALK = 2.0**28, 4
"""A user's step to one of their items in whole numbers, fourfold for halves of both items: sums of them are exact, and
the order of the users plays no part."""
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


def co_engagement(pairs: Pairs, *, most_exact: int = MOST_EXACT) -> Neighbours:
    """What having chosen one item says for another.

    Args:
        pairs: of users and items, what was chosen stronger than what was only seen.
        most_exact: more items than this are left to the random walk.
    """
    warm = np.flatnonzero(pairs.users_I >= FEWEST_USERS)
    if not len(warm):
        return _join([], warm)
    if len(warm) <= most_exact:
        return _join(_strongest(_ease(pairs, warm), NEIGHBOURS), warm)
    return _join(_walk(pairs, warm), warm)


def ease(strength_UI: sparse.csr_array) -> NDArray[np.float32]:
    """Weights (I, I): the column of an item holds what each other one says for it; the diagonal is 0."""
    return _ease(Pairs(strength_UI), np.arange(strength_UI.shape[1]))


def _ease(pairs: Pairs, items: Ints) -> NDArray[np.float32]:
    gram_II = np.empty((len(items), len(items)))
    for span, block_CI in pairs.blocks(items):
        gram_II[span] = block_CI[:, items].toarray()
    diagonal = np.arange(len(gram_II))
    gram_II[diagonal, diagonal] += RIDGE * np.sqrt(max(pairs.users_I[items].mean(), 1.0))
    inverse_II = linalg.inv(gram_II, overwrite_a=True, check_finite=False)
    inverse_II /= -inverse_II[diagonal, diagonal]
    weight_II: NDArray[np.float32] = inverse_II.astype(np.float32)
    weight_II[diagonal, diagonal] = 0
    return weight_II


def _walk(pairs: Pairs, items: Ints) -> list[Strongest]:
    """From an item to its users, to their items: strongest neighbours of each item."""
    is_in_I = np.zeros(len(pairs.users_I))
    is_in_I[items] = 1
    walks_U = EXACT_WALK * np.round(WALKS / np.maximum(pairs.strength_UI @ is_in_I, 1))
    users_I = np.maximum(pairs.users_I, 1)
    held_down_I = users_I**-POPULAR_END / (EXACT_WALK * WALKS)
    return _weighed(pairs, items, NEIGHBOURS, from_I=held_down_I, to_I=is_in_I / users_I, of_U=walks_U)


def by_cosine(pairs: Pairs, *, count: int = BOARD_NEIGHBOURS) -> Neighbours:
    """Items that lie on the same boards, by the cosine of the boards that hold them; of users: item-kNN.

    Args:
        pairs: of boards and items.
        count: neighbours of each item to keep.
    """
    held = np.flatnonzero(pairs.users_I)
    scale_I = 1 / np.sqrt(np.maximum(pairs.squares_I, 1e-24))
    return _join(_weighed(pairs, held, count, from_I=scale_I, to_I=scale_I), held)


def _weighed(
    pairs: Pairs, items: Ints, count: int, *, from_I: Floats, to_I: Floats, of_U: Floats | None = None
) -> list[Strongest]:
    """The strongest neighbours of each of these items, as numbers among them; a neighbour that weighs 0 is none.

    Args:
        pairs: of all users and items.
        items: rising.
        count: neighbours of each item to keep.
        from_I: what a pair weighs by its first item.
        to_I: and by the other one.
        of_U: and by the user whose it is.
    """
    number_I = np.full(len(from_I), -1, np.int64)
    number_I[items] = np.arange(len(items))
    found = []
    for span, block_CI in pairs.blocks(items, of_U):
        for row, item in enumerate(items[span].tolist()):
            entry = slice(block_CI.indptr[row], block_CI.indptr[row + 1])
            other, weight = block_CI.indices[entry], block_CI.data[entry] * from_I[item]
            weight *= to_I[other]
            is_other = (other != item) & (weight != 0)
            found.append(_top(number_I[other[is_other]], weight[is_other].astype(np.float32), count))
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

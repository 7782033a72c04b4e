"""Items whose embeddings are equal or nearly equal: what judges them says little about unseen items.

They decide nothing about the split, which was made before there were embeddings.

Shape legend: N items, U of them that differ, D floats of one embedding, A axes of the search, P pairs.
"""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

NEARLY_EQUAL = 0.995  # a picture that was saved anew as a JPEG of quality 90 keeps .999 of its cosine, of 60 some .995
NEIGHBOURS = 8
AXES = 16
FITTED_ON = 10_000


def nearly_equal_pairs(embeddings_ND: NDArray[np.float32]) -> NDArray[np.int64]:
    """Pairs of rows with a cosine of NEARLY_EQUAL or more, as places (P, 2) with the lower one first.

    Equal rows are each paired with the first of them, others with those of their 8 nearest rows that are near enough:
    not every pair of a crowd, but enough to name each of it. Time grows little faster than N.

    Args:
        embeddings_ND: of norm 1.
    """
    places: dict[bytes, list[int]] = defaultdict(list)
    for place, row_D in enumerate(embeddings_ND):
        places[row_D.tobytes()].append(place)
    pairs = [(equal[0], place) for equal in places.values() for place in equal[1:]]
    first_U = np.array([equal[0] for equal in places.values()], dtype=np.int64)
    found_P2 = np.concatenate([first_U[_near(embeddings_ND[first_U])], np.array(pairs, dtype=np.int64).reshape(-1, 2)])
    return np.unique(np.sort(found_P2, axis=1), axis=0)


def _near(embeddings_UD: NDArray[np.float32]) -> NDArray[np.int64]:
    """(P, 2): searched along the directions of most variance, where a distance is never larger than it really is."""
    if len(embeddings_UD) < 2:
        return np.empty((0, 2), dtype=np.int64)
    sample = embeddings_UD[:: -(-len(embeddings_UD) // FITTED_ON)]
    _, axes_DD = np.linalg.eigh(np.cov(sample, rowvar=False).reshape(embeddings_UD.shape[1], -1))
    seen_UA = embeddings_UD @ axes_DD[:, -AXES:].astype(np.float32)
    reach = math.sqrt(2 - 2 * NEARLY_EQUAL)
    near_UK: NDArray[np.int64]
    _, near_UK = cKDTree(seen_UA).query(seen_UA, k=NEIGHBOURS + 1, distance_upper_bound=reach)
    here_P, rank_P = np.nonzero(near_UK < len(embeddings_UD))
    pairs_P2 = np.stack([here_P, near_UK[here_P, rank_P]], axis=1)
    cosine_P = np.einsum("pd,pd->p", embeddings_UD[pairs_P2[:, 0]], embeddings_UD[pairs_P2[:, 1]])
    is_near_P: NDArray[np.bool_] = (cosine_P >= NEARLY_EQUAL) & (pairs_P2[:, 0] != pairs_P2[:, 1])
    return pairs_P2[is_near_P]

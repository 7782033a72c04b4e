"""How alike two pictures are once one is laid over the other: one may be cropped, or have a border, on any side.

A box says how much of each side of a picture is left out. One picture, without that, gets the other's size, and
the correlation of the two is taken without the outermost pixels, where a border mixes with what it surrounds.

Shape legend: P pairs, H = W = LUMA_PX, B boxes of one axis, 4 sides (top, bottom, left, right).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pinembed.nouns.measures import LUMA_PX

Lumas = NDArray[np.float32]
CUT_STEP = 0.0125  # of a side
CUTS = 10
FIRST_CUTS = (0, 2, 4, 7)  # tried on all sides at once; the rest is climbed to, side by side
CLIMBS = (3, 2, 1, 1)
QUICK_CLIMBS = (3,)
MARGIN = 1


def resampling(first: float, last: float, size: int = LUMA_PX) -> Lumas:
    """(size, LUMA_PX): a line of pixels to `size` means of what is left without these shares of its two ends."""
    width = (1 - first - last) * LUMA_PX / size
    edges = first * LUMA_PX + width * np.arange(size + 1)
    pixels = np.arange(LUMA_PX)
    covered = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    weights: Lumas = (np.clip(covered, 0, None) / width).astype(np.float32)
    return weights


def _interpolation(first: float, last: float) -> Lumas:
    """(W, W): as `resampling` does for about as many pixels, with smooth steps."""
    at = np.clip((first + (1 - first - last) * (np.arange(LUMA_PX) + 0.5) / LUMA_PX) * LUMA_PX - 0.5, 0, LUMA_PX - 1)
    weights: Lumas = np.clip(1 - np.abs(at[:, None] - np.arange(LUMA_PX)), 0, None).astype(np.float32)
    return weights


_CUT_SHARES = CUT_STEP * np.arange(CUTS)
_INTERPOLATIONS = np.stack([[_interpolation(first, last) for last in _CUT_SHARES] for first in _CUT_SHARES])


def aligned_similarity(whole_PHW: Lumas, other_PHW: Lumas, climbs: Sequence[int] = CLIMBS) -> NDArray[np.float32]:
    """(P,): the best correlation of the first pictures with a box of the second ones, -1 to 1.

    Args:
        whole_PHW: pictures that are taken whole.
        other_PHW: pictures of which a box is taken.
        climbs: steps, in CUT_STEP, by which one side after the other is moved from the best of the first boxes.
    """
    wanted_PX = _standardised(whole_PHW)
    boxes_P4 = np.zeros((len(whole_PHW), 4), dtype=np.int64)
    best_P = np.full(len(whole_PHW), -1.0, dtype=np.float32)

    def try_boxes(tried_P4: NDArray[np.int64]) -> None:
        found_P = np.einsum("px,px->p", _standardised(_cut_out(other_PHW, tried_P4)), wanted_PX)
        is_better_P = found_P > best_P
        best_P[is_better_P], boxes_P4[is_better_P] = found_P[is_better_P], tried_P4[is_better_P]

    for cut in FIRST_CUTS:
        try_boxes(np.full_like(boxes_P4, cut))
    for step in climbs:
        for side in range(4):
            begun_P4 = boxes_P4.copy()
            for change in (-step, step):
                tried_P4 = begun_P4.copy()
                tried_P4[:, side] = np.clip(tried_P4[:, side] + change, 0, CUTS - 1)
                try_boxes(tried_P4)
    return best_P


def _cut_out(pictures_PHW: Lumas, boxes_P4: NDArray[np.int64]) -> Lumas:
    top, bottom, left, right = boxes_P4.T
    rows_PHW: Lumas = np.matmul(_INTERPOLATIONS[top, bottom], pictures_PHW)
    cut_out: Lumas = np.matmul(rows_PHW, _INTERPOLATIONS[left, right].transpose(0, 2, 1))
    return cut_out


def _standardised(pictures_PHW: Lumas) -> Lumas:
    """(P, X) of mean 0 and norm 1, without the margin; zeros for a picture of one colour."""
    inner = slice(MARGIN, LUMA_PX - MARGIN)
    flat_PX = pictures_PHW[:, inner, inner].reshape(-1, (LUMA_PX - 2 * MARGIN) ** 2)
    flat_PX = flat_PX - flat_PX.mean(axis=1, keepdims=True)
    norms_P = np.linalg.norm(flat_PX, axis=1, keepdims=True)
    standardised: Lumas = flat_PX / np.maximum(norms_P, 1e-3)
    return standardised

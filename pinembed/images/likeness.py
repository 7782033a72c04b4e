"""Which pictures show the same: copies, also re-encoded or resized ones.

Two pictures are alike when their perceptual hashes differ in few bits and their colours, on a coarse grid, are nearly
equal. The hash alone sees brightness only and takes a red mug for its blue sister.

Shape legend: N pictures, B a block of them, H hash bits, P pairs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image

LOOKED_AT_PX = 64
GRID = 8
MOST_BITS = 8
MOST_COLOUR = 6.0
MOST_EQUAL = 50
BLOCK_SCORES = 1 << 24
PAIRS_AT_ONCE = 1 << 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Likeness:
    """What is kept of a picture to find its copies.

    Attributes:
        bits_H: bool; the 64 bits of its perceptual hash.
        colour: uint8 (8, 8, 3); mean colours of a coarse grid.
    """

    bits_H: NDArray[np.bool_]
    colour: NDArray[np.uint8]


def likeness(picture: Image.Image) -> Likeness:
    """Describe an upright RGB picture; 64 pixels a side are enough.

    Source: ImageHash's phash, after Zauner 2010, Implementation and benchmarking of perceptual image hash functions.
    """
    grid = picture.resize((GRID, GRID), Image.Resampling.BOX)
    return Likeness(bits_H=imagehash.phash(picture).hash.ravel(), colour=np.asarray(grid, dtype=np.uint8))


def alike_pairs(found: Sequence[Likeness]) -> NDArray[np.int64]:
    """Pairs of pictures that are alike, as places (P, 2) with the lower one first.

    All pairs, but for a picture that more than 50 places show without any difference, such as a placeholder: of these
    each is paired with the first alone, for their pairs would fill the memory.
    """
    places: dict[bytes, list[int]] = defaultdict(list)
    for place, one in enumerate(found):
        places[one.bits_H.tobytes() + one.colour.tobytes()].append(place)
    crowds = [equal for equal in places.values() if len(equal) > MOST_EQUAL]
    repeated = {place for equal in crowds for place in equal[1:]}
    kept = np.array([place for place in range(len(found)) if place not in repeated], dtype=np.int64)
    to_first = [(equal[0], place) for equal in crowds for place in equal[1:]]
    compared = kept[_compared([found[place] for place in kept])]
    return np.concatenate([compared, np.array(to_first, dtype=np.int64).reshape(-1, 2)])


def _compared(found: Sequence[Likeness]) -> NDArray[np.int64]:
    """Every pair is compared: a matrix product over the bits counts those that are equal."""
    if len(found) < 2:
        return np.empty((0, 2), dtype=np.int64)
    signs_NH = np.stack([one.bits_H for one in found]).astype(np.float32) * 2 - 1
    colours_N = np.stack([one.colour for one in found])
    equal_at_least = signs_NH.shape[1] - 2 * MOST_BITS
    block = max(1, BLOCK_SCORES // len(found))
    pairs = [np.empty((0, 2), dtype=np.int64)]
    for start in range(0, len(found), block):
        product_BN = signs_NH[start : start + block] @ signs_NH[start:].T
        here, there = np.nonzero(np.triu(product_BN >= equal_at_least, k=1))
        near = np.stack([here, there], axis=1).astype(np.int64) + start
        pairs += [_same_colours(near[at : at + PAIRS_AT_ONCE], colours_N) for at in range(0, len(near), PAIRS_AT_ONCE)]
    return np.concatenate(pairs)


def _same_colours(pairs_P2: NDArray[np.int64], colours_N: NDArray[np.uint8]) -> NDArray[np.int64]:
    first, second = (colours_N[pairs_P2[:, side]].astype(np.int16) for side in (0, 1))
    is_same_P: NDArray[np.bool_] = np.abs(first - second).mean(axis=(1, 2, 3)) <= MOST_COLOUR
    return pairs_P2[is_same_P]

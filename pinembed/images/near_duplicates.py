"""Which items of a catalogue show the same picture, found by a coarse look at every one of them.

Two pictures are near duplicates when their perceptual hashes differ in few bits and their colours, on a coarse grid,
are nearly equal. The hash alone sees brightness only and takes a red mug for its blue sister.

Shape legend: N pictures, B a block of them, H hash bits, P pairs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pinembed.errors import ImageError
from pinembed.images.perceptual_hash import ImageHash, PerceptualHash, hash_image, recall_hashes, remember_hashes
from pinembed.machine import usable_cores
from pinembed.nouns.item import Item
from pinembed.nouns.progress import Progress

BATCH = 256
MOST_BITS = 8
MOST_COLOUR = 6.0
MOST_EQUAL = 50
BLOCK_SCORES = 1 << 24
PAIRS_AT_ONCE = 1 << 16


@dataclass(frozen=True, kw_only=True)
class NearDuplicates:
    """What a look at all pictures found; by default nothing.

    Attributes:
        pairs: indices of two items whose pictures are alike, the lower one first.
        identical: those of the pairs whose files are byte for byte the same.
        broken: indices of items whose image cannot be decoded.
    """

    pairs: tuple[tuple[int, int], ...] = ()
    identical: frozenset[tuple[int, int]] = frozenset()
    broken: tuple[int, ...] = ()


def find_near_duplicates(items: Sequence[Item], *, root: Path, progress: Progress) -> NearDuplicates:
    """Hash every image that no earlier run has hashed since it changed; hashes are remembered for the DATA folder."""
    hashes = _hashes(items, root, progress)
    seen = [(index, found) for index, found in enumerate(hashes) if found is not None]
    indices = [index for index, _ in seen]
    pairs = tuple(
        (indices[one], indices[other])
        for one, other in near_duplicate_pairs([found.perceptual_hash for _, found in seen]).tolist()
    )
    digests = {index: found.sha256 for index, found in seen}
    return NearDuplicates(
        pairs=pairs,
        identical=frozenset((one, other) for one, other in pairs if digests[one] == digests[other]),
        broken=tuple(index for index, found in enumerate(hashes) if found is None),
    )


def _hashes(items: Sequence[Item], root: Path, progress: Progress) -> list[ImageHash | None]:
    """One for each item, None where its image cannot be decoded, of which nothing is remembered."""
    known = recall_hashes(root)
    hashes = [
        found if (found := known.get(item.file_name)) is not None and found.holds_for(item.path) else None
        for item in items
    ]
    missing = [index for index, found in enumerate(hashes) if found is None]
    if not missing:
        return hashes
    progress.start("looking for near duplicates", len(missing), "img")
    try:
        with ThreadPoolExecutor(max_workers=usable_cores()) as pool:
            for start in range(0, len(missing), BATCH):
                indices = missing[start : start + BATCH]
                for index, found in zip(indices, pool.map(_hash_of, [items[index] for index in indices]), strict=True):
                    hashes[index] = found
                progress.advance(len(indices))
    finally:  # a stopped run has not looked in vain
        if any(hashes[index] is not None for index in missing):
            pairs = zip(items, hashes, strict=True)
            remember_hashes(root, {item.file_name: found for item, found in pairs if found is not None})
    progress.finish()
    return hashes


def _hash_of(item: Item) -> ImageHash | None:
    try:
        return hash_image(item.path)
    except ImageError:
        return None


def near_duplicate_pairs(found: Sequence[PerceptualHash]) -> NDArray[np.int64]:
    """Pairs of pictures that are alike, as indices (P, 2) with the lower one first.

    All pairs, but for a picture that more than 50 places show without any difference, such as a placeholder: of these
    each is paired with the first alone, for their pairs would fill the memory.
    """
    indices: dict[bytes, list[int]] = defaultdict(list)
    for index, one in enumerate(found):
        indices[one.bits_H.tobytes() + one.colour.tobytes()].append(index)
    crowds = [equal for equal in indices.values() if len(equal) > MOST_EQUAL]
    repeated = {index for equal in crowds for index in equal[1:]}
    kept = np.array([index for index in range(len(found)) if index not in repeated], dtype=np.int64)
    to_first = [(equal[0], index) for equal in crowds for index in equal[1:]]
    compared = kept[_compared([found[index] for index in kept])]
    return np.concatenate([compared, np.array(to_first, dtype=np.int64).reshape(-1, 2)])


def _compared(found: Sequence[PerceptualHash]) -> NDArray[np.int64]:
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

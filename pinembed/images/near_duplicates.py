"""Which items of a catalogue show the same picture, found by a coarse look at every one of them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pinembed.errors import ImageError
from pinembed.images.perceptual_hash import ImageHash, hash_image, near_duplicate_pairs, recall_hashes, remember_hashes
from pinembed.machine import usable_cores
from pinembed.nouns.item import Item
from pinembed.nouns.progress import Progress

BATCH = 256


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
    """Hash every image that no earlier run has hashed since it changed.

    Args:
        items: whose indices the pairs name.
        root: DATA folder of the items, for which the hashes are remembered.
        progress: counts the images that are looked at.
    """
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

"""Which items of a catalogue show the same picture, found by a coarse look at every one of them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pinembed.errors import ImageError
from pinembed.images.perceptual_hash import Look, alike_pairs, look_at, recall_looks, remember_looks
from pinembed.machine import usable_cores
from pinembed.nouns.item import Item
from pinembed.nouns.progress import Progress

BATCH = 256


@dataclass(frozen=True, kw_only=True)
class NearDuplicates:
    """What a look at all pictures found; by default nothing.

    Attributes:
        pairs: places of two items whose pictures are alike, the lower one first.
        identical: those of the pairs whose files are byte for byte the same.
        broken: places of items whose image cannot be decoded.
    """

    pairs: tuple[tuple[int, int], ...] = ()
    identical: frozenset[tuple[int, int]] = frozenset()
    broken: tuple[int, ...] = ()


def find_near_duplicates(items: Sequence[Item], *, root: Path, progress: Progress) -> NearDuplicates:
    """Look at every image that no earlier run has looked at since it changed.

    Args:
        items: whose places the pairs name.
        root: DATA folder of the items, for which the looks are remembered.
        progress: counts the images that are looked at.
    """
    looks = _looks(items, root, progress)
    seen = [(place, look) for place, look in enumerate(looks) if look is not None]
    places = [place for place, _ in seen]
    pairs = tuple(
        (places[one], places[other]) for one, other in alike_pairs([look.likeness for _, look in seen]).tolist()
    )
    digests = {place: look.sha256 for place, look in seen}
    return NearDuplicates(
        pairs=pairs,
        identical=frozenset((one, other) for one, other in pairs if digests[one] == digests[other]),
        broken=tuple(place for place, look in enumerate(looks) if look is None),
    )


def _looks(items: Sequence[Item], root: Path, progress: Progress) -> list[Look | None]:
    """One for each item, None where its image cannot be decoded, of which nothing is remembered."""
    known = recall_looks(root)
    looks = [
        look if (look := known.get(item.file_name)) is not None and look.holds_for(item.path) else None
        for item in items
    ]
    missing = [place for place, look in enumerate(looks) if look is None]
    if not missing:
        return looks
    progress.start("looking for near duplicates", len(missing), "img")
    try:
        with ThreadPoolExecutor(max_workers=usable_cores()) as pool:
            for start in range(0, len(missing), BATCH):
                places = missing[start : start + BATCH]
                for place, look in zip(places, pool.map(_look, [items[place] for place in places]), strict=True):
                    looks[place] = look
                progress.advance(len(places))
    finally:  # a stopped run has not looked in vain
        if any(looks[place] is not None for place in missing):
            pairs = zip(items, looks, strict=True)
            remember_looks(root, {item.file_name: look for item, look in pairs if look is not None})
    progress.finish()
    return looks


def _look(item: Item) -> Look | None:
    try:
        return look_at(item.path)
    except ImageError:
        return None

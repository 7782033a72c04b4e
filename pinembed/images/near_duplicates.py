"""Which items of a catalogue show the same picture, found by a coarse look at every one of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pinembed.errors import ImageError
from pinembed.images.decode import decode_image
from pinembed.images.likeness import LOOKED_AT_PX, Likeness, alike_pairs, likeness
from pinembed.images.read import read_file
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


def find_near_duplicates(items: Sequence[Item], *, progress: Progress) -> NearDuplicates:
    """Look at every image; places are those in `items`."""
    looks: list[tuple[Likeness, bytes] | None] = []
    progress.start("looking for copies", len(items), "img")
    with ThreadPoolExecutor(max_workers=usable_cores()) as pool:
        for start in range(0, len(items), BATCH):
            looks += pool.map(_look, items[start : start + BATCH])
            progress.advance(len(looks) - start)
    progress.finish()
    seen = [(place, look) for place, look in enumerate(looks) if look is not None]
    places = [place for place, _ in seen]
    pairs = tuple((places[one], places[other]) for one, other in alike_pairs([look[0] for _, look in seen]).tolist())
    digests = {place: digest for place, (_, digest) in seen}
    return NearDuplicates(
        pairs=pairs,
        identical=frozenset((one, other) for one, other in pairs if digests[one] == digests[other]),
        broken=tuple(place for place, look in enumerate(looks) if look is None),
    )


def _look(item: Item) -> tuple[Likeness, bytes] | None:
    try:
        content = read_file(item.path).content
        picture = decode_image(content, name=item.file_name, at_least_px=LOOKED_AT_PX)
    except ImageError:
        return None
    return likeness(picture), hashlib.sha256(content).digest()

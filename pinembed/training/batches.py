"""The order in which an epoch shows the items."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray


def epoch_batches(
    groups: Sequence[int], *, batch_size: int, views: int, rng: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    """Each item once, in batches that hold few items of the same group.

    A batch takes up to `views` items of a group, so that images of a group can be compared with each other while most
    of the batch are wrong answers; a group comes again only where the groups run out.

    Args:
        groups: code of each item's group.
        batch_size: items of a batch; what is left over at the end joins the last batch where it is less than half.
        views: items of one group that go together.
        rng: decides everything.
    """
    order = rng.permutation(len(groups))
    members: dict[int, list[int]] = {}
    for place in order:
        members.setdefault(groups[place], []).append(int(place))
    chunks = [
        (turn + rng.random(), places[start : start + views])
        for places in members.values()
        for turn, start in _turns(len(places), views, rng)
    ]
    chunks.sort(key=lambda chunk: chunk[0])
    shown = np.array([place for _, places in chunks for place in places], dtype=np.int64)
    batches = max(1, round(len(shown) / batch_size))
    yield from np.array_split(shown, batches)


def _turns(members: int, views: int, rng: np.random.Generator) -> Iterator[tuple[float, int]]:
    """Spread a group's chunks evenly over the epoch, from a random start."""
    starts = range(0, members, views)
    step = 1000 / len(starts)
    offset = rng.random() * step
    for turn, start in enumerate(starts):
        yield offset + turn * step, start

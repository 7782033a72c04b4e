"""Shard: some consecutive images of a plan, encoded by one worker into one fragment. ShardQueue cuts them."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import deque
from dataclasses import dataclass

import numpy as np

from pinembed.catalogue.candidates import UNKNOWN_SIZE, Indices
from pinembed.encoding.diff import ContentHashes
from pinembed.encoding.plan import Plan

SHARD_S = 300.0  # of work: what a worker's death costs at most
FIRST_IMAGES = 1_000  # of a worker whose rate nobody knows yet
FEWEST_IMAGES, MOST_IMAGES = 256, 100_000
SHARDS_LEFT = 3  # of the images that are left, for each worker, so that all of them end at about the same time


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One shard of one run.

    Attributes:
        number: in its epoch, from 0.
        plan: of its images alone, whose indices count from 0.
        first: place of its first image in the `load` of the whole plan.
    """

    number: int
    plan: Plan
    first: int

    @property
    def images(self) -> int:
        return len(self.plan.load)

    @property
    def digest(self) -> str:
        """Of the ids, so that no receipt is taken for another shard's."""
        told = hashlib.sha256()
        for item_id in self.plan.inputs.candidates.ids.to_pylist():
            told.update(item_id.encode() + b"\0")
        return told.hexdigest()


class ShardQueue:
    """The shards of a plan, cut when a worker wants one, so that each is about five minutes of that worker's work.

    Args:
        plan: of the whole run.
        workers: that will ask, at most.
        fixed: images of each shard; None makes them by the rate of who asks.
    """

    def __init__(self, plan: Plan, *, workers: int, fixed: int | None) -> None:
        self._plan = plan
        self._workers = workers
        self._fixed = fixed
        self._at = 0
        self._cut = 0
        self._again: deque[Shard] = deque()

    @property
    def images_left(self) -> int:
        """That are in no shard yet."""
        return len(self._plan.load) - self._at

    def next(self, images_per_s: float = 0.0) -> Shard | None:
        """A shard that came back, or a new one; None where there is none left now.

        Args:
            images_per_s: of the worker that will have it; 0 where that is not known.
        """
        if self._again:
            return self._again.popleft()
        if not self.images_left:
            return None
        images = min(self._fixed or self._images(images_per_s), self.images_left)
        shard = Shard(number=self._cut, plan=part_of(self._plan, self.indices(self._at, images)), first=self._at)
        self._cut += 1
        self._at += images
        return shard

    def give_back(self, shard: Shard) -> None:
        """Let another worker have a shard whose worker has died."""
        self._again.append(shard)

    def indices(self, first: int, images: int) -> Indices:
        """Of the candidates of a shard in the whole plan."""
        return self._plan.load[first : first + images]

    def _images(self, images_per_s: float) -> int:
        wanted = int(images_per_s * SHARD_S) or FIRST_IMAGES
        share = -(-self.images_left // (SHARDS_LEFT * self._workers))
        return min(MOST_IMAGES, max(FEWEST_IMAGES, min(wanted, share)))


def part_of(plan: Plan, indices: Indices) -> Plan:
    """The plan of some of the images of a plan: all that a worker needs to know, and nothing of the others."""
    inputs = plan.inputs
    candidates = inputs.candidates.take(indices).with_absolute_paths()
    sizes = np.unique(candidates.size_bytes)
    # where only reading tells a size, a content that the table has is encoded again, into the same vector
    hashes = ContentHashes([]) if sizes[:1] == UNKNOWN_SIZE else plan.content_hashes.of_sizes(sizes)
    ranks = {index: rank for rank, index in enumerate(indices.tolist())} if plan.unsure else {}
    return Plan(
        inputs=dataclasses.replace(inputs, candidates=candidates, failures=(), notes=()),
        unchanged=0,
        rewrite=np.empty(0, np.int64),
        load=np.arange(len(indices), dtype=np.int64),
        stored=plan.stored.part(indices),
        content_hashes=hashes,
        rows=0,
        unsure={ranks[index]: holder for index, holder in plan.unsure.items() if index in ranks},
    )

"""Batches of a split: which items stand together, and their pixels and texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from pinembed.catalogue.captions import Captioner
from pinembed.encoder.encoder import Encoder
from pinembed.training.datasets import SplitDataset
from pinembed.training.gradients import Batch
from pinembed.training.recipe import Recipe
from pinembed.training.world import World


def epoch_batches(
    groups: Sequence[int], *, batch_size: int, samples_per_group: int, rng: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    """Each item once, in batches that hold few items of the same group.

    A batch takes up to `samples_per_group` items of a group, so that images of a group can be compared with each other
    while most of the batch are negatives; a group comes again only where the groups run out.

    Args:
        groups: code of each item's group.
        batch_size: items of a batch; what is left over at the end joins the last batch where it is less than half.
        samples_per_group: items of one group that go together.
        rng: decides everything.
    """
    order = rng.permutation(len(groups))
    members: dict[int, list[int]] = {}
    for index in order:
        members.setdefault(groups[index], []).append(int(index))
    chunks = [
        (turn + rng.random(), indices[start : start + samples_per_group])
        for indices in members.values()
        for turn, start in _turns(len(indices), samples_per_group, rng)
    ]
    chunks.sort(key=lambda chunk: chunk[0])
    shown = np.array([index for _, indices in chunks for index in indices], dtype=np.int64)
    batches = max(1, round(len(shown) / batch_size))
    yield from np.array_split(shown, batches)


def _turns(members: int, samples_per_group: int, rng: np.random.Generator) -> Iterator[tuple[float, int]]:
    """Spread a group's chunks evenly over the epoch, from a random start."""
    starts = range(0, members, samples_per_group)
    step = 1000 / len(starts)
    offset = rng.random() * step
    for turn, start in enumerate(starts):
        yield offset + turn * step, start


class BatchLoader:
    """The training split as batches.

    Args:
        encoder: its tokenizer and device.
        recipe: sizes of batches.
        train: the split.
        captioner: phrases texts.
        world: processes that share a batch.
    """

    def __init__(
        self, encoder: Encoder, recipe: Recipe, train: SplitDataset, captioner: Captioner, world: World
    ) -> None:
        self._encoder = encoder
        self._recipe = recipe
        self._train = train
        self._captioner = captioner
        self._world = world

    def epoch(self, rng: np.random.Generator) -> Iterator[Batch]:
        """Each item once; the generator decides order and phrasings."""
        batches = list(
            epoch_batches(
                self._train.labelled.group_of_N.tolist(),
                batch_size=self._recipe.batch_size,
                samples_per_group=self._recipe.samples_per_group,
                rng=rng,
            )
        )
        for indices, following in zip(batches, [*batches[1:], None], strict=True):
            if following is not None:
                self._train.pixels.prepare(self._own(following))
            yield self._batch(indices, rng)

    def _own(self, indices: NDArray[np.int64]) -> list[int]:
        """The images of a batch that this process embeds."""
        share = self._world.share(len(indices))
        return [int(index) for index in indices[share.start : share.stop]]

    def _batch(self, indices: NDArray[np.int64], rng: np.random.Generator) -> Batch:
        """Each image is said twice: as it may be described, and as it is called."""
        items = [self._train.labelled.items[index] for index in indices]
        said: dict[str, int] = {}
        described = [said.setdefault(self._captioner.sample(item, rng), len(said)) for item in items]
        called = [said.setdefault(self._captioner.name(item, rng), len(said)) for item in items]
        device = self._encoder.device
        return Batch(
            pixels_BCHW=self._train.pixels.batch(self._own(indices)).to(device),
            tokens_MT=self._encoder.tokenizer(list(said)).to(device),
            said_VB=torch.tensor([described, called], device=device),
            group_B=self._train.labelled.group_of_N[indices],
            text_B=self._train.labelled.text_of_N[indices],
        )

"""Items to what a training step shows: pixels, new phrasings of their texts, and who belongs together.

Shape legend: B images of a batch, M distinct texts of it, V phrasings of an image, T context length.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from pinembed.catalogue.captions import Captioner
from pinembed.encoder.encoder import Encoder
from pinembed.jobs.finetune.examples import Examples
from pinembed.training.batches import epoch_batches
from pinembed.training.gradients import Batch
from pinembed.training.recipe import Recipe
from pinembed.training.world import World


class Showing:
    """The training split as batches.

    Args:
        encoder: its tokenizer and device.
        recipe: sizes of batches.
        train: the split.
        captioner: phrases texts.
        world: processes that share a batch.
    """

    def __init__(self, encoder: Encoder, recipe: Recipe, train: Examples, captioner: Captioner, world: World) -> None:
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
                views=self._recipe.views,
                rng=rng,
            )
        )
        for places, following in zip(batches, [*batches[1:], None], strict=True):
            if following is not None:
                self._train.pixels.prepare(self._own(following))
            yield self._batch(places, rng)

    def _own(self, places: NDArray[np.int64]) -> list[int]:
        """The images of a batch that this process embeds."""
        share = self._world.share(len(places))
        return [int(place) for place in places[share.start : share.stop]]

    def _batch(self, places: NDArray[np.int64], rng: np.random.Generator) -> Batch:
        """Each image is said twice: as it may be described, and as it is called."""
        items = [self._train.labelled.items[place] for place in places]
        said: dict[str, int] = {}
        described = [said.setdefault(self._captioner.sample(item, rng), len(said)) for item in items]
        called = [said.setdefault(self._captioner.name(item, rng), len(said)) for item in items]
        device = self._encoder.device
        return Batch(
            pixels_BCHW=self._train.pixels.batch(self._own(places)).to(device),
            tokens_MT=self._encoder.tokenizer(list(said)).to(device),
            said_VB=torch.tensor([described, called], device=device),
            group_B=self._train.labelled.group_of_N[places],
            text_B=self._train.labelled.text_of_N[places],
        )

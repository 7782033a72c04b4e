"""Batch norms measured on training pictures whenever the weights have become others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from pinembed.encoder.encoder import Encoder
from pinembed.jobs.finetune.examples import Examples
from pinembed.nouns.progress import Progress
from pinembed.training.recipe import Recipe
from pinembed.training.statistics import FEWEST_FOR_STATISTICS, batch_norms, take_statistics

BATCH_SIZE = 64
IMAGES_TO_KEEP, IMAGES_TO_LOOK = 2048, 256
"""For weights that may be kept, and for a look at those of the moment; as many as there are."""


class Statistics:
    """What the encoder's batch norms use outside training.

    Towers without batch norms, and those whose batch norms kept the base's statistics because batches were too small
    for their own, are left as they are.

    Attributes:
        images: that a look takes; 0 where nothing is measured.

    Args:
        encoder: its model changes during the run.
        recipe: of the run.
        train: the split that is learned from.
        seed: which images are taken of many.
        progress: who watches.
    """

    def __init__(self, encoder: Encoder, recipe: Recipe, train: Examples, *, seed: int, progress: Progress) -> None:
        self._encoder = encoder
        self._train = train
        self._progress = progress
        self._norms = batch_norms(encoder.model) if recipe.batch_size >= FEWEST_FOR_STATISTICS else []
        drawn = np.random.default_rng((seed, 1)).permutation(len(train.pixels))[:IMAGES_TO_KEEP]
        batches = [drawn[start : start + BATCH_SIZE].tolist() for start in range(0, len(drawn), BATCH_SIZE)]
        self._batches = [places for places in batches if len(places) >= FEWEST_FOR_STATISTICS] if self._norms else []
        self._few = self._batches[: IMAGES_TO_LOOK // BATCH_SIZE]
        self.images = sum(map(len, self._few))

    def look(self) -> None:
        """Measure them with the weights of the moment, on few images."""
        self._take(self._few)

    def completed(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """The weights with statistics of their own, on many images; the encoder holds them afterwards."""
        self._encoder.model.load_state_dict(weights)
        self._take(self._batches)
        return {name: tensor.detach().clone() for name, tensor in self._encoder.model.state_dict().items()}

    def _take(self, batches: Sequence[list[int]]) -> None:
        if batches:
            self._encoder.model.eval()
            take_statistics(self._norms, cast(Any, self._encoder.model).encode_image, self._pixels(batches))

    def _pixels(self, batches: Sequence[list[int]]) -> Iterator[Tensor]:
        self._progress.start("batch-norm statistics", sum(map(len, batches)), "img")
        for places in batches:
            pixels_BCHW = self._encoder.standardise(self._train.pixels.batch(places))
            yield pixels_BCHW.contiguous(memory_format=torch.channels_last)
            self._progress.advance(len(places))
        self._progress.finish()

"""Batch norms measured on training pictures whenever the weights have become others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from pinembed.encoder.encoder import Encoder
from pinembed.jobs.finetune.examples import Examples
from pinembed.nouns.progress import Progress
from pinembed.training.recipe import Recipe
from pinembed.training.statistics import FEWEST_FOR_STATISTICS, batch_norms, take_statistics

BATCH_SIZE, MOST_IMAGES = 64, 1024


class Statistics:
    """What the encoder's batch norms use outside training.

    Towers without batch norms, and those whose batch norms kept the base's statistics because batches were too small
    for their own, are left as they are.

    Attributes:
        images: that are looked at each time; 0 where nothing is measured.

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
        drawn = np.random.default_rng((seed, 1)).permutation(len(train.pixels))[:MOST_IMAGES]
        batches = [drawn[start : start + BATCH_SIZE].tolist() for start in range(0, len(drawn), BATCH_SIZE)]
        self._batches = [places for places in batches if len(places) >= FEWEST_FOR_STATISTICS] if self._norms else []
        self.images = sum(len(places) for places in self._batches)

    def take(self) -> None:
        """Measure them with the weights of the moment."""
        if self._batches:
            self._encoder.model.eval()
            take_statistics(self._norms, cast(Any, self._encoder.model).encode_image, self._pixels())

    def completed(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """The weights with statistics of their own; the encoder holds them afterwards."""
        self._encoder.model.load_state_dict(weights)
        self.take()
        return {name: tensor.detach().clone() for name, tensor in self._encoder.model.state_dict().items()}

    def _pixels(self) -> Iterator[Tensor]:
        self._progress.start("batch-norm statistics", self.images, "img")
        for places in self._batches:
            pixels_BCHW = self._encoder.standardise(self._train.pixels.batch(places))
            yield pixels_BCHW.contiguous(memory_format=torch.channels_last)
            self._progress.advance(len(places))
        self._progress.finish()

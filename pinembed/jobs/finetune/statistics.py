"""Batch norms measured on training pictures whenever the weights have become others."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from torch import Tensor

from pinembed.encoder.encoder import Encoder
from pinembed.jobs.finetune.examples import BATCH_SIZE, Examples, tower_inputs
from pinembed.nouns.progress import Progress
from pinembed.training.recipe import Recipe
from pinembed.training.statistics import FEWEST_FOR_STATISTICS, batch_norms, take_statistics

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
        rest = len(drawn) % BATCH_SIZE
        whole = len(drawn) - rest if rest < FEWEST_FOR_STATISTICS else len(drawn)
        self._places = drawn[:whole].tolist() if self._norms else []
        self.images = len(self._places[:IMAGES_TO_LOOK])

    def look(self) -> None:
        """Measure them with the weights of the moment, on few images."""
        self._take(self._places[: self.images])

    def completed(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """The weights with statistics of their own, on many images; the encoder holds them afterwards."""
        self._encoder.model.load_state_dict(weights)
        self._take(self._places)
        return {name: tensor.detach().clone() for name, tensor in self._encoder.model.state_dict().items()}

    def _take(self, places: list[int]) -> None:
        if places:
            self._encoder.model.eval()
            inputs = tower_inputs(
                self._encoder, self._train, places, stage="batch-norm statistics", progress=self._progress
            )
            take_statistics(self._norms, cast(Any, self._encoder.model).encode_image, inputs)

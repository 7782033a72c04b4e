"""Mean and variance that batch norms use outside training, taken from pictures as the encoder will see them.

Training shows enlarged, recoloured crops at a smaller side, and the running statistics are those of the crops. Weights
that were averaged or blended had statistics of their own for no picture at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pinembed.encoder.encoder import Encoder
from pinembed.nouns.progress import Progress
from pinembed.training.datasets import BATCH_SIZE, SplitDataset, tower_inputs
from pinembed.training.optimiser import IMAGE_PREFIX
from pinembed.training.recipe import Recipe

FEWEST_FOR_STATISTICS = 16
"""Images in a batch whose mean and variance stand for others."""


def batch_norms(model: nn.Module) -> list[_BatchNorm]:
    """All that keep running statistics in the image tower of an open_clip model."""
    return [
        module
        for name, module in model.named_modules()
        if name.startswith(IMAGE_PREFIX) and isinstance(module, _BatchNorm) and module.track_running_stats
    ]


@torch.no_grad()
def recalibrate(norms: Iterable[_BatchNorm], encode: Callable[[Tensor], object], batches: Iterable[Tensor]) -> None:
    """Replace the running statistics by the mean over batches, with the weights of the moment.

    Args:
        norms: of a model in evaluation mode, which they are left in.
        encode: runs them all.
        batches: its input, FEWEST_FOR_STATISTICS rows or more each.
    Source: Wu and Johnson 2021, Rethinking "batch" in BatchNorm, arXiv:2105.07576, section 3 (PreciseBN).
    """
    momenta = [(norm, norm.momentum) for norm in norms]
    for norm, _ in momenta:
        norm.reset_running_stats()
        norm.momentum = None  # equal shares for all batches
        norm.train()
    try:
        for batch in batches:
            encode(batch)
    finally:
        for norm, momentum in momenta:
            norm.momentum = momentum
            norm.eval()


IMAGES_TO_KEEP, IMAGES_TO_LOOK = 2048, 256
"""For weights that may be kept, and for a look at those of the moment; as many as there are."""


class BatchNormRecalibration:
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

    def __init__(self, encoder: Encoder, recipe: Recipe, train: SplitDataset, *, seed: int, progress: Progress) -> None:
        self._encoder = encoder
        self._train = train
        self._progress = progress
        self._norms = batch_norms(encoder.model) if recipe.batch_size >= FEWEST_FOR_STATISTICS else []
        drawn = np.random.default_rng((seed, 1)).permutation(len(train.pixels))[:IMAGES_TO_KEEP]
        rest = len(drawn) % BATCH_SIZE
        whole = len(drawn) - rest if rest < FEWEST_FOR_STATISTICS else len(drawn)
        self._indices = drawn[:whole].tolist() if self._norms else []
        self.images = len(self._indices[:IMAGES_TO_LOOK])

    def look(self) -> None:
        """Measure them with the weights of the moment, on few images."""
        self._take(self._indices[: self.images])

    def completed(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """The weights with statistics of their own, on many images; the encoder holds them afterwards."""
        self._encoder.model.load_state_dict(weights)
        self._take(self._indices)
        return {name: tensor.detach().clone() for name, tensor in self._encoder.model.state_dict().items()}

    def _take(self, indices: list[int]) -> None:
        if indices:
            self._encoder.model.eval()
            inputs = tower_inputs(
                self._encoder, self._train, indices, stage="batch-norm statistics", progress=self._progress
            )
            recalibrate(self._norms, cast(Any, self._encoder.model).encode_image, inputs)

"""Mean and variance that batch norms use outside training, taken from pictures as the encoder will see them.

Training shows enlarged, recoloured crops at a smaller side, and the running statistics are those of the crops. Weights
that were averaged or blended had statistics of their own for no picture at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pinembed.training.optimiser import IMAGE_PREFIX

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
def take_statistics(norms: Iterable[_BatchNorm], encode: Callable[[Tensor], object], batches: Iterable[Tensor]) -> None:
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

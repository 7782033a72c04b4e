"""Once validation has chosen, its images teach the last layers too.

In a catalogue of some hundred images those of validation are a fifth or more of what could be learned from, and unlike
training's their features are those of images that the towers have not seen. The epoch, the rate and the share of the
base are chosen without them, as scikit-learn's searches refit their choice on all data.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pinembed.catalogue.captions import Captioner
from pinembed.encoder.encoder import Encoder
from pinembed.nouns.progress import Progress
from pinembed.training.datasets import Learnable
from pinembed.training.projections import fitted_projections

SHARE = 0.5
"""Of the way to projections that fit training's and validation's images best, as `encode` will see them. All of it
gains as much where items are like those that were seen, and loses twice as much where they are not."""


def refit(
    encoder: Encoder,
    weights: dict[str, Tensor],
    images: Learnable,
    *,
    captioner: Captioner,
    seed: int,
    progress: Progress,
) -> dict[str, Tensor] | None:
    """Weights whose projections went SHARE of the way to those that fit the images; None where none can be fitted.

    Args:
        encoder: its model is changed in place.
        weights: a state dict of it.
        images: training's and validation's.
        captioner: phrases their texts.
        seed: of the batches.
        progress: told of the images.
    """
    encoder.model.load_state_dict(weights)
    fitted = fitted_projections(encoder, images, captioner, seed=seed, progress=progress)
    if not fitted or not all(torch.isfinite(tensor).all() for tensor in fitted.values()):
        return None
    return {**weights, **{name: torch.lerp(weights[name], fitted[name], SHARE) for name in fitted}}

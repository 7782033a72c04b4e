"""What a step makes smaller: the losses of a recipe, added up.

Shape legend: B images of a batch, M texts of a batch, V phrasings of an image, D embedding floats.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pinembed.training.losses import balanced_bias, image_image_loss, image_text_loss, pairwise_loss
from pinembed.training.recipe import PAIRWISE, Recipe

SMALLEST_PREFIX = 32
LARGEST_SCALE = 100
BIAS_KEY = "bias"


class Objective:
    """Image-text loss, contrast between images, and both again for prefixes of the embedding.

    The temperature is the model's and stays. So does the bias of pairwise losses where the model brings one that it
    was trained with; others start with the one that fits the first batch, which is kept.

    Args:
        model: an open_clip model.
        recipe: which losses, and how much of each.
    """

    def __init__(self, model: nn.Module, recipe: Recipe) -> None:
        self._model = cast(Any, model)
        self._recipe = recipe
        self._bias: Tensor | None = None

    def __call__(self, image_BD: Tensor, text_MD: Tensor, said_VB: Tensor, positive_BB: Tensor) -> Tensor:
        """The loss of a batch.

        Args:
            image_BD: unit rows.
            text_MD: unit rows of the batch's distinct phrasings.
            said_VB: places in text_MD of the phrasings of each image.
            positive_BB: which images belong together, and with each other's texts.
        """
        scale = self._model.logit_scale.detach().exp()
        if self._recipe.loss != PAIRWISE:
            scale = scale.clamp(max=LARGEST_SCALE)
        else:
            self._find_bias(image_BD, text_MD[said_VB[0]], positive_BB, scale)
        losses = []
        for dim in prefix_dims(image_BD.shape[1]) if self._recipe.matryoshka else (image_BD.shape[1],):
            image, text = (F.normalize(rows[:, :dim], dim=1) for rows in (image_BD, text_MD))
            pairs = [self._image_text(image, text[said_B], positive_BB, scale) for said_B in said_VB]
            losses.append(torch.stack(pairs).mean())
            if self._recipe.image_image_weight:
                losses[-1] = losses[-1] + self._recipe.image_image_weight * image_image_loss(image, positive_BB, scale)
        return torch.stack(losses).mean()

    def state(self) -> dict[str, Tensor]:
        return {} if self._bias is None else {BIAS_KEY: self._bias}

    def restore(self, state: dict[str, Tensor]) -> None:
        self._bias = state.get(BIAS_KEY)

    def _image_text(self, image_BD: Tensor, text_BD: Tensor, positive_BB: Tensor, scale: Tensor) -> Tensor:
        if self._recipe.loss == PAIRWISE:
            return pairwise_loss(image_BD, text_BD, positive_BB, scale, cast(Tensor, self._bias))
        return image_text_loss(image_BD, text_BD, positive_BB, scale)

    def _find_bias(self, image_BD: Tensor, text_BD: Tensor, positive_BB: Tensor, scale: Tensor) -> None:
        if self._bias is None:
            own = getattr(self._model, "logit_bias", None)
            found = balanced_bias(image_BD, text_BD, positive_BB, scale) if own is None else own.detach()
            self._bias = found.clone().to(image_BD.device)


def prefix_dims(dim: int) -> tuple[int, ...]:
    """All floats, and halves of them down to a prefix that is still of use.

    Source: Kusupati et al. 2022, Matryoshka representation learning, arXiv:2205.13147.
    """
    dims = [dim]
    while dims[-1] // 2 >= SMALLEST_PREFIX:
        dims.append(dims[-1] // 2)
    return tuple(dims)

"""What a step makes smaller: the losses of a recipe, added up.

Shape legend: B images of a batch, M texts of a batch, V phrasings of an image, D embedding floats.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pinembed.training.recipe import PAIRWISE, Recipe


def image_text_loss(image_BD: Tensor, text_BD: Tensor, positive_BB: Tensor, scale: Tensor) -> Tensor:
    """Symmetric cross-entropy between the softmax over the batch and equal shares for all positives.

    Args:
        image_BD: unit rows.
        text_BD: unit rows.
        positive_BB: image i and text j belong together; the diagonal is True.
        scale: inverse temperature.
    Source: Yang et al. 2022, Unified Contrastive Learning, arXiv:2204.03610, equations 1 to 3.
    """
    logits_BB = scale * image_BD @ text_BD.T
    share_BB = positive_BB / positive_BB.sum(dim=1, keepdim=True)
    share_T_BB = positive_BB.T / positive_BB.T.sum(dim=1, keepdim=True)
    return (F.cross_entropy(logits_BB, share_BB) + F.cross_entropy(logits_BB.T, share_T_BB)) / 2


def pairwise_loss(image_BD: Tensor, text_BD: Tensor, positive_BB: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """Each pair judged on its own as right or wrong: the sum over an image's texts, the mean over images.

    Args:
        image_BD: unit rows.
        text_BD: unit rows.
        positive_BB: image i and text j belong together.
        scale: inverse temperature.
        bias: added to every logit; see `balanced_bias`.
    Source: Zhai et al. 2023, Sigmoid loss for language image pre-training, arXiv:2303.15343, equation 1.
    """
    logits_BB = scale * image_BD @ text_BD.T + bias
    return -F.logsigmoid(torch.where(positive_BB, logits_BB, -logits_BB)).sum(dim=1).mean()


@torch.no_grad()
def balanced_bias(image_BD: Tensor, text_BD: Tensor, positive_BB: Tensor, scale: Tensor) -> Tensor:
    """The bias with which a model of a softmax loss starts on pairs: one positive in a batch is expected.

    It is -ln(B - 1), less the logit that wrong pairs have on average, for the softmax did not care for their level.
    """
    logits_BB = scale * image_BD @ text_BD.T
    wrong_BB = ~positive_BB
    level = logits_BB[wrong_BB].mean() if bool(wrong_BB.any()) else logits_BB.mean()
    return -torch.log(torch.tensor(max(len(image_BD) - 1.0, 1.0), device=level.device)) - level


def image_image_loss(image_BD: Tensor, positive_BB: Tensor, scale: Tensor) -> Tensor:
    """Supervised contrast between the images of a batch; images without a partner are passed over.

    Source: Khosla et al. 2020, Supervised Contrastive Learning, arXiv:2004.11362, equation 2.
    """
    itself_BB = torch.eye(len(image_BD), dtype=torch.bool, device=image_BD.device)
    partner_BB = positive_BB & ~itself_BB
    has_partner_B = partner_BB.any(dim=1)
    if not bool(has_partner_B.any()):
        return image_BD.sum() * 0
    logits_BB = (scale * image_BD @ image_BD.T).masked_fill(itself_BB, -torch.inf)
    share_BB = partner_BB[has_partner_B] / partner_BB[has_partner_B].sum(dim=1, keepdim=True)
    log_share_BB = F.log_softmax(logits_BB[has_partner_B], dim=1).masked_fill(~partner_BB[has_partner_B], 0)
    return -(share_BB * log_share_BB).sum(dim=1).mean()


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
            said_VB: indices in text_MD of the phrasings of each image.
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

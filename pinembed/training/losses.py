"""Contrastive losses in which every positive of an item is right; `metrics.relevance` tells which these are.

Shape legend: B batch, D embedding floats.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def image_text_loss(image_BD: Tensor, text_BD: Tensor, positive_BB: Tensor, scale: Tensor) -> Tensor:
    """Symmetric cross-entropy between the softmax over the batch and equal shares for all right answers.

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
    """The bias with which a model of a softmax loss starts on pairs: one right answer in a batch is expected.

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

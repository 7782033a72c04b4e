"""Random views of a batch of pixels, as one operation on the batch.

Captions name colours and shapes, so hue stays and the crop keeps most of the item.

Shape legend: B batch, C channels (3), H = W = image_px.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from pinembed.training.world import Share

SMALLEST_AREA = 0.3
LARGEST_STRETCH = 4 / 3
BRIGHTNESS, CONTRAST, SATURATION = 0.25, 0.25, 0.25
GREY_C = (0.299, 0.587, 0.114)


def augment(
    pixels_BCHW: Tensor, generator: torch.Generator, *, image_px: int | None = None, share: Share | None = None
) -> Tensor:
    """A random crop, flip, brightness, contrast and saturation for each picture.

    Args:
        pixels_BCHW: uint8.
        generator: decides everything; on the CPU.
        image_px: side of the result where it differs from the input's.
        share: the pictures are these of a larger batch, and get what they would get there.

    Returns:
        (B, C, image_px, image_px) float32 on the scale 0..255, on the pixels' device.
    """
    side_px = image_px or pixels_BCHW.shape[-1]
    draws = _Draws(generator, share or Share(0, len(pixels_BCHW), len(pixels_BCHW)), pixels_BCHW.device)
    views_BCHW = _crop_and_flip(pixels_BCHW.float(), draws, side_px)
    return _recolour(views_BCHW, draws).clamp_(0, 255)


@dataclass(frozen=True)
class _Draws:
    """Random numbers for each picture of a batch, of which a share is kept."""

    generator: torch.Generator
    share: Share
    device: torch.device

    def uniform(self, low: float, high: float) -> Tensor:
        drawn_B = torch.empty(self.share.batch).uniform_(low, high, generator=self.generator)
        return drawn_B[self.share.start : self.share.stop].to(self.device)


def _crop_and_flip(pixels_BCHW: Tensor, draws: _Draws, side_px: int) -> Tensor:
    area_B = draws.uniform(SMALLEST_AREA, 1)
    stretch_B = draws.uniform(-math.log(LARGEST_STRETCH), math.log(LARGEST_STRETCH)).exp().sqrt()
    width_B, height_B = (area_B.sqrt() * stretch_B).clamp(max=1), (area_B.sqrt() / stretch_B).clamp(max=1)
    left_B = draws.uniform(-1, 1) * (1 - width_B)
    top_B = draws.uniform(-1, 1) * (1 - height_B)
    flip_B = torch.where(draws.uniform(0, 1) < 0.5, -1.0, 1.0)
    zero_B = torch.zeros_like(left_B)
    affine_B23 = torch.stack(
        [torch.stack([width_B * flip_B, zero_B, left_B], 1), torch.stack([zero_B, height_B, top_B], 1)], 1
    )
    grid_BHW2 = F.affine_grid(affine_B23, [len(pixels_BCHW), 3, side_px, side_px], align_corners=False)
    return F.grid_sample(pixels_BCHW, grid_BHW2, mode="bilinear", padding_mode="reflection", align_corners=False)


def _recolour(pixels_BCHW: Tensor, draws: _Draws) -> Tensor:
    def factor(span: float) -> Tensor:
        return draws.uniform(1 - span, 1 + span).view(-1, 1, 1, 1)

    pixels_BCHW = pixels_BCHW * factor(BRIGHTNESS)
    weight_C = torch.tensor(GREY_C, device=draws.device).view(1, 3, 1, 1)
    grey_B1HW = (pixels_BCHW * weight_C).sum(dim=1, keepdim=True)
    mean_B = grey_B1HW.mean(dim=(1, 2, 3), keepdim=True)
    # blend with grey for saturation and with the mean for contrast in one pass
    saturation_B, contrast_B = factor(SATURATION), factor(CONTRAST)
    blended_BCHW = grey_B1HW + (pixels_BCHW - grey_B1HW) * saturation_B
    return mean_B + (blended_BCHW - mean_B) * contrast_B

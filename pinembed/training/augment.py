"""Random views of a batch of pixels, as one operation on the batch.

Captions name colours and shapes, so hue stays and the crop keeps most of the item.

Shape legend: B batch, C channels (3), H = W = image_px.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

SMALLEST_AREA = 0.45
LARGEST_STRETCH = 4 / 3
BRIGHTNESS, CONTRAST, SATURATION = 0.25, 0.25, 0.25
GREY_C = (0.299, 0.587, 0.114)


def augment(pixels_BCHW: Tensor, generator: torch.Generator, *, image_px: int | None = None) -> Tensor:
    """A random crop, flip, brightness, contrast and saturation for each picture.

    Args:
        pixels_BCHW: uint8.
        generator: decides everything; on the CPU.
        image_px: side of the result where it differs from the input's.

    Returns:
        (B, C, image_px, image_px) float32 on the scale 0..255, on the pixels' device.
    """
    side_px = image_px or pixels_BCHW.shape[-1]
    views_BCHW = _crop_and_flip(pixels_BCHW.float(), generator, side_px)
    return _recolour(views_BCHW, generator).clamp_(0, 255)


def _uniform(size: int, low: float, high: float, generator: torch.Generator, device: torch.device) -> Tensor:
    return torch.empty(size).uniform_(low, high, generator=generator).to(device)


def _crop_and_flip(pixels_BCHW: Tensor, generator: torch.Generator, side_px: int) -> Tensor:
    batch, device = len(pixels_BCHW), pixels_BCHW.device
    area_B = _uniform(batch, SMALLEST_AREA, 1, generator, device)
    stretch_B = _uniform(batch, -math.log(LARGEST_STRETCH), math.log(LARGEST_STRETCH), generator, device).exp().sqrt()
    width_B, height_B = (area_B.sqrt() * stretch_B).clamp(max=1), (area_B.sqrt() / stretch_B).clamp(max=1)
    left_B = _uniform(batch, -1, 1, generator, device) * (1 - width_B)
    top_B = _uniform(batch, -1, 1, generator, device) * (1 - height_B)
    flip_B = torch.where(_uniform(batch, 0, 1, generator, device) < 0.5, -1.0, 1.0)
    zero_B = torch.zeros_like(left_B)
    affine_B23 = torch.stack(
        [torch.stack([width_B * flip_B, zero_B, left_B], 1), torch.stack([zero_B, height_B, top_B], 1)], 1
    )
    grid_BHW2 = F.affine_grid(affine_B23, [batch, 3, side_px, side_px], align_corners=False)
    return F.grid_sample(pixels_BCHW, grid_BHW2, mode="bilinear", padding_mode="reflection", align_corners=False)


def _recolour(pixels_BCHW: Tensor, generator: torch.Generator) -> Tensor:
    batch, device = len(pixels_BCHW), pixels_BCHW.device

    def factor(span: float) -> Tensor:
        return _uniform(batch, 1 - span, 1 + span, generator, device).view(batch, 1, 1, 1)

    pixels_BCHW = pixels_BCHW * factor(BRIGHTNESS)
    weight_C = torch.tensor(GREY_C, device=device).view(1, 3, 1, 1)
    grey_B1HW = (pixels_BCHW * weight_C).sum(dim=1, keepdim=True)
    mean_B = grey_B1HW.mean(dim=(1, 2, 3), keepdim=True)
    # blend with grey for saturation and with the mean for contrast in one pass
    saturation_B, contrast_B = factor(SATURATION), factor(CONTRAST)
    blended_BCHW = grey_B1HW + (pixels_BCHW - grey_B1HW) * saturation_B
    return mean_B + (blended_BCHW - mean_B) * contrast_B

"""The image tower as one module from uint8 pixels to features: what the backends compile.

Shape legend: B batch, C channels (3), H = W = image_px, D embedding floats.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, nn

from pinembed.encoder.encoder import build_visual
from pinembed.encoder.locate import EncoderFiles, preprocessing_of
from pinembed.nouns.encoder_spec import Preprocessing


class ImageTower(nn.Module):
    """Standardisation and image tower, without a text tower.

    Args:
        visual: open_clip's image tower.
        preprocessing: gives the standardisation.
    """

    def __init__(self, visual: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        weight = next(visual.parameters())
        std_C = torch.tensor(preprocessing.std, device=weight.device).view(1, 3, 1, 1)
        mean_C = torch.tensor(preprocessing.mean, device=weight.device).view(1, 3, 1, 1)
        self.register_buffer("scale_C", 1 / (255 * std_C))
        self.register_buffer("shift_C", mean_C / std_C)
        self.visual = visual
        self.image_px = preprocessing.image_px
        self.preprocessing = preprocessing
        self.device = weight.device
        self.dtype = weight.dtype
        self.eval()

    def forward(self, pixels_BCHW: Tensor) -> Tensor:
        """(B, 3, H, W) uint8 to features (B, D) float32."""
        standardised_BCHW = pixels_BCHW.float() * cast(Tensor, self.scale_C) - cast(Tensor, self.shift_C)
        features_BD: Tensor = self.visual(standardised_BCHW.to(self.dtype))
        return features_BD.float()

    def in_precision(self, dtype: torch.dtype) -> ImageTower:
        """The same tower with weights and activations of another type; this one stays as it is."""
        if dtype == self.dtype:
            return self
        tensors = (*self.visual.parameters(), *self.visual.buffers())
        # deepcopy takes what is in here instead of copying it, so that there is never a second tower in fp32
        lowered = {id(tensor): _lowered(tensor, dtype) for tensor in tensors if tensor.is_floating_point()}
        return ImageTower(copy.deepcopy(self.visual, lowered), self.preprocessing)


def load_tower(files: EncoderFiles, *, device: str | torch.device = "cpu") -> ImageTower:
    """The image tower that these files describe, in fp32.

    Raises:
        EncoderError: unreadable, or weights that do not fit the configuration.
        InstallationError: open_clip does not load.
    """
    return ImageTower(build_visual(files, device=device), preprocessing_of(files))


def _lowered(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    lowered = tensor.detach().to(dtype)
    return nn.Parameter(lowered, requires_grad=False) if isinstance(tensor, nn.Parameter) else lowered


@contextmanager
def plain_attention() -> Iterator[None]:
    """Attention out of plain operations, which exporters know, instead of torch's fused inference path."""
    previous = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the tracers' remarks about shapes that are constant here
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(previous)

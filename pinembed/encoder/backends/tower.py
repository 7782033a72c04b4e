"""The image tower as one module from uint8 pixels to features: what the backends compile.

Shape legend: B batch, C channels (3), H = W = image_px, D embedding floats.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pinembed.encoder.encoder import Encoder, unit_rows

Pixels = NDArray[np.uint8]
Vectors = NDArray[np.float32]


class ImageBackend(Protocol):
    """Computes embeddings of preprocessed images.

    Attributes:
        name: what computes and in which precision, such as `openvino bf16`.
    """

    name: str

    def embed(self, pixels_BCHW: Pixels) -> Vectors:
        """(B, 3, H, W) uint8 to (B, D) float32 of norm 1, of any B.

        Raises:
            NonFiniteEmbeddingError: a row holds NaN or inf.
        """


class ImageTower(nn.Module):
    """Standardisation and image tower of an encoder, without its text tower.

    Args:
        encoder: gives weights and preprocessing.
        dtype: of weights and activations.
    """

    def __init__(self, encoder: Encoder, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        std_C = torch.tensor(encoder.preprocessing.std, device=encoder.device).view(1, 3, 1, 1)
        mean_C = torch.tensor(encoder.preprocessing.mean, device=encoder.device).view(1, 3, 1, 1)
        self.register_buffer("scale_C", 1 / (255 * std_C))
        self.register_buffer("shift_C", mean_C / std_C)
        visual = cast(Any, encoder.model).visual
        self.visual = visual if dtype == torch.float32 else copy.deepcopy(visual).to(dtype)
        self.dtype = dtype
        self.eval()

    def forward(self, pixels_BCHW: Tensor) -> Tensor:
        """(B, 3, H, W) uint8 to features (B, D) float32."""
        standardised_BCHW = pixels_BCHW.float() * cast(Tensor, self.scale_C) - cast(Tensor, self.shift_C)
        features_BD: Tensor = self.visual(standardised_BCHW.to(self.dtype))
        return features_BD.float()


def of_fixed_size(pixels_BCHW: Pixels, batch_size: int) -> Pixels:
    """A short batch filled up with its last image: the kernels, and so the last bits, are always the same."""
    lacking = batch_size - len(pixels_BCHW)
    return np.concatenate([pixels_BCHW, np.repeat(pixels_BCHW[-1:], lacking, axis=0)]) if lacking > 0 else pixels_BCHW


def normalised(features_BD: Tensor) -> Vectors:
    """Features to embeddings.

    Raises:
        NonFiniteEmbeddingError: a row holds NaN or inf.
    """
    return unit_rows(features_BD).cpu().numpy()


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

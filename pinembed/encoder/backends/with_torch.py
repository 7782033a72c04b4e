"""Embeddings by torch, in fp32 or with bf16 weights, on the CPU or a GPU."""

from __future__ import annotations

import torch

from pinembed.encoder.backends.tower import ImageTower, Pixels, Vectors, normalised, of_fixed_size
from pinembed.encoder.encoder import Encoder
from pinembed.errors import EncoderError


class TorchBackend:
    """The image tower in torch.

    Args:
        encoder: loaded, on its device.
        batch_size: images at once; halved for good when the GPU's memory runs out.
        dtype: torch.float32 or torch.bfloat16.
    """

    def __init__(self, encoder: Encoder, batch_size: int, dtype: torch.dtype = torch.float32) -> None:
        self.name = f"torch {'bf16' if dtype == torch.bfloat16 else 'fp32'} {encoder.device}"
        self._tower = ImageTower(encoder, dtype)
        self._device = encoder.device
        self._batch_size = batch_size

    @torch.inference_mode()
    def embed(self, pixels_BCHW: Pixels) -> Vectors:
        """See ImageBackend.

        Raises:
            NonFiniteEmbeddingError: a row holds NaN or inf.
            EncoderError: the memory does not suffice for one image.
        """
        pieces: list[torch.Tensor] = []
        start = 0
        while start < len(pixels_BCHW):
            piece_BCHW = pixels_BCHW[start : start + self._batch_size]
            try:
                pieces.append(self._features(piece_BCHW))
                start += len(piece_BCHW)
            except torch.OutOfMemoryError as error:
                self._halve(error)
        return normalised(torch.cat(pieces))

    def _features(self, pixels_BCHW: Pixels) -> torch.Tensor:
        batch_BCHW = torch.from_numpy(of_fixed_size(pixels_BCHW, self._batch_size))
        if self._device.type == "cuda":
            batch_BCHW = batch_BCHW.pin_memory()
        features_BD: torch.Tensor = self._tower(batch_BCHW.to(self._device, non_blocking=True))
        return features_BD[: len(pixels_BCHW)]

    def _halve(self, error: torch.OutOfMemoryError) -> None:
        if self._batch_size == 1:
            raise EncoderError(
                f"The memory of {self._device} does not suffice for one image.",
                remedy="End what else runs there, or give --device cpu.",
            ) from error
        self._batch_size //= 2


def computes_bf16(device: torch.device) -> bool:
    """Whether bf16 is native there, and so faster than fp32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())

"""Embeddings by torch, in fp32 or with bf16 or fp16 weights, on the CPU or a GPU; and the tower that others compile.

Shape legend: B batch, C channels (3), H = W = image_px, D embedding floats.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from pinembed.encoder.backends.base import ImageBackend, Pixels, Vectors, micro_batches, of_fixed_size, unit_vectors
from pinembed.encoder.locate import EncoderFiles, preprocessing_of
from pinembed.encoder.towers import build_model, standardisation
from pinembed.errors import EncoderError
from pinembed.machine import keep_freed_memory
from pinembed.nouns.encoder_spec import Preprocessing

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class ImageTower(nn.Module):
    """Standardisation and open_clip's image tower, without a text tower."""

    def __init__(self, visual: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        weight = next(visual.parameters())
        scale_C, shift_C = standardisation(preprocessing, weight.device)
        self.register_buffer("scale_C", scale_C)
        self.register_buffer("shift_C", shift_C)
        self.visual = visual
        self.image_px = preprocessing.image_px
        self.preprocessing = preprocessing
        self.device = weight.device
        self.dtype = weight.dtype
        self.eval()

    def forward(self, pixels_BCHW: Tensor) -> Tensor:
        """(B, 3, H, W) uint8 to features (B, D) float32."""
        standardised_BCHW = pixels_BCHW.float() * cast(Tensor, self.scale_C) - cast(Tensor, self.shift_C)
        features: Tensor | tuple[Tensor, ...] = self.visual(standardised_BCHW.to(self.dtype))
        features_BD = features if isinstance(features, Tensor) else features[0]  # CoCa's gives its tokens as well
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
    model: Any = build_model(files, tower="image")
    visual: nn.Module = model.visual.to(device).eval()
    if torch.device(device).type == "cpu":  # with convolutions, together five times the speed
        keep_freed_memory()
        visual = cast(Any, visual).to(memory_format=torch.channels_last)
    return ImageTower(visual, preprocessing_of(files))


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


class TorchBackend(ImageBackend):
    """The image tower in torch; a thread of its own computes, so that the caller goes on.

    Args:
        tower: on its device.
        batch_size: images at once; halved for good when the GPU's memory runs out.
        precision: `fp32`, `bf16` or `fp16`.
    """

    def __init__(self, tower: ImageTower, batch_size: int, precision: str = "fp32") -> None:
        self.name = f"torch {precision} {tower.device}"
        self._tower = tower.in_precision(DTYPES[precision])
        self._device = tower.device
        self._batch_size = batch_size
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="pinembed-torch")

    def submit(self, pixels_BCHW: Pixels) -> Future[Vectors]:
        return self._thread.submit(self._computed, pixels_BCHW)

    @torch.inference_mode()
    def _computed(self, pixels_BCHW: Pixels) -> Vectors:
        """Piece by piece, each of what fits; a smaller size is kept once memory ran out."""
        features: list[Tensor] = []
        left_BCHW = pixels_BCHW
        while len(left_BCHW):
            piece_BCHW = micro_batches(left_BCHW, self._batch_size)[0]
            filled_BCHW = torch.from_numpy(of_fixed_size(piece_BCHW, self._batch_size))
            try:
                features_BD: Tensor = self._tower(filled_BCHW.to(self._device, non_blocking=True))
            except torch.OutOfMemoryError as error:
                self._halve(error)
            else:
                features.append(features_BD[: len(piece_BCHW)])
                left_BCHW = left_BCHW[len(piece_BCHW) :]
        return unit_vectors(torch.cat(features).cpu().numpy())

    def _halve(self, error: torch.OutOfMemoryError) -> None:
        if self._batch_size == 1:
            raise EncoderError(
                f"The memory of {self._device} does not suffice for one image.",
                remedy="End what else runs there, or give --device cpu.",
            ) from error
        self._batch_size //= 2
        if self._device.type == "cuda":
            torch.cuda.empty_cache()  # blocks of the larger size would stay reserved and never fit again


def native_precisions(device: torch.device) -> tuple[str, ...]:
    """fp32, and what the device computes faster by itself: bf16, or fp16 on a GPU without bf16."""
    if device.type == "cpu":
        return ("fp32", "bf16") if bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) else ("fp32",)
    if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return ("fp32", "bf16")
    return ("fp32", "fp16")

"""Embeddings by torch, in fp32 or with bf16 or fp16 weights, on the CPU or a GPU."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch

from pinembed.encoder.backends.base import Pending, Pixels, Vectors, micro_batches, of_fixed_size, unit_vectors
from pinembed.encoder.backends.cuda_streams import CudaLanes, LanesPending
from pinembed.encoder.backends.tower import ImageTower
from pinembed.errors import EncoderError

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class TorchBackend:
    """The image tower in torch.

    On the CPU a thread of its own computes, so that the caller goes on. On a GPU the caller's thread starts the copies
    and the kernels, which run by themselves: see `lanes`.

    Args:
        tower: on its device.
        batch_size: images at once; halved for good when the GPU's memory runs out.
        precision: `fp32`, `bf16` or `fp16`.
        lanes: copies and kernels side by side; None makes those of a CUDA device, and on others none.
    """

    def __init__(
        self, tower: ImageTower, batch_size: int, precision: str = "fp32", *, lanes: CudaLanes | None = None
    ) -> None:
        self.name = f"torch {precision} {tower.device}"
        self._tower = tower.in_precision(DTYPES[precision])
        self._device = tower.device
        self._batch_size = batch_size
        self._lanes = CudaLanes(tower.device) if lanes is None and tower.device.type == "cuda" else lanes
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="pinembed-torch")

    def submit(self, pixels_BCHW: Pixels) -> Pending:
        """See ImageBackend.

        Raises:
            EncoderError: the GPU's memory does not suffice for one image.
        """
        if self._lanes is None:
            future: Future[Vectors] = self._thread.submit(self._computed_here, pixels_BCHW)
            return future
        lanes = self._lanes
        with torch.inference_mode():
            return LanesPending(self._in_pieces(pixels_BCHW, lambda piece, real: lanes.run(self._tower, piece, real)))

    def embed(self, pixels_BCHW: Pixels) -> Vectors:
        """See ImageBackend.

        Raises:
            NonFiniteEmbeddingError: a row holds NaN or inf.
            EncoderError: the memory does not suffice for one image.
        """
        return self.submit(pixels_BCHW).result()

    @torch.inference_mode()
    def _computed_here(self, pixels_BCHW: Pixels) -> Vectors:
        return unit_vectors(torch.cat(self._in_pieces(pixels_BCHW, self._features)).cpu().numpy())

    def _features(self, batch_BCHW: torch.Tensor, images: int) -> torch.Tensor:
        features_BD: torch.Tensor = self._tower(batch_BCHW.to(self._device))
        return features_BD[:images]

    def _in_pieces(self, pixels_BCHW: Pixels, compute: Callable[[torch.Tensor, int], Any]) -> list[Any]:
        """What `compute` makes of each piece that fits; a smaller size is kept once memory ran out."""
        made: list[Any] = []
        left_BCHW = pixels_BCHW
        while len(left_BCHW):
            piece_BCHW = micro_batches(left_BCHW, self._batch_size)[0]
            filled_BCHW = torch.from_numpy(of_fixed_size(piece_BCHW, self._batch_size))
            try:
                made.append(compute(filled_BCHW, len(piece_BCHW)))
                left_BCHW = left_BCHW[len(piece_BCHW) :]
            except torch.OutOfMemoryError as error:
                self._halve(error)
        return made

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

"""Copies and kernels side by side on a CUDA device: batch n + 1 is copied there while batch n is computed.

Three things happen at once, each in the order in which it was asked for:

    caller's thread   pin(n+2) | pin(n+3) ...
    copy stream       copy(n+1) up
    compute stream    compute(n), copy(n) back into pinned memory

The caller never waits before it asks for a result; then it waits for that batch's event alone.

Shape legend: B batch, C channels (3), H = W = image_px, D embedding floats.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from pinembed.encoder.backends.base import Vectors, unit_vectors


class LanesPiece:
    """The features of a piece on their way to the CPU.

    Args:
        features_BD: pinned memory that the copy goes to.
        images: rows of it that are real.
        arrived: the event behind the copy.
        there_BCHW: the pixels on the device. They were made on the copy stream and are read on the other one, so they
            are held until `arrived`; given back earlier, their memory could be overwritten by the next copy.
    """

    def __init__(self, features_BD: Tensor, images: int, arrived: Any, there_BCHW: Tensor) -> None:
        self.features_BD = features_BD
        self.images = images
        self.arrived = arrived
        self.there_BCHW = there_BCHW


class LanesPending:
    """See Pending."""

    def __init__(self, pieces: list[LanesPiece]) -> None:
        self._pieces = pieces

    def done(self) -> bool:
        return all(piece.arrived.query() for piece in self._pieces)

    def result(self) -> Vectors:
        for piece in self._pieces:
            piece.arrived.synchronize()
        return unit_vectors(torch.cat([piece.features_BD[: piece.images] for piece in self._pieces]).numpy())


class CudaLanes:
    """A copy stream and a compute stream of one device.

    Args:
        device: a CUDA device.
        cuda: torch.cuda, or in tests something that records what is asked of it.
        pin: to page-locked memory, from which the device copies while the CPU goes on.
    """

    def __init__(
        self,
        device: torch.device,
        *,
        cuda: ModuleType | Any = torch.cuda,
        pin: Callable[[Tensor], Tensor] = Tensor.pin_memory,
    ) -> None:
        self._device = device
        self._cuda = cuda
        self._pin = pin
        self._copies = cuda.Stream(device)
        self._kernels = cuda.Stream(device)
        # the weights went there on the device's own stream; the streams here must not overtake that copy
        self._kernels.wait_stream(cuda.current_stream(device))

    def run(self, tower: Callable[[Tensor], Tensor], batch_BCHW: Tensor, images: int) -> LanesPiece:
        """Start copy, computation and copy back.

        Args:
            tower: (B, 3, H, W) uint8 to (B, D) float32, on the device.
            batch_BCHW: uint8 in ordinary memory.
            images: how many of them are real.

        Raises:
            torch.OutOfMemoryError: as the tower does.
        """
        with self._cuda.stream(self._copies):
            there_BCHW = self._pin(batch_BCHW).to(self._device, non_blocking=True)
        self._kernels.wait_stream(self._copies)
        with self._cuda.stream(self._kernels):
            features_BD = tower(there_BCHW)
            back_BD = self._pin(torch.empty(features_BD.shape, dtype=features_BD.dtype))
            back_BD.copy_(features_BD, non_blocking=True)
            arrived = self._cuda.Event()
            arrived.record(self._kernels)
        return LanesPiece(back_BD, images, arrived, there_BCHW)

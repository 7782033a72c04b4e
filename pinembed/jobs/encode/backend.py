"""The backend of one run: chosen on the run's own first batch, unless there is too little to encode to be worth it."""

from __future__ import annotations

import gc
import time

from pinembed.encoder.backends.choose import CALIBRATE_FROM_IMAGES, choose_backend, reference_backend
from pinembed.encoder.backends.tower import ImageBackend, Pixels, Vectors
from pinembed.encoder.encoder import Encoder
from pinembed.nouns.progress import Progress


class BackendOfRun:
    """Embeds the images of one run.

    Args:
        name: `auto`, `torch`, `openvino` or `onnx`.
        encoder: loaded, on its device.
        fingerprint: of the encoder.
        images: how many there are to encode.
        batch_size: images at once.
        progress: is told what was measured.
    """

    def __init__(
        self, name: str, encoder: Encoder, *, fingerprint: str, images: int, batch_size: int, progress: Progress
    ) -> None:
        self.batch_size = batch_size
        self.calibrate_s = 0.0
        self._wanted = name
        self._encoder: Encoder | None = encoder
        self._fingerprint = fingerprint
        self._progress = progress
        self._backend: ImageBackend | None = None
        if name == "auto" and images < CALIBRATE_FROM_IMAGES:
            self._backend = reference_backend(encoder, batch_size)
            self._encoder = None

    @property
    def name(self) -> str:
        """What computes; empty before the first batch."""
        return self._backend.name if self._backend is not None else ""

    def embed(self, pixels_BCHW: Pixels) -> Vectors:
        """(B, 3, H, W) uint8 to (B, D) float32 of norm 1.

        Raises:
            NonFiniteEmbeddingError: a row holds NaN or inf.
        """
        if self._backend is None:
            assert self._encoder is not None
            started_s = time.perf_counter()
            self._backend = choose_backend(
                self._wanted,
                self._encoder,
                pixels_BCHW,
                fingerprint=self._fingerprint,
                batch_size=self.batch_size,
                say=self._progress.say,
            )
            self._encoder = None  # the backend has what it needs; the text tower and the fp32 weights can go
            gc.collect()
            self.calibrate_s = time.perf_counter() - started_s
        return self._backend.embed(pixels_BCHW)

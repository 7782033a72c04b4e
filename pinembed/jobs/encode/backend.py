"""The encoder of one run: loaded when the first image needs it, and its backend chosen on the run's own first batch."""

from __future__ import annotations

import gc
import time
from typing import TYPE_CHECKING

from pinembed.encoder.locate import EncoderFiles
from pinembed.nouns.progress import Progress

if TYPE_CHECKING:  # these load torch, which a run without new contents does not need
    from pinembed.encoder.backends.tower import ImageBackend, Pixels, Vectors
    from pinembed.encoder.encoder import Encoder

BATCH_SIZES = {"cuda": 256, "mps": 64, "cpu": 32}


class BackendOfRun:
    """Embeds the images of one run.

    Args:
        files: the encoder.
        fingerprint: of the encoder.
        name: `auto`, `torch`, `openvino` or `onnx`.
        device: torch device, or `auto`.
        batch_size: images at once; None chooses by device.
        images: how many there may be to encode.
        progress: is told what was loaded and measured.

    Attributes:
        load_s: loading torch and the encoder.
        calibrate_s: measuring the backends, where that was due.
    """

    def __init__(
        self,
        files: EncoderFiles,
        *,
        fingerprint: str,
        name: str,
        device: str,
        batch_size: int | None,
        images: int,
        progress: Progress,
    ) -> None:
        self.load_s = 0.0
        self.calibrate_s = 0.0
        self._files = files
        self._fingerprint = fingerprint
        self._wanted = name
        self._device = device
        self._batch_size = batch_size
        self._images = images
        self._progress = progress
        self._encoder: Encoder | None = None
        self._backend: ImageBackend | None = None

    @property
    def name(self) -> str:
        """What computes; empty before the first batch."""
        return self._backend.name if self._backend is not None else ""

    @property
    def batch_size(self) -> int:
        """Images at once; loads the encoder on the first use.

        Raises:
            EncoderError: the encoder cannot be loaded.
            UsageError: there is no such device or backend.
        """
        if self._encoder is None and self._backend is None:
            self._load()
        assert self._batch_size is not None
        return self._batch_size

    def embed(self, pixels_BCHW: Pixels) -> Vectors:
        """(B, 3, H, W) uint8 to (B, D) float32 of norm 1; measures the backends on the first use.

        Raises:
            NonFiniteEmbeddingError: a row holds NaN or inf.
            MissingExtraError: the package of the named backend is not installed.
        """
        if self._backend is None:
            self._backend = self._chosen(pixels_BCHW, self.batch_size)
            self._encoder = None  # the backend has what it needs; the text tower and the fp32 weights can go
            gc.collect()
        return self._backend.embed(pixels_BCHW)

    def _load(self) -> None:
        started_s = time.perf_counter()
        from pinembed.encoder.backends.choose import check_backend
        from pinembed.encoder.device import choose_device
        from pinembed.encoder.encoder import build_encoder

        device = choose_device(self._device)
        check_backend(self._wanted, device)
        self._encoder = build_encoder(self._files, device=device)
        self._batch_size = self._batch_size or BATCH_SIZES.get(device.type, 32)
        self.load_s = time.perf_counter() - started_s

    def _chosen(self, pixels_BCHW: Pixels, batch_size: int) -> ImageBackend:
        from pinembed.encoder.backends.choose import CALIBRATE_FROM_IMAGES, choose_backend, reference_backend

        assert self._encoder is not None
        if self._wanted == "auto" and self._images < CALIBRATE_FROM_IMAGES:
            return reference_backend(self._encoder, batch_size)
        started_s = time.perf_counter()
        backend = choose_backend(
            self._wanted,
            self._encoder,
            pixels_BCHW,
            fingerprint=self._fingerprint,
            batch_size=batch_size,
            say=self._progress.say,
        )
        self.calibrate_s = time.perf_counter() - started_s
        return backend

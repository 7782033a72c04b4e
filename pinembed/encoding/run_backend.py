"""The backend of one run: remembered, or measured on the run's own images, and opened when the first batch comes."""

from __future__ import annotations

import itertools
import time
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from pinembed.encoder.backends.base import ImageBackend, Pending, Pixels
from pinembed.encoder.backends.choose import BackendChoice, check_backend
from pinembed.encoder.backends.probe import REFERENCE
from pinembed.encoder.locate import EncoderFiles
from pinembed.encoding.plan import Plan
from pinembed.errors import EncoderError
from pinembed.images.loading import LoadedImage, WorkerSetup
from pinembed.images.pool import LoadingPool
from pinembed.machine import device_name, usable_cores
from pinembed.nouns.encoder_spec import Preprocessing
from pinembed.nouns.progress import Progress, Stop

TRIED_FOR_EACH = 4  # images tried for one that is wanted, where many are broken


def sample_pixels(
    plan: Plan, preprocessing: Preprocessing, *, images: int, workers: int, image_limit_s: float
) -> NDArray[np.uint8] | None:
    """(B, 3, H, W) uint8 of the first images that can be read, B at most `images`; None where none can.

    The pool is one without torch, and gone afterwards: what is measured has the machine, and its memory, for itself.
    """
    setup = WorkerSetup(preprocessing=preprocessing, fast_jpeg=False)
    requests = itertools.islice(plan.requests(), TRIED_FOR_EACH * images)
    found: list[NDArray[np.uint8]] = []
    with LoadingPool(setup, workers=workers, image_limit_s=image_limit_s, ahead=images) as pool:
        for _, answer in pool.load(requests):
            if isinstance(answer, LoadedImage) and answer.pixels_CHW is not None:
                found.append(answer.pixels_CHW)
                if len(found) == images:
                    break
    return np.stack(found) if found else None


BATCH_SIZES = {"cuda": 256, "mps": 64, "cpu": 32}
CALIBRATE_FROM_IMAGES = 300  # fewer are encoded by the reference before anything else is measured and converted
RECALL_IMAGES = 256  # among which the neighbours of int8 vectors are compared with those of fp32 ones


class BackendOfRun:
    """Embeds the images of one run. It loads torch only where torch is what computes.

    Args:
        files: the encoder.
        fingerprint: of the encoder.
        name: the value of --backend.
        device: torch device, or `auto`.
        batch_size: images at once; None chooses by device.
        images: how many there may be to encode.
        progress: is told what was measured.
        cores: that it computes on; None for all that this process may use.
        pinned: what another run or process has chosen, which is not chosen again; None chooses.

    Attributes:
        batch_size: images at once.
        load_s: opening the backend, torch included where it is needed.
        waited_s: what of it the images waited for.
        calibrate_s: measuring the backends, where that was due.

    Raises:
        UsageError: there is no such device or backend.
        MissingExtraError: the package of the named backend is not installed.
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
        cores: int | None = None,
        pinned: str | None = None,
    ) -> None:
        self.load_s = 0.0
        self.waited_s = 0.0
        self.calibrate_s = 0.0
        resolved = device_name(device)
        kind = resolved.partition(":")[0]
        check_backend(name, kind)
        self.batch_size = batch_size or BATCH_SIZES.get(kind, 32)
        self._choice = BackendChoice(
            wanted=name,
            files=files,
            fingerprint=fingerprint,
            device=resolved,
            batch_size=self.batch_size,
            cores=cores or usable_cores(),
            images=images,
        )
        self._progress = progress
        self._is_pinned = pinned is not None
        self._backend: ImageBackend | None = None
        self._opening: Future[ImageBackend] | None = None
        self._chosen = pinned or self._choice.known()
        if self._chosen is None and name == "auto" and images < CALIBRATE_FROM_IMAGES:
            self._chosen = REFERENCE

    @property
    def name(self) -> str:
        """What computes; empty before the first batch."""
        return self._backend.name if self._backend is not None else ""

    @property
    def chosen(self) -> str | None:
        """What will compute, for others to be pinned to; None where that has to be measured."""
        return self._chosen

    @property
    def calibration_images(self) -> int:
        """How many images `calibrate` needs; 0 where the choice is made."""
        if self._chosen is not None:
            return 0
        return RECALL_IMAGES if self._choice.wanted == "onnx-int8" else self.batch_size

    def calibrate(self, pixels_BCHW: Pixels, stop: Stop | None = None) -> None:
        """Measure the backends on some of the run's images, in a process of their own, and choose.

        Args:
            pixels_BCHW: `calibration_images` of them, or as many as there are.
            stop: ends it early, with nothing chosen.

        Raises:
            EncoderError: the encoder cannot be loaded, or the named backend cannot take it, or does not agree.
        """
        started_s = time.perf_counter()
        self._chosen = self._choice.choose(pixels_BCHW, self._progress.say, stop)
        self.calibrate_s += time.perf_counter() - started_s

    def open_ahead(self) -> None:
        """Begin to open what was chosen, while the caller goes on; what is wrong with it comes with the first batch."""
        if self._chosen is not None and self._opening is None:
            self._opening = ThreadPoolExecutor(1, thread_name_prefix="pinembed-open").submit(self._open, self._chosen)

    def submit(self, pixels_BCHW: Pixels) -> Pending:
        """Begin to embed (B, 3, H, W) uint8; the next batch may be submitted before this one's result is taken.

        Raises:
            EncoderError: the encoder cannot be loaded.
        """
        if self._backend is None:
            self._backend = self._opened(pixels_BCHW)
        return self._backend.submit(pixels_BCHW)

    def _opened(self, pixels_BCHW: Pixels) -> ImageBackend:
        if self._chosen is None:
            self.calibrate(pixels_BCHW)
        self.open_ahead()
        assert self._opening is not None
        started_s = time.perf_counter()
        try:
            return self._opening.result()
        except EncoderError as error:
            if self._chosen == REFERENCE or self._is_pinned:
                raise
            self._progress.say(f"{self._chosen} cannot be opened any more ({error.message}); measuring again")
            self.calibrate(pixels_BCHW)
            started_s = time.perf_counter()
            assert self._chosen is not None
            return self._open(self._chosen)
        finally:
            self.waited_s += time.perf_counter() - started_s

    def _open(self, name: str) -> ImageBackend:
        started_s = time.perf_counter()
        try:
            return self._choice.open_here(name) if self._is_pinned else self._choice.open(name)
        finally:
            self.load_s += time.perf_counter() - started_s

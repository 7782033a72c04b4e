"""Which backend computes: the one that the user names, or the fastest whose embeddings agree with torch in fp32.

The choice, and the converted model that it needs, are kept in the cache folder, so that the next run begins without
torch; all of it may be deleted at any time.
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pinembed.encoder.backends import probe as probe_process
from pinembed.encoder.backends.base import ImageBackend, Pixels
from pinembed.encoder.backends.probe import (
    EVERY,
    PACKAGES,
    REFERENCE,
    Probe,
    convert,
    file_of,
    is_converted,
    open_converted,
    piece_images,
)
from pinembed.encoder.locate import EncoderFiles
from pinembed.errors import EncoderError, MissingExtraError, UsageError
from pinembed.machine import cache_folder, recall, remember
from pinembed.nouns.progress import Stop
from pinembed.reports.bench import BackendSpeed

INT8 = {"onnx-int8": "onnx int8"}  # other vectors than fp32's, and so never taken by auto
MEASURE_S = 1.0
MIN_COSINE = 0.999
NEARLY = 0.9
MEMORY = "backends"
WORTH_MEASURING_S = 10.0  # measuring and converting take 8 s for a small tower, 15 s for a ViT-B/32
KEPT_MODELS = 3
ASKED_FOR_VERSIONS = ("torch", "openvino", "onnxruntime")
Say = Callable[[str], None]


def check_backend(name: str, device_type: str) -> None:
    """Refuse a backend that does not compute on this device, or not without its extra.

    Raises:
        UsageError: a CPU backend for a GPU.
        MissingExtraError: the package of the backend is not installed.
    """
    packages = PACKAGES.get(name.partition("-")[0], ())
    if packages and device_type != "cpu":
        raise UsageError(
            f"--backend {name} computes on the CPU; this run's device is {device_type}.",
            remedy="Give --device cpu, or --backend torch.",
        )
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(f"--backend {name}", extra="fast", package=package)


def quantisation_of(name: str) -> str:
    """What EncoderSpec says of the vectors that --backend NAME makes."""
    return "int8" if name in INT8 else ""


@dataclass(frozen=True, kw_only=True)
class BackendChoice:
    """Everything that decides which backend computes.

    Attributes:
        wanted: the value of --backend, or EVERY to measure all.
        images: how many there may be to encode; None where that is no reason to measure less.
    """

    wanted: str
    files: EncoderFiles
    fingerprint: str
    device: str
    batch_size: int
    cores: int
    images: int | None = None

    @functools.cached_property
    def folder(self) -> Path:
        """Where the converted models lie; where the cache cannot be written, a temporary one for this process."""
        folder = model_folder(self.fingerprint, self.batch_size)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            folder = Path(tempfile.mkdtemp(prefix="pinembed-converted-"))
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
        return folder

    @property
    def key(self) -> str:
        """What a choice holds for: another processor, package version or batch size is measured anew."""
        machine = f"{platform.node()} {platform.machine()} {_chip()} {self.cores} {self.device} {self.batch_size}"
        return _short(f"{self.wanted} {self.fingerprint} {machine} {_versions()}")

    def known(self) -> str | None:
        """The backend that an earlier run chose here, where it still can be opened."""
        name = recall(MEMORY).get(self.key)
        if name is None or (is_converted(name) and not file_of(name, self.folder).is_file()):
            return None
        return name

    def open(self, name: str) -> ImageBackend:
        """The backend of that name.

        Raises:
            EncoderError: the encoder cannot be loaded, or the converted model is damaged.
            InstallationError: open_clip does not load.
        """
        if is_converted(name):
            _forget_oldest(self.folder)
            return open_converted(name, self.folder, self.cores)
        from pinembed.encoder.backends.with_torch import TorchBackend, load_tower

        return TorchBackend(load_tower(self.files, device=self.device), self.batch_size, name.split()[1])

    def open_here(self, name: str) -> ImageBackend:
        """As `open`, of a backend that was chosen on another machine: the model is converted here where it has to be.

        Raises:
            EncoderError: as for `open`, or the encoder cannot be converted.
            MissingExtraError: the package of the backend is not installed.
        """
        if is_converted(name) and not file_of(name, self.folder).is_file():
            from pinembed.encoder.backends.with_torch import load_tower

            convert(name, load_tower(self.files, device=self.device), folder=self.folder, batch_size=self.batch_size)
        return self.open(name)

    def choose(self, pixels_BCHW: Pixels, say: Say, stop: Stop | None = None) -> str | None:
        """Measure on at least a batch of the user's own images, and remember the fastest that agrees.

        A process that has torch loaded looks at the reference first: where that has done all images in the time that
        the others would take to be measured and converted, it is taken for this once.

        Returns:
            the backend's name; None when asked to stop.

        Raises:
            EncoderError: the encoder cannot be loaded, or the named backend cannot take it, or does not agree.
        """
        if self.wanted == "auto" and self.images is not None and "torch" in sys.modules:
            here = next(probe_process.run_probe(self._probe(pixels_BCHW)))
            if isinstance(here, BackendSpeed) and self.images < WORTH_MEASURING_S * here.images_per_s:
                say(_told(here))
                return REFERENCE
        measures = list(self.measure(pixels_BCHW, say, stop))
        return None if stop is not None and stop.requested else self.settle(measures)

    def settle(self, measures: Sequence[BackendSpeed]) -> str:
        """Remember the best of what was measured, and delete what was converted for the others.

        Raises:
            EncoderError: none of them agrees.
        """
        best = fastest(measures, self.wanted).backend
        for measure in measures:
            if is_converted(measure.backend) and measure.backend != best:
                path = file_of(measure.backend, self.folder)
                for left in (path, path.with_suffix(".bin")):
                    with suppress(OSError):
                        left.unlink()
        remember(MEMORY, self.key, best)
        return best

    def measure(self, pixels_BCHW: Pixels, say: Say, stop: Stop | None = None) -> Iterator[BackendSpeed]:
        """Each backend that can take the encoder, the reference first, as they are measured.

        Raises:
            EncoderError: the encoder cannot be loaded, or the only backend that is wanted cannot take it.
        """
        is_first = True
        for answer in probe_process.answers_of(self._probe(pixels_BCHW), stop):
            if isinstance(answer, BackendSpeed):
                say(_told(answer))
                yield answer
            elif is_first or self.wanted not in {"auto", EVERY}:
                raise EncoderError(answer.message, remedy=answer.remedy)
            else:
                say(f"{answer.name or 'what was not measured yet'} is left out: {answer.message}")
            is_first = False

    def _probe(self, pixels_BCHW: Pixels) -> Probe:
        return Probe(
            files=self.files,
            device=self.device,
            wanted=self.wanted,
            batch_size=self.batch_size,
            pixels_BCHW=pixels_BCHW,
            folder=self.folder,
            cores=self.cores,
            measure_s=MEASURE_S,
        )


def fastest(measures: Sequence[BackendSpeed], wanted: str) -> BackendSpeed:
    """The fastest of those that --backend may mean and that agree with torch in fp32; int8 only where asked for.

    Raises:
        EncoderError: none of them agrees.
    """
    if wanted in INT8:
        return next(measure for measure in measures if measure.backend == INT8[wanted])
    meant = [
        measure
        for measure in measures
        if measure.backend not in INT8.values() and wanted in {"auto", EVERY, measure.backend.split()[0]}
    ]
    agreeing = [measure for measure in meant if measure.min_cosine >= MIN_COSINE]
    if not agreeing:
        raise EncoderError(
            f"The embeddings of --backend {wanted} differ from torch in fp32: cosine "
            f"{max(measure.min_cosine for measure in meant):.4f}, wanted {MIN_COSINE}.",
            remedy="Use --backend auto or torch.",
        )
    best = max(agreeing, key=lambda measure: measure.images_per_s)
    # what needs no torch opens in a second and takes half the memory: that outweighs a difference within the noise
    close = [measure for measure in agreeing if measure.images_per_s >= NEARLY * best.images_per_s]
    return next((measure for measure in close if is_converted(measure.backend)), best)


def _told(measure: BackendSpeed) -> str:
    words = f"{measure.backend}: {measure.images_per_s:.0f} images/s, cosine to fp32 torch {measure.min_cosine:.5f}"
    if measure.backend in INT8.values() and measure.neighbour_recall is not None:
        return f"{words}, finds {measure.neighbour_recall:.1%} of the 10 nearest neighbours"
    return words


def model_folder(fingerprint: str, batch_size: int) -> Path:
    """Where the converted models of an encoder lie."""
    return cache_folder() / "converted" / _short(f"{fingerprint} {piece_images(batch_size)} {_versions()}")


def _forget_oldest(in_use: Path) -> None:
    """Keep the converted models of the encoders used last: a nightly fine-tuned one is converted every night."""
    with suppress(OSError):
        os.utime(in_use)
        by_use = sorted(in_use.parent.iterdir(), key=lambda folder: folder.stat().st_mtime_ns, reverse=True)
        for folder in by_use[KEPT_MODELS:]:
            shutil.rmtree(folder, ignore_errors=True)


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _versions() -> list[str]:
    found = []
    for package in ASKED_FOR_VERSIONS:
        with suppress(importlib.metadata.PackageNotFoundError):
            found.append(f"{package} {importlib.metadata.version(package)}")
    return found


def _chip() -> str:
    """Name and abilities of the processor, without loading torch to ask for them."""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        telling = {line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))}
        if telling:
            return _short("\n".join(sorted(telling)))
    return platform.processor()

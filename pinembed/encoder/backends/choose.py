"""Which backend computes: the one that the user names, or the fastest whose embeddings agree with torch in fp32."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pinembed.encoder.backends import probe as probe_process
from pinembed.encoder.backends.base import ImageBackend, Pixels
from pinembed.encoder.backends.candidates import file_of, is_converted, open_converted
from pinembed.encoder.backends.model_cache import (
    forget_oldest,
    machine_key,
    model_folder,
    remember,
    remembered,
    writable_folder,
)
from pinembed.encoder.backends.probe import Converted, ConvertedProbe, Reference, TorchProbe, Unsupported
from pinembed.encoder.locate import EncoderFiles
from pinembed.errors import EncoderError
from pinembed.nouns.progress import Stop
from pinembed.reports.bench import BackendSpeed

MEASURE_S = 1.0
MIN_COSINE = 0.999
NEARLY = 0.9
INT8 = {"onnx-int8": "onnx int8"}  # other vectors than fp32's, and so never taken by auto
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class BackendChoice:
    """Everything that decides which backend computes.

    Attributes:
        wanted: the value of --backend, or `every` to measure all there is.
        files: the encoder.
        fingerprint: of the encoder.
        device: torch device, resolved.
        batch_size: images at once.
        cores: of the CPU that the run may use.
    """

    wanted: str
    files: EncoderFiles
    fingerprint: str
    device: str
    batch_size: int
    cores: int

    @functools.cached_property
    def _folder(self) -> Path:
        return writable_folder(model_folder(self.fingerprint, self.batch_size))

    @property
    def _key(self) -> str:
        return machine_key(self.wanted, self.fingerprint, self.device, self.batch_size, self.cores)

    def known(self) -> str | None:
        """The backend that an earlier run chose here, where it still can be opened."""
        name = remembered().get(self._key)
        if name is None or (is_converted(name) and not file_of(name, self._folder).is_file()):
            return None
        return name

    def open(self, name: str) -> ImageBackend:
        """The backend of that name.

        Raises:
            EncoderError: the encoder cannot be loaded, or the converted model is damaged.
            InstallationError: open_clip does not load.
        """
        if is_converted(name):
            forget_oldest(self._folder)
            return open_converted(name, self._folder, self.cores)
        from pinembed.encoder.backends.tower import load_tower
        from pinembed.encoder.backends.with_torch import TorchBackend

        return TorchBackend(load_tower(self.files, device=self.device), self.batch_size, name.split()[1])

    def choose(self, pixels_BCHW: Pixels, say: Say, stop: Stop | None = None) -> str | None:
        """Measure, and remember the fastest that agrees.

        Args:
            pixels_BCHW: some of the user's own images; at least a batch for a fair measure.
            say: is told each measurement as it comes.
            stop: ends it early.

        Returns:
            the backend's name; None when asked to stop.

        Raises:
            EncoderError: the encoder cannot be loaded, or the named backend cannot take it, or does not agree.
        """
        measures = list(self.measure(pixels_BCHW, say, stop))
        return None if stop is not None and stop.requested else self.settle(measures)

    def settle(self, measures: Sequence[BackendSpeed]) -> str:
        """Remember the best of what was measured, and delete what was converted for the others.

        Raises:
            EncoderError: none of them agrees.
        """
        best = fastest(measures, self.wanted)
        for measure in measures:
            if is_converted(measure.backend) and measure.backend != best.backend:
                self._delete(measure.backend)
        remember(self._key, best.backend)
        return best.backend

    def measure(self, pixels_BCHW: Pixels, say: Say, stop: Stop | None = None) -> Iterator[BackendSpeed]:
        """Each backend that can take the encoder, the reference first, as they are measured.

        Raises:
            EncoderError: the encoder cannot be loaded, or the only backend that is wanted cannot take it.
        """
        reference: Reference | None = None
        converted: list[str] = []
        for answer in probe_process.answers_of(self._torch_probe(pixels_BCHW), stop):
            if isinstance(answer, Unsupported):
                self._pass_over(answer, say, is_only=reference is None)
            elif isinstance(answer, Reference):
                reference = answer
            elif isinstance(answer, Converted):
                converted.append(answer.name)
            else:
                say(_told(answer))
                yield answer
        for name in converted:  # now that the process with torch is gone, and its memory and its threads with it
            assert reference is not None
            yield from self._measure_converted(name, reference, pixels_BCHW, say, stop)

    def _measure_converted(
        self, name: str, reference: Reference, pixels_BCHW: Pixels, say: Say, stop: Stop | None
    ) -> Iterator[BackendSpeed]:
        probe = ConvertedProbe(
            name=name,
            batch_size=self.batch_size,
            pixels_BCHW=pixels_BCHW,
            reference_BD=reference.vectors_BD,
            folder=self._folder,
            cores=self.cores,
            measure_s=MEASURE_S,
        )
        for answer in probe_process.answers_of(probe, stop):
            if isinstance(answer, Unsupported):
                self._pass_over(answer, say)
            elif isinstance(answer, BackendSpeed):
                say(_told(answer))
                yield answer

    def _pass_over(self, refused: Unsupported, say: Say, *, is_only: bool = False) -> None:
        """Leave out a backend that cannot take the encoder, unless nothing is left then."""
        if is_only or self.wanted not in {"auto", "every"}:
            raise EncoderError(refused.message, remedy=refused.remedy)
        say(f"{refused.name or 'what was not measured yet'} is left out: {refused.message}")

    def _torch_probe(self, pixels_BCHW: Pixels) -> TorchProbe:
        return TorchProbe(
            files=self.files,
            device=self.device,
            wanted=self.wanted,
            batch_size=self.batch_size,
            pixels_BCHW=pixels_BCHW,
            folder=self._folder,
            measure_s=MEASURE_S,
        )

    def _delete(self, name: str) -> None:
        path = file_of(name, self._folder)
        for left in (path, path.with_suffix(".bin")):
            with suppress(OSError):
                left.unlink()


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
        if measure.backend not in INT8.values() and wanted in {"auto", "every", measure.backend.split()[0]}
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

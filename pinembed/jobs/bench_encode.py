"""The bench encode job: decoding alone, each backend alone, both together, and the limit that they imply."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pinembed.catalogue.files import ScannedFile, no_image_in, scan_images
from pinembed.encoder.backends.choose import BackendChoice
from pinembed.encoder.backends.probe import EVERY
from pinembed.encoder.locate import encoder_spec, locate_encoder
from pinembed.encoding.run_backend import BATCH_SIZES
from pinembed.errors import DataError
from pinembed.images.loading import LoadedImage, LoadRequest, WorkerSetup
from pinembed.images.pool import LOADED_AHEAD, LoadingPool
from pinembed.jobs.encode import encode
from pinembed.machine import device_name, usable_cores
from pinembed.nouns.encoder_spec import Preprocessing
from pinembed.nouns.progress import SILENT, Progress, Stop
from pinembed.reports.bench import BenchEncodeReport
from pinembed.settings.encoding import IMAGE_LIMIT_S, EncodeSettings
from pinembed.settings.measuring import BenchEncodeSettings

RECALL_IMAGES = 64  # fewest among which the neighbours of int8 vectors say something


def bench_encode(
    settings: BenchEncodeSettings, *, progress: Progress = SILENT, stop: Stop | None = None
) -> BenchEncodeReport:
    """Measure a folder and an encoder on this machine; nothing is left behind.

    Raises:
        DataError: no images, or none that can be read.
        EncoderError: the encoder cannot be loaded.
        StoppedError: `stop` was asked for.
    """
    chosen = _spread(sorted(scan_images(settings.images), key=lambda file: file.file_name), settings.count)
    if not chosen:
        raise no_image_in(settings.images)
    files = locate_encoder(settings.encoder)
    spec = encoder_spec(files)
    on = device_name(settings.device)
    size = settings.batch_size or BATCH_SIZES.get(on.partition(":")[0], 32)
    cores = usable_cores()
    decode_images_per_s, pixels_BCHW = _decode(chosen, spec.preprocessing, cores, max(size, RECALL_IMAGES), progress)
    progress.say(f"decode: {decode_images_per_s:.0f} images/s on {cores} core(s)")
    progress.start("backends")
    choice = BackendChoice(
        wanted="auto", files=files, fingerprint=spec.fingerprint, device=on, batch_size=size, cores=cores
    )
    speeds = tuple(dataclasses.replace(choice, wanted=EVERY).measure(pixels_BCHW, progress.say, stop))
    if stop is not None:
        stop.check()
    best = next(speed for speed in speeds if speed.backend == choice.settle(speeds))
    images_per_s, stored, row_bytes = _end_to_end(chosen, settings.encoder, settings.device, size, progress, stop)
    alone = (1 / decode_images_per_s, 1 / best.images_per_s)
    return BenchEncodeReport(
        encoder=files.architecture,
        device=on,
        cores=cores,
        images=len(chosen),
        size_bytes=sum(file.size_bytes for file in chosen),
        decode_images_per_s=decode_images_per_s,
        backends=speeds,
        backend=best.backend,
        # on a CPU, decoding and encoding take each other's time
        limit_images_per_s=1 / (sum(alone) if on == "cpu" else max(alone)),
        images_per_s=images_per_s,
        stored_images=stored,
        price_per_hour=settings.price_per_hour,
        row_bytes=row_bytes,
    )


def _spread(files: Sequence[ScannedFile], count: int) -> list[ScannedFile]:
    step = max(1.0, len(files) / count)
    return [files[int(index * step)] for index in range(min(count, len(files)))]


def _decode(
    files: Sequence[ScannedFile], preprocessing: Preprocessing, cores: int, sample: int, progress: Progress
) -> tuple[float, NDArray[np.uint8]]:
    """Images by second with every core decoding, and pixels of a sample."""
    setup = WorkerSetup(preprocessing=preprocessing)
    requests = [LoadRequest(index=index, image=file.path) for index, file in enumerate(files)]
    progress.start("decode", total=len(requests), unit="img")
    kept: list[NDArray[np.uint8]] = []
    with LoadingPool(setup, workers=cores, image_limit_s=IMAGE_LIMIT_S, ahead=LOADED_AHEAD) as pool:
        answers, started_s = 0, 0.0
        for _, answer in pool.load(requests):
            answers += 1
            if answers == cores:  # every process has started, and the first images found cold caches
                started_s = time.perf_counter()
            if isinstance(answer, LoadedImage) and answer.pixels_CHW is not None and len(kept) < sample:
                kept.append(answer.pixels_CHW)
            progress.advance()
        elapsed_s = time.perf_counter() - started_s
    progress.finish()
    if not kept or answers <= cores:
        raise DataError(
            f"Of {len(files)} files, {len(kept)} can be read as images; that is too few to measure.",
            remedy="Give a folder with some dozens of images or more.",
        )
    return (answers - cores) / elapsed_s, np.stack(kept)


def _end_to_end(
    files: Sequence[ScannedFile], encoder: str, device: str, batch_size: int, progress: Progress, stop: Stop | None
) -> tuple[float, int, float]:
    """Images by second from files to committed rows, their number, and bytes of each on the disk; all thrown away."""
    with tempfile.TemporaryDirectory(prefix="pinembed-bench-") as made:
        folder = Path(made) / "images"
        folder.mkdir()
        for index, file in enumerate(files):
            (folder / f"{index:07}{file.path.suffix}").symlink_to(file.path.absolute())
        table = f"{made}/db/bench"
        asked = EncodeSettings(
            images=folder, table=table, encoder=encoder, device=device, batch_size=batch_size, max_failure_rate=1.0
        )
        report = encode(asked, progress=progress, stop=stop)
        stored = report.counts.rows or 0
        size_bytes = sum(path.stat().st_size for path in Path(f"{table}.lance/data").rglob("*.lance"))
    return report.images_per_s, report.counts.encoded, size_bytes / stored if stored else 0.0

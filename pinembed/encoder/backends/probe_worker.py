"""What a trial process does: measure backends, or convert an image tower for them, and end.

It is a process of its own so that torch, the exporters and all the weights they hold are gone when the run begins, and
so that a backend that crashes, or swallows a signal, takes nothing else with it. Started as `python -m`, like the
workers that decode.

Shape legend: B batch, C channels (3), H = W = image_px, D embedding floats.
"""

from __future__ import annotations

import gc
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pinembed.encoder.backends.base import ImageBackend, Vectors, micro_batches
from pinembed.encoder.backends.candidates import (
    REFERENCE,
    candidates_for,
    every,
    file_of,
    is_converted,
    open_converted,
    piece_images,
)
from pinembed.encoder.backends.probe import (
    Converted,
    ConvertedProbe,
    Probe,
    ProbeAnswer,
    Reference,
    TorchProbe,
    Unsupported,
)
from pinembed.errors import EncoderError, MissingExtraError, PinembedError
from pinembed.reports.bench import BackendSpeed

if TYPE_CHECKING:
    from pinembed.encoder.backends.tower import ImageTower


MOMENTS = 3
NEIGHBOURS = 10
FEWEST_FOR_RECALL = 5 * NEIGHBOURS  # among fewer images nearly every one is a neighbour


def run_probe(probe: Probe) -> Iterator[ProbeAnswer]:
    """Answers as they come."""
    return _run_torch(probe) if isinstance(probe, TorchProbe) else _run_converted(probe)


def _run_torch(probe: TorchProbe) -> Iterator[ProbeAnswer]:
    import torch

    from pinembed.encoder.backends.tower import load_tower
    from pinembed.encoder.backends.with_torch import TorchBackend, native_precisions

    device = torch.device(probe.device)
    precisions = native_precisions(device)
    names = (
        every(precisions, device.type)
        if probe.wanted == "every"
        else candidates_for(probe.wanted, precisions, device.type)
    )
    try:
        tower = load_tower(probe.files, device=device)
    except PinembedError as error:
        yield Unsupported(name="", message=error.message, remedy=error.remedy)
        return
    speed, reference_BD = _measured(REFERENCE, TorchBackend(tower, probe.batch_size), probe, None)
    yield Reference(vectors_BD=reference_BD)
    yield speed
    for name in names:
        if is_converted(name):
            yield _convert(name, tower, probe)
        elif name != REFERENCE:
            backend = TorchBackend(tower, probe.batch_size, name.split()[1])
            yield _measured(name, backend, probe, reference_BD)[0]
            del backend
        gc.collect()


def _convert(name: str, tower: ImageTower, probe: TorchProbe) -> Converted | Unsupported:
    from pinembed.encoder.backends.with_onnx import convert_to_onnx
    from pinembed.encoder.backends.with_openvino import convert_to_openvino

    kind, precision = name.split()
    convert = convert_to_openvino if kind == "openvino" else convert_to_onnx
    path = file_of(name, probe.folder)
    try:
        with tempfile.TemporaryDirectory(dir=probe.folder) as made:
            made_path = Path(made) / path.name
            convert(tower, piece_images=piece_images(probe.batch_size, name), precision=precision, path=made_path)
            for file in sorted(Path(made).iterdir()):  # weights before the graph, which is what others look for
                file.replace(probe.folder / file.name)
    except (EncoderError, MissingExtraError) as error:
        return Unsupported(name=name, message=error.message, remedy=error.remedy)
    except OSError as error:
        message = f"The converted model cannot be written to {probe.folder}: {error.strerror or error}."
        return Unsupported(name=name, message=message, remedy="Free some space there, or use --backend torch.")
    return Converted(name=name)


def _run_converted(probe: ConvertedProbe) -> Iterator[ProbeAnswer]:
    try:
        yield _measured(probe.name, open_converted(probe.name, probe.folder, probe.cores), probe, probe.reference_BD)[0]
    except (EncoderError, MissingExtraError) as error:
        yield Unsupported(name=probe.name, message=error.message, remedy=error.remedy)


def _measured(
    name: str, backend: ImageBackend, probe: Probe, reference_BD: Vectors | None
) -> tuple[BackendSpeed, Vectors]:
    """Speed and agreement, and the embeddings; without a reference these are it."""
    started_s = time.perf_counter()
    vectors_BD = np.concatenate([backend.embed(batch) for batch in micro_batches(probe.pixels_BCHW, probe.batch_size)])
    first_s = time.perf_counter() - started_s
    reference_BD = vectors_BD if reference_BD is None else reference_BD
    slow_enough = first_s >= probe.measure_s  # to be the measure itself
    speed = BackendSpeed(
        backend=name,
        images_per_s=len(vectors_BD) / first_s if slow_enough else _images_per_s(backend, probe),
        min_cosine=float(np.einsum("bd,bd->b", vectors_BD, reference_BD).min()),
        neighbour_recall=neighbour_recall(vectors_BD, reference_BD),
    )
    return speed, vectors_BD


def _images_per_s(backend: ImageBackend, probe: Probe) -> float:
    """The best of some moments, so that what else runs here decides less; the next batch waits, as in the pipeline."""
    batch_BCHW = probe.pixels_BCHW[: probe.batch_size]
    best = 0.0
    pending = backend.submit(batch_BCHW)
    for _ in range(MOMENTS):
        started_s, images = time.perf_counter(), 0
        while (elapsed_s := time.perf_counter() - started_s) < probe.measure_s / MOMENTS or not images:
            following = backend.submit(batch_BCHW)
            pending.result()
            pending = following
            images += len(batch_BCHW)
        best = max(best, images / elapsed_s)
    pending.result()
    return best


def neighbour_recall(vectors_BD: Vectors, reference_BD: Vectors) -> float | None:
    """Share of each image's nearest neighbours by the reference that are nearest by the other vectors too."""
    if len(reference_BD) < FEWEST_FOR_RECALL:
        return None
    ours_BN, theirs_BN = _nearest(vectors_BD), _nearest(reference_BD)
    found = [len(np.intersect1d(our_N, their_N)) for our_N, their_N in zip(ours_BN, theirs_BN, strict=True)]
    return float(np.mean(found)) / NEIGHBOURS


def _nearest(vectors_BD: Vectors) -> np.ndarray:
    similarity_BB = vectors_BD @ vectors_BD.T
    np.fill_diagonal(similarity_BB, -np.inf)
    return np.argpartition(-similarity_BB, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]


def serve(connection: Connection) -> None:
    """Carry out the one trial that comes, and send what comes of it."""
    # Ctrl-C and a service manager's SIGTERM go to the whole group; the parent kills this process when it has to end
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with suppress(EOFError, OSError):  # the parent has closed the line, or was killed
        probe: Probe = connection.recv()
        for answer in run_probe(probe):
            connection.send(answer)


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])))

"""Backends measured in a process of their own, so that a crash of one costs that backend and not the run.

What torch, the exporters and the weights hold is gone with that process when the run begins. Started as `python -c`,
like the workers that decode.

Shape legend: B batch, C channels (3), H = W = image_px, D embedding floats.
"""

from __future__ import annotations

import gc
import importlib.util
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pinembed.encoder.backends.base import PIECE_IMAGES, ImageBackend, Pixels, Vectors, micro_batches
from pinembed.encoder.backends.with_onnx import OnnxBackend, convert_to_onnx
from pinembed.encoder.backends.with_openvino import OpenVinoBackend, convert_to_openvino
from pinembed.encoder.locate import EncoderFiles
from pinembed.errors import EncoderError, MissingExtraError, PinembedError
from pinembed.nouns.progress import Stop
from pinembed.reports.bench import BackendSpeed

if TYPE_CHECKING:
    from pinembed.encoder.backends.with_torch import ImageTower

REFERENCE = "torch fp32"
EVERY = "every"
SUFFIXES = {"openvino": ".xml", "onnx": ".onnx"}
PACKAGES = {"openvino": ("openvino",), "onnx": ("onnxruntime", "onnxscript", "onnx")}
WORKER = "from pinembed.encoder.backends.probe import serve; serve()"
POLL_S = 0.1
MOMENTS = 3
NEIGHBOURS = 10
FEWEST_FOR_RECALL = 5 * NEIGHBOURS  # among fewer images nearly every one is a neighbour


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """What is to be measured, as in a BackendChoice; on some of the user's own images, for so many seconds each.

    Attributes:
        folder: takes the converted models.
    """

    files: EncoderFiles
    device: str
    wanted: str
    batch_size: int
    pixels_BCHW: Pixels
    folder: Path
    cores: int
    measure_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Unsupported:
    """A backend that cannot take this encoder, or nothing that can be measured any more (name is empty)."""

    name: str
    message: str
    remedy: str


ProbeAnswer = BackendSpeed | Unsupported


def candidates_for(wanted: str, precisions: Sequence[str], device_type: str) -> list[str]:
    """What --backend may mean here, the likeliest first; for EVERY all that is installed.

    `auto` leaves out what cannot be the fastest: fp32 where bf16 is native, ONNX Runtime where OpenVINO is. Of the
    precisions, which the device computes natively, one is fp32.
    """
    if wanted in {"onnx", "onnx-int8"}:
        return [f"onnx {wanted.partition('-')[2] or 'fp32'}"]
    if wanted in SUFFIXES or wanted == "torch":
        return [f"{wanted} {precision}" for precision in reversed(precisions)]
    names = [f"torch {precision}" for precision in precisions]
    if device_type != "cpu":
        return names
    openvino = [f"openvino {precision}" for precision in precisions] if is_installed("openvino") else []
    onnx = ["onnx fp32", "onnx int8"] if is_installed("onnx") else []
    return [*names, *openvino, *onnx] if wanted == EVERY else [*names, *(openvino[-1:] or onnx[:1])]


def is_installed(kind: str) -> bool:
    """Whether every package is there that this kind of backend and its conversion need."""
    return all(importlib.util.find_spec(package) is not None for package in PACKAGES[kind])


def is_converted(name: str) -> bool:
    """Whether it computes from a file of its own, without torch."""
    return name.split()[0] in SUFFIXES


def file_of(name: str, folder: Path) -> Path:
    """Where the converted model of a backend lies."""
    return folder / f"{name.replace(' ', '-')}{SUFFIXES[name.split()[0]]}"


def open_converted(name: str, folder: Path, cores: int) -> ImageBackend:
    """A backend from its converted model, that uses so many cores.

    Raises:
        MissingExtraError: its package is not installed.
        EncoderError: the file cannot be loaded.
    """
    kind, precision = name.split()
    made = OpenVinoBackend if kind == "openvino" else OnnxBackend
    return made(file_of(name, folder), precision, cores)


def piece_images(batch_size: int, name: str = "") -> int:
    """Images that one thread of that backend computes at once.

    In int8 one: the scale of the activations is that of all that is computed at once, and a vector must not depend on
    its neighbours in a batch.
    """
    return 1 if name.endswith("int8") else min(batch_size, PIECE_IMAGES)


def answers_of(probe: Probe, stop: Stop | None = None, *, worker: str = WORKER) -> Iterator[ProbeAnswer]:
    """What a process of its own answers; the process is gone when this ends, however it ends.

    A crash comes as an Unsupported without a name. Asked to stop, it ends without a word.
    """
    ours, theirs = socket.socketpair()
    with tempfile.TemporaryFile() as words, Connection(ours.detach()) as line:
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-c", worker, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=words,
            )
        try:
            line.send(probe)
            while stop is None or not stop.requested:
                if line.poll(POLL_S):
                    yield line.recv()
        except (EOFError, OSError):  # it has ended, one way or the other
            if process.wait():
                words.seek(0)
                yield _crash(process.returncode, words.read().decode(errors="replace"))
        finally:
            process.kill()
            process.wait()


def _crash(code: int, words: str) -> Unsupported:
    ending = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    last = next((line.strip() for line in reversed(words.splitlines()) if line.strip()), "")
    return Unsupported(
        name="",
        message=f"The process that measures the backends ended with {ending}{': ' + last if last else ''}.",
        remedy="Use --backend torch; where memory is short, --batch-size 8 needs less.",
    )


def serve() -> None:
    """The life of that process: it takes one probe, and sends what comes of it."""
    # Ctrl-C and a service manager's SIGTERM go to the whole group; the parent kills this process when it has to end
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with suppress(EOFError, OSError):  # the parent has closed the line, or was killed
        connection = Connection(int(sys.argv[1]))
        for answer in run_probe(connection.recv()):
            connection.send(answer)


def run_probe(probe: Probe) -> Iterator[ProbeAnswer]:
    """Answers as they come: the reference, torch's other precisions, and what a converter might crash on last."""
    import torch

    from pinembed.encoder.backends.with_torch import TorchBackend, load_tower, native_precisions

    device = torch.device(probe.device)
    try:
        tower = load_tower(probe.files, device=device)
    except PinembedError as error:
        yield Unsupported(name="", message=error.message, remedy=error.remedy)
        return
    speed, reference_BD = _measured(REFERENCE, TorchBackend(tower, probe.batch_size), probe, None)
    yield speed
    for name in candidates_for(probe.wanted, native_precisions(device), device.type):
        if name == REFERENCE:
            continue
        try:
            yield _measured(name, _opened(name, tower, probe), probe, reference_BD)[0]
        except (EncoderError, MissingExtraError) as error:
            yield Unsupported(name=name, message=error.message, remedy=error.remedy)
        gc.collect()  # so that the weights of two backends never lie in memory together


def _opened(name: str, tower: ImageTower, probe: Probe) -> ImageBackend:
    from pinembed.encoder.backends.with_torch import TorchBackend

    if not is_converted(name):
        return TorchBackend(tower, probe.batch_size, name.split()[1])
    convert(name, tower, folder=probe.folder, batch_size=probe.batch_size)
    return open_converted(name, probe.folder, probe.cores)


def convert(name: str, tower: ImageTower, *, folder: Path, batch_size: int) -> None:
    """Write the converted model of a backend to its place in the folder.

    Raises:
        EncoderError: the tower cannot be converted, or the model cannot be written.
        MissingExtraError: a package is not installed.
    """
    kind, precision = name.split()
    converter = convert_to_openvino if kind == "openvino" else convert_to_onnx
    try:
        with tempfile.TemporaryDirectory(dir=folder) as made:
            path = Path(made) / file_of(name, folder).name
            converter(tower, piece_images=piece_images(batch_size, name), precision=precision, path=path)
            for file in sorted(Path(made).iterdir()):  # weights before the graph, which is what others look for
                file.replace(folder / file.name)
    except OSError as error:
        raise EncoderError(
            f"The converted model cannot be written to {folder}: {error.strerror or error}.",
            remedy="Free some space there, or use --backend torch.",
        ) from error


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

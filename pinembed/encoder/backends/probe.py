"""One backend tried in a process of its own, so that a crash of its library costs the backend and not the run."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from pinembed.encoder.backends.base import Pixels, Vectors
from pinembed.encoder.locate import EncoderFiles
from pinembed.nouns.progress import Stop
from pinembed.reports.bench import BackendSpeed


@dataclass(frozen=True, kw_only=True, slots=True)
class TorchProbe:
    """To do with torch: the reference, torch's other precisions, and the conversions.

    Attributes:
        files: the encoder.
        device: torch device.
        wanted: the value of --backend, or `every`.
        batch_size: images at once.
        pixels_BCHW: some of the user's own images.
        folder: takes the converted models.
        measure_s: time for each.
    """

    files: EncoderFiles
    device: str
    wanted: str
    batch_size: int
    pixels_BCHW: Pixels
    folder: Path
    measure_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ConvertedProbe:
    """To do without torch: measure one converted model.

    Attributes:
        name: of the backend.
        batch_size: images at once.
        pixels_BCHW: those of the reference.
        reference_BD: their embeddings by torch in fp32.
        folder: holds the converted models.
        cores: of the CPU that the run may use.
        measure_s: time for it.
    """

    name: str
    batch_size: int
    pixels_BCHW: Pixels
    reference_BD: Vectors
    folder: Path
    cores: int
    measure_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """What torch in fp32 computes."""

    vectors_BD: Vectors


@dataclass(frozen=True, kw_only=True, slots=True)
class Converted:
    """A converted model lies ready."""

    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Unsupported:
    """A backend that cannot take this encoder, or a trial that cannot be made at all (name is empty)."""

    name: str
    message: str
    remedy: str


Probe = TorchProbe | ConvertedProbe
ProbeAnswer = BackendSpeed | Reference | Converted | Unsupported


PROBE_WORKER = "pinembed.encoder.backends.probe_worker"
_POLL_S = 0.1


def answers_of(probe: Probe, stop: Stop | None = None) -> Iterator[ProbeAnswer]:
    """What a process of its own answers; the process is gone when this ends, however it ends.

    A crash comes as a Refused of what was tried. Asked to stop, it ends without a word.
    """
    ours, theirs = socket.socketpair()
    with tempfile.TemporaryFile() as words, Connection(ours.detach()) as line:
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-m", PROBE_WORKER, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=words,
            )
        try:
            line.send(probe)
            while stop is None or not stop.requested:
                if line.poll(_POLL_S):
                    yield line.recv()
        except (EOFError, OSError):  # it has ended, one way or the other
            if process.wait():
                words.seek(0)
                name = probe.name if isinstance(probe, ConvertedProbe) else ""
                yield _crash(name, process.returncode, words.read().decode(errors="replace"))
        finally:
            process.kill()
            process.wait()


def _crash(name: str, code: int, words: str) -> Unsupported:
    ending = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    last = next((line.strip() for line in reversed(words.splitlines()) if line.strip()), "")
    return Unsupported(
        name=name,
        message=f"The process that measures the backends ended with {ending}{': ' + last if last else ''}.",
        remedy="Use --backend torch; where memory is short, --batch-size 8 needs less.",
    )

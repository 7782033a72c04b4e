"""What a trial process is asked, and what it answers.

Shape legend: B batch, C channels (3), H = W = image_px, D embedding floats.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pinembed.encoder.backends.contract import Pixels, Vectors
from pinembed.encoder.locate import EncoderFiles
from pinembed.nouns.bench_encode_report import BackendSpeed


@dataclass(frozen=True, kw_only=True, slots=True)
class TorchTrial:
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
class ConvertedTrial:
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
class Refused:
    """A backend that cannot take this encoder, or a trial that cannot be made at all (name is empty)."""

    name: str
    message: str
    remedy: str


Trial = TorchTrial | ConvertedTrial
TrialAnswer = BackendSpeed | Reference | Converted | Refused

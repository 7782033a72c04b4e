"""BenchEncodeReport: how fast a machine could encode a folder, and how fast pinembed does."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class BackendSpeed:
    """One backend on the user's own images.

    Attributes:
        backend: its name and precision.
        images_per_s: with nothing else to do, the next batch always at hand.
        min_cosine: least agreement with torch in fp32 over the images measured.
        neighbour_recall: share of the 10 nearest neighbours by torch in fp32 that it finds too, among the images
            measured; None where they were too few.
    """

    backend: str
    images_per_s: float
    min_cosine: float
    neighbour_recall: float | None = None


@dataclass(frozen=True, kw_only=True)
class BenchEncodeReport:
    """Result of `pinembed bench encode`.

    Attributes:
        encoder: its name.
        device: torch device.
        cores: CPU cores that decode, and on a CPU also encode.
        images: how many were read.
        size_bytes: of their files.
        decode_images_per_s: reading, decoding and preprocessing alone, on all cores.
        backends: every installed backend, the reference first.
        backend: the fastest that agrees with the reference.
        limit_images_per_s: what decoding and that backend together allow on these cores.
        images_per_s: from files to committed rows.
        stored_images: how many of the images could be read and were stored.
    """

    encoder: str
    device: str
    cores: int
    images: int
    size_bytes: int
    decode_images_per_s: float
    backends: tuple[BackendSpeed, ...]
    backend: str
    limit_images_per_s: float
    images_per_s: float
    stored_images: int

    @property
    def share_of_limit(self) -> float:
        """What of the limit is reached."""
        return self.images_per_s / self.limit_images_per_s if self.limit_images_per_s else 0.0

"""PixelReport: whether a run keeps its decoded images in memory, and why."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PixelReport:
    """What was measured on the run's own images, in the pass that finds the broken ones.

    Attributes:
        images: that could be decoded.
        kept: of them stay decoded in memory; the others are decoded whenever they are shown.
        kept_bytes: memory that these take.
        decode_ms: for one image, all decoding threads together.
        read_ms: for one that is kept.
    """

    images: int
    kept: int
    kept_bytes: int
    decode_ms: float
    read_ms: float

    @property
    def is_faster_kept(self) -> bool:
        return self.read_ms <= self.decode_ms

    def __str__(self) -> str:
        times = f"decoding takes {self.decode_ms:.2f} ms an image, reading a kept one {self.read_ms:.2f} ms"
        if not self.is_faster_kept:
            return f"{times}: images are decoded whenever they are shown"
        return f"{times}: {self.kept:,} of {self.images:,} stay decoded, in {self.kept_bytes / 1e6:,.0f} MB"

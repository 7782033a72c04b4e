"""What `fuse` returns, and the fusion part of `finetune`'s report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pinembed.nouns.scores import FusionReport


@dataclass(frozen=True, kw_only=True)
class FuseReport:
    """What `pinembed fuse` did.

    Attributes:
        out: the encoder folder that was written.
        encoder: the reference that the user gave.
        encoder_fingerprint: of that encoder.
        fingerprint: of the encoder in `out`; the same where neither held a fusion.
        data: the DATA folder.
        group: the column whose equal values are positives.
        text: columns that make an item's text.
        fusion: what was chosen, why, and its figures.
        seconds: the complete run.
    """

    out: Path
    encoder: str
    encoder_fingerprint: str
    fingerprint: str
    data: str
    group: str | None
    text: tuple[str, ...]
    fusion: FusionReport
    seconds: float

    @property
    def promoted(self) -> bool:
        """Items are fused now."""
        return self.fusion.fusion is not None

    def to_json(self) -> dict[str, Any]:
        return {
            "out": str(self.out),
            "encoder": self.encoder,
            "encoder_fingerprint": self.encoder_fingerprint,
            "fingerprint": self.fingerprint,
            "data": self.data,
            "group": self.group,
            "text": list(self.text),
            "promoted": self.promoted,
            "fusion": self.fusion.to_json(),
            "seconds": self.seconds,
        }

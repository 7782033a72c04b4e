"""EncodeReport: what one run of `pinembed encode` did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodeStages:
    """Seconds of each stage. Decoding runs beside encoding, in several processes; the sum may exceed the run.

    Attributes:
        scan: listing the files, reading the metadata, comparing with the table.
        decode: reading, hashing, decoding and preprocessing, summed over the processes.
        load: loading torch and the encoder.
        calibrate: measuring the backends, where that was due.
        encode: in the encoder.
        wait: the encoder waiting for pixels: large where decoding is the bottleneck.
        write: commits.
    """

    scan: float = 0.0
    decode: float = 0.0
    load: float = 0.0
    calibrate: float = 0.0
    encode: float = 0.0
    wait: float = 0.0
    write: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class FailedImage:
    """One image without an embedding.

    Attributes:
        id: of the item.
        reason: short class of the failure.
        message: a sentence for people.
    """

    id: str
    reason: str
    message: str


@dataclass(frozen=True, kw_only=True)
class EncodeReport:
    """What one run did. Each item counts once: in added, updated, unchanged, duplicate or failed.

    Attributes:
        table: DATABASE/NAME.
        encoder: name of the encoder.
        fingerprint: of the encoder.
        added: items that were encoded and are new in the table.
        updated: items of the table whose image was encoded again, or whose file or metadata columns were rewritten.
        unchanged: items that were left alone.
        duplicate: items that are new, or whose image changed, and whose content had a vector already.
        failed: items without an embedding of what their file holds now; those of earlier runs included.
        removed: rows that --prune took out.
        rows: rows of the table after the run.
        encoded: images that went through the encoder.
        seconds: of the whole run, the model's loading included.
        images_per_s: encoded images by second, from the first image read to the last commit.
        stages: seconds of each stage.
        failures: number of failed items by reason.
        failed_images: the first failed items.
        not_retried: failed items that were not tried again, because their file is the same as when it failed.
        backend: what computed the embeddings; empty when nothing was encoded.
        dry_run: nothing was done; the counts are the plan's.
        max_failure_rate: share of failed items above which the run counts as failed.
    """

    table: str
    encoder: str
    fingerprint: str
    added: int = 0
    updated: int = 0
    unchanged: int = 0
    duplicate: int = 0
    failed: int = 0
    removed: int = 0
    rows: int = 0
    encoded: int = 0
    seconds: float = 0.0
    images_per_s: float = 0.0
    stages: EncodeStages = EncodeStages()
    failures: Mapping[str, int]
    failed_images: tuple[FailedImage, ...] = ()
    not_retried: int = 0
    backend: str = ""
    dry_run: bool = False
    max_failure_rate: float = 1.0

    @property
    def failure_rate(self) -> float:
        """Share of the items that failed."""
        items = self.added + self.updated + self.unchanged + self.duplicate + self.failed
        return self.failed / items if items else 0.0

    @property
    def exit_code(self) -> int:
        """0, or 3 when more failed than the user allows."""
        return 3 if self.failure_rate > self.max_failure_rate else 0

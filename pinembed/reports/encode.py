"""EncodeReport: what one run of `pinembed encode` did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pinembed.nouns.failure import Failure
from pinembed.nouns.run_record import Counts, counts_among_fields


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


@dataclass(frozen=True, kw_only=True)
class EncodeReport:
    """What one run did.

    Attributes:
        table: DATABASE/NAME.
        counts: of its items; in JSON each of them stands here under its own name.
        seconds: of the whole run, the model's loading included.
        images_per_s: encoded images by second, from the first image read to the last commit.
        failures: number of failed items by reason.
        not_retried: failed items that were not tried again, because their file is the same as when it failed.
        backend: what computed the embeddings; empty when nothing was encoded.
        dry_run: nothing was done; the counts are the plan's.
        max_failure_rate: share of failed items above which the run counts as failed.
        notes: what a person was told beside the counts, a sentence each: values left out, files without a row, rows
            that --prune spared.
    """

    table: str
    encoder: str
    fingerprint: str
    counts: Counts
    seconds: float = 0.0
    images_per_s: float = 0.0
    stages: EncodeStages = EncodeStages()
    failures: Mapping[str, int]
    failed_images: tuple[Failure, ...] = ()
    not_retried: int = 0
    backend: str = ""
    dry_run: bool = False
    max_failure_rate: float = 1.0
    notes: tuple[str, ...] = ()

    @property
    def failure_rate(self) -> float:
        """Share of the items that failed."""
        counts = self.counts
        items = counts.added + counts.updated + (counts.unchanged or 0) + counts.duplicate + counts.failed
        return counts.failed / items if items else 0.0

    @property
    def exit_code(self) -> int:
        """0, or 3 when more failed than the user allows."""
        return 3 if self.failure_rate > self.max_failure_rate else 0

    def to_json(self) -> dict[str, Any]:
        """The report's JSON object."""
        return counts_among_fields(self)

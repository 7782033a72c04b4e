"""RunRecord: one run of `pinembed encode` as the table remembers it."""

from __future__ import annotations

from dataclasses import dataclass

DONE, FAILED, STOPPED, TOO_MANY_FAILURES = "done", "failed", "stopped", "too many failures"
RUNNING, INTERRUPTED = "running", "interrupted"


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRecord:
    """One run. What is only known at its end is None until then, and stays so in a run that was killed.

    Attributes:
        run: unique id.
        started_at: ISO 8601 in UTC.
        host: name of the machine.
        pid: process id there.
        version: of pinembed.
        images: what it was given, absolute.
        fingerprint: of the encoder.
        reduced_decode: large JPEGs were decoded at a part of their size.
        ending: `done`, `too many failures`, `failed`, or `stopped` by a signal; as read from a table also `running`,
            and `interrupted` for a run that never told its end.
        message: what the error said, where there was one.
        seconds: of the whole run.
        added, updated, unchanged, duplicate, failed, removed, rows, encoded: as in EncodeReport.
        backend: what computed the embeddings; empty when nothing was encoded.
    """

    run: str
    started_at: str
    host: str
    pid: int
    version: str
    images: str
    fingerprint: str
    reduced_decode: bool
    ending: str | None = None
    message: str | None = None
    seconds: float | None = None
    added: int | None = None
    updated: int | None = None
    unchanged: int | None = None
    duplicate: int | None = None
    failed: int | None = None
    removed: int | None = None
    rows: int | None = None
    encoded: int | None = None
    backend: str | None = None

"""RunRecord: one run of `pinembed encode` as the table remembers it. Counts: what a run did, wherever it is told."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pinembed.stored import fields_of

DONE, FAILED, STOPPED, TOO_MANY_FAILURES = "done", "failed", "stopped", "too many failures"
RUNNING, INTERRUPTED = "running", "interrupted"


@dataclass(kw_only=True, slots=True)
class Counts:
    """Items of one run; it counts up while the run goes on.

    Each item counts once: in added, updated, unchanged, duplicate or failed.

    Attributes:
        added: items that were encoded and are new in the table.
        updated: items of the table whose image was encoded again, or whose file or metadata columns were rewritten.
        unchanged: items that were left alone; None in a run that was stopped.
        duplicate: items that are new, or whose image changed, and whose content had a vector already.
        failed: items without an embedding of what their file holds now; those of earlier runs included, but for a run
            that was stopped.
        removed: rows that --prune took out; None in a run that was stopped.
        rows: rows of the table after the run; None in a run that was stopped.
        encoded: images that went through the encoder.
    """

    added: int = 0
    updated: int = 0
    unchanged: int | None = None
    duplicate: int = 0
    failed: int = 0
    removed: int | None = None
    rows: int | None = None
    encoded: int = 0


COUNTS = tuple(field.name for field in dataclasses.fields(Counts))


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
        counts: of its items; None also where the run failed.
        backend: what computed the embeddings; empty when nothing was encoded.
        folder: that the inputs lay in, absolute.
        disk: that the folder's rows came from, by the system's number; None also where the folder was found on another.
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
    counts: Counts | None = None
    backend: str | None = None
    folder: str | None = None
    disk: int | None = None

    @classmethod
    def from_json(cls, columns: Mapping[str, Any]) -> RunRecord:
        """The run that `to_json` wrote."""
        own = {name: value for name, value in columns.items() if name not in COUNTS}
        counts = Counts(**{name: columns[name] for name in COUNTS}) if columns["added"] is not None else None
        return cls(**own, counts=counts)

    def to_json(self) -> dict[str, Any]:
        """Columns of a row, each count one of them."""
        return counts_among_fields(self)


def counts_among_fields(record: Any) -> dict[str, Any]:
    """Fields of a dataclass by name, each of its `counts` one of them: how runs are stored and reported."""
    shown = fields_of(record)
    counts = shown.pop("counts")
    return shown | (dict.fromkeys(COUNTS) if counts is None else dataclasses.asdict(counts))

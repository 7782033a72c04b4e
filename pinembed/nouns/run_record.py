"""Run: one run as a table remembers it, RunRecord one of `encode`. Counts: what a run did, wherever it is told."""

from __future__ import annotations

import dataclasses
import os
import socket
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, TypeVar

from pinembed.stored import fields_of
from pinembed.version import __version__

AnyRun = TypeVar("AnyRun", bound="Run")

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


COUNTS = tuple(found.name for found in dataclasses.fields(Counts))


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run of this process that begins now, or one as a table holds it.

    What is only known at its end is None until then, and stays so in a run that was killed.

    Attributes:
        run: unique id.
        started_at: ISO 8601 in UTC.
        host: name of the machine.
        pid: process id there.
        version: of pinembed.
        ending: `done` or another word; None as long as it has not ended.
        message: what the error said, where there was one.
        seconds: of the whole run.
        counts: of its items; None also where the run failed.
    """

    run: str = field(default_factory=lambda: uuid.uuid4().hex)
    started_at: str = field(default_factory=lambda: datetime.now(timezone.utc).isoformat(timespec="milliseconds"))
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)
    version: str = __version__
    ending: str | None = None
    message: str | None = None
    seconds: float | None = None
    counts: Counts | None = None

    @classmethod
    def from_json(cls: type[AnyRun], columns: Mapping[str, Any]) -> AnyRun:
        """The run that `to_json` wrote."""
        own = {name: value for name, value in columns.items() if name not in COUNTS}
        counts = Counts(**{name: columns[name] for name in COUNTS}) if columns["added"] is not None else None
        return cls(**own, counts=counts)

    def to_json(self) -> dict[str, Any]:
        """Columns of a row, each count one of them."""
        return counts_among_fields(self)


@dataclass(frozen=True, kw_only=True)
class RunRecord(Run):
    """One run of `encode`. It ends in `done`, `too many failures`, `failed`, or `stopped` by a signal.

    As read from a table it is also `running`, or `interrupted` where it never told its end.

    Attributes:
        images: what it was given, absolute.
        fingerprint: of the encoder.
        reduced_decode: large JPEGs were decoded at a part of their size.
        backend: what computed the embeddings; empty when nothing was encoded.
        folder: that the inputs lay in, absolute.
        disk: that the folder's rows came from, by the system's number; None also where the folder was found on another.
    """

    images: str
    fingerprint: str
    reduced_decode: bool
    backend: str | None = None
    folder: str | None = None
    disk: int | None = None


def counts_among_fields(record: Any) -> dict[str, Any]:
    """Fields of a dataclass by name, each of its `counts` one of them: how runs are stored and reported."""
    shown = fields_of(record)
    counts = shown.pop("counts")
    return shown | (dict.fromkeys(COUNTS) if counts is None else dataclasses.asdict(counts))

"""What `generations`, `sandbox`, `rollback` and `switch` return."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class GenerationLine:
    """One generation in the list.

    Attributes:
        state: `current`, `awaits switch`, or empty.
        created_at: ISO 8601 in UTC.
        fingerprint: of the encoder.
        rows: of the table.
        size_bytes: of its files, whoever else has them by a hard link.
        own_bytes: of those files that no other generation has.
        why: what it was made for; a sentence.
        problem: why its record cannot be read; empty where it can.
    """

    number: int
    state: str
    created_at: str = ""
    fingerprint: str = ""
    rows: int = 0
    size_bytes: int = 0
    own_bytes: int = 0
    why: str = ""
    problem: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class SandboxLine:
    """One sandbox in the list.

    Attributes:
        generation: that it was made from; None where that cannot be read.
        created_at: ISO 8601 in UTC.
        by: who made it.
        size_bytes: of its files, whoever else has them by a hard link.
        own_bytes: of those files that nobody else has.
        problem: why its record cannot be read; empty where it can.
    """

    name: str
    generation: int | None = None
    created_at: str = ""
    by: str = ""
    size_bytes: int = 0
    own_bytes: int = 0
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class SandboxReport:
    """A sandbox that was made or removed.

    Attributes:
        folder: of it.
        removed: it is gone.
        generation: that it is a copy of.
        fingerprint: of the encoder.
        rows: of the table.
        size_bytes: of its files.
        own_bytes: of those that nobody else has; after a removal, of those that the disk has back.
        copied_bytes: of files that the file system could not link.
    """

    home: Path
    name: str
    folder: Path
    removed: bool
    generation: int
    fingerprint: str
    rows: int
    size_bytes: int
    own_bytes: int
    copied_bytes: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class GenerationsReport:
    """All generations of a home, ascending, and the sandboxes beside them.

    Attributes:
        current: number of the one in use; None where there is none yet.
        refused: fingerprints of encoders that were rolled back and are not promoted again by themselves.
    """

    home: Path
    current: int | None
    generations: tuple[GenerationLine, ...]
    sandboxes: tuple[SandboxLine, ...]
    refused: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class SwitchReport:
    """Which generation is in use now.

    Attributes:
        before: the number that was in use; None where there was none.
        now: the number in use.
        refused: fingerprint of the encoder that is not promoted again by itself; empty where it is the same or wanted.
        switch_ms: that the change of the link took, its checks included.
    """

    home: Path
    before: int | None
    now: int
    refused: str
    switch_ms: float

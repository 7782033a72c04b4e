"""What `generations`, `rollback` and `switch` return."""

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


@dataclass(frozen=True, kw_only=True)
class GenerationsReport:
    """All generations of a home, ascending.

    Attributes:
        current: number of the one in use; None where there is none yet.
        refused: fingerprints of encoders that were rolled back and are not promoted again by themselves.
    """

    home: Path
    current: int | None
    generations: tuple[GenerationLine, ...]
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

"""What `refresh` and `report` return, and what the history of a home is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pinembed.nouns.run_record import Counts


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckResult:
    """One check of a new generation.

    Attributes:
        found: the figure that was measured.
        wanted: in words; empty where it is only measured.
    """

    name: str
    found: float
    wanted: str
    passed: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class StepReport:
    """One step of a run.

    Attributes:
        state: `planned` in a dry run, `done`, or `kept` from an earlier run that was stopped.
        why: a few words.
        seconds: that it took; in a dry run, what it took last time, None where that is not known.
        size_bytes: in a dry run, what it is likely to write.
    """

    name: str
    state: str
    why: str
    seconds: float | None = None
    size_bytes: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricRow:
    """One figure of one generation, as the history holds it.

    Attributes:
        generation: its number.
        at: ISO 8601 in UTC.
        name: `map`, `recall@1`, `answers`, `search_p95_ms`, `rows`, `size_bytes`, ...
        value: the figure.
        low: end of its 95 % interval; None without one. `high` alike.
        direction: of retrieval, or the field of answers; empty elsewhere.
        slice: of the split; empty for all of it.
        data: what it was measured on; empty where that is the generation itself.
    """

    generation: int
    at: str
    name: str
    value: float
    low: float | None = None
    high: float | None = None
    direction: str = ""
    slice: str = ""
    data: str = ""

    @property
    def key(self) -> str:
        """Unique in a home."""
        return "/".join((f"{self.generation:06}", self.name, self.direction, self.slice, self.data))

    @property
    def series(self) -> tuple[str, str, str, str]:
        """The same for the same figure of other generations."""
        return self.name, self.direction, self.slice, self.data


@dataclass(frozen=True, kw_only=True)
class RefreshReport:
    """What one run of `refresh` did, or would do.

    Attributes:
        dry_run: nothing was done.
        steps: in their order; empty where there was nothing to do.
        before: generation that was in use; None where there was none.
        generation: that was made; None where none was.
        serves: generation in use now.
        awaits_approval: the new generation waits for `pinembed switch`.
        counts: of the items; as a dry run sees them where nothing was done.
        kept: the gate kept the champion.
        reason: what the gate said; empty where nothing was trained.
        checks: of the new generation.
        metrics: figures of this run by name.
        size_bytes: that the run wrote and no other generation has; in a dry run an estimate.
        removed: generations that retention took out.
        spared: those that it left to their readers.
        strict: a champion that stays is exit code 4.
    """

    home: Path
    config: Path
    dry_run: bool
    steps: tuple[StepReport, ...]
    before: int | None
    generation: int | None
    serves: int | None
    awaits_approval: bool
    counts: Counts
    kept: bool
    reason: str
    checks: tuple[CheckResult, ...]
    metrics: Mapping[str, float]
    size_bytes: int
    removed: tuple[int, ...]
    spared: tuple[int, ...]
    seconds: float
    strict: bool = False

    @property
    def exit_code(self) -> int:
        """0, or 4 where the gate kept the champion and that counts."""
        return 4 if self.kept and self.strict else 0

    @property
    def nothing_to_do(self) -> bool:
        """Everything is as the generation in use has it."""
        return not self.steps


@dataclass(frozen=True, kw_only=True)
class HomeReport:
    """What `pinembed report` wrote.

    Attributes:
        generation: that it is about.
        written: files.
        markdown: the report as text.
        page: the report as plain values.
    """

    home: Path
    generation: int
    written: tuple[Path, ...]
    markdown: str
    page: Mapping[str, Any]

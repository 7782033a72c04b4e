"""History: each run and each figure of a home is a row of a Lance table, HOME/history/runs and HOME/history/metrics.

Figures come out of the reports of a generation's steps.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from pinembed.nouns.run_record import INTERRUPTED, Run
from pinembed.nouns.scores import DIRECTIONS, METRICS, Estimate, RetrievalScores, Scores, SliceScores
from pinembed.reports.refresh import MetricRow
from pinembed.reports.trimmed import AlignReport
from pinembed.table.address import TableAddress
from pinembed.table.side_tables import RUN_FIELDS, SideTable

Z_95 = 1.96
Figure = dict[str, Any]
"""Fields of a MetricRow beside generation and time; as such they survive in a step's record."""
HISTORY = "history"


@dataclass(frozen=True, kw_only=True)
class HomeRun(Run):
    """One run of refresh. It ends in `done`, `nothing to do`, `kept the champion` or `failed`; as read, `interrupted`.

    Attributes:
        generation: that was made.
        before: that was in use at the start.
        steps: seconds by name.
        cost: of its time, at the price under which it ran.
    """

    generation: int | None = None
    before: int | None = None
    fingerprint: str | None = None
    why: str | None = None
    cost: float | None = None
    steps: Mapping[str, float] = field(default_factory=dict)

    def to_row(self) -> dict[str, Any]:
        """Columns of the runs table."""
        return self.to_json() | {"steps": json.dumps(dict(self.steps))}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> HomeRun:
        """The inverse of `to_row`; a run that never told its end counts as interrupted."""
        return cls.from_json({**row, "ending": row["ending"] or INTERRUPTED, "steps": json.loads(row["steps"])})


RUNS_SCHEMA = pa.schema(
    [
        *RUN_FIELDS,
        *(pa.field(name, pa.int64()) for name in ("generation", "before")),
        *(pa.field(name, pa.string()) for name in ("fingerprint", "why", "steps")),
        pa.field("cost", pa.float64()),
    ]
)
METRICS_SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("generation", pa.int64()),
        *(pa.field(name, pa.string()) for name in ("at", "name", "direction", "slice", "data")),
        *(pa.field(name, pa.float64()) for name in ("value", "low", "high")),
    ]
)


class History:
    """Runs and figures of one home; a table is made with its first row.

    Args:
        home: its folder.
    """

    def __init__(self, home: Path) -> None:
        database = str(home / HISTORY)
        self._runs = SideTable(TableAddress(database=database, name="runs"), RUNS_SCHEMA)
        self._metrics = SideTable(TableAddress(database=database, name="metrics"), METRICS_SCHEMA)

    def note(self, run: HomeRun) -> None:
        """Write a run down; again at its end.

        Raises:
            TableError: the table cannot be written.
        """
        self._runs.upsert([run.to_row()])
        if run.ending:
            self._runs.compact()
            self._metrics.compact()

    def record(self, metrics: Iterable[MetricRow]) -> None:
        """Write figures down; those of a generation that is measured again take the place of the older.

        Raises:
            TableError: the table cannot be written.
        """
        unique = {metric.key: metric for metric in metrics}
        self._metrics.upsert([{"key": key, **dataclasses.asdict(metric)} for key, metric in unique.items()])

    def runs(self) -> list[HomeRun]:
        """All runs, the oldest first."""
        rows = self._runs.read().sort_by("started_at").to_pylist()
        return [HomeRun.from_row(row) for row in rows]

    def metrics(self) -> list[MetricRow]:
        """All figures, by generation and name."""
        rows = self._metrics.read().drop_columns("key").to_pylist()
        found = [MetricRow(**row) for row in rows]
        return sorted(found, key=lambda metric: metric.key)

    def last_seconds(self) -> dict[str, float]:
        """How long each step took the last time that it was done."""
        return last_seconds(self.runs())


def last_seconds(runs: Sequence[HomeRun]) -> dict[str, float]:
    """Seconds by the name of a step, of the latest run that did it."""
    found: dict[str, float] = {}
    for run in runs:
        found.update(run.steps)
    return found


def retrieval_figures(scores: Scores, slices: tuple[SliceScores, ...] = (), *, data: str) -> Iterator[Figure]:
    """Each figure of each direction, and mAP of each slice, with their intervals."""
    for direction in DIRECTIONS:
        found: RetrievalScores | None = getattr(scores, direction)
        if found is not None:
            for name, estimate in zip(METRICS, found.estimates, strict=True):
                yield _figure(name, estimate, direction=direction, data=data)
        for part in slices:
            estimate = getattr(part, direction)
            if estimate is not None:
                yield _figure("map", estimate, direction=direction, slice=part.name, data=data)


def _figure(name: str, estimate: Estimate, **where: str) -> Figure:
    return {"name": name, "value": estimate.value, "low": estimate.low, "high": estimate.high, **where}


def answer_figures(report: AlignReport) -> Iterator[Figure]:
    """Share of right answers by field, with Wilson's 95 % interval, and their mean."""
    for score in report.fields:
        low, high = wilson(score.accuracy, score.items)
        yield {"name": "answers", "value": score.accuracy, "low": low, "high": high, "direction": score.field}
    yield {"name": "answers", "value": report.accuracy, "direction": "mean"}


def wilson(share: float, count: int) -> tuple[float, float]:
    """95 % interval of a share. Source: Wilson 1927, doi:10.1080/01621459.1927.10502953."""
    if not count:
        return 0.0, 1.0
    middle = (share + Z_95**2 / (2 * count)) / (1 + Z_95**2 / count)
    reach = Z_95 / (1 + Z_95**2 / count) * math.sqrt(share * (1 - share) / count + Z_95**2 / (4 * count**2))
    return max(0.0, middle - reach), min(1.0, middle + reach)


def plain_figures(values: Mapping[str, float | None]) -> Iterator[Figure]:
    """Figures without interval; what is None was not measured."""
    for name, value in values.items():
        if value is not None:
            yield {"name": name, "value": float(value)}


def as_rows(figures: Iterator[Figure] | list[Figure], *, generation: int, at: str) -> list[MetricRow]:
    """Rows of the history."""
    return [MetricRow(generation=generation, at=at, **figure) for figure in figures]

"""What `pinembed demo` did, measured in that run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pinembed.reports.evaluate import EvaluateReport
from pinembed.reports.trimmed import Answer, FieldScore


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoStep:
    """One step.

    Attributes:
        result: the outcome in a few words, from the step's own report.
        path: the file or folder that it wrote; None where it wrote none.
        command: the same step as a command line.
    """

    name: str
    seconds: float
    result: str
    path: Path | None
    command: str


@dataclass(frozen=True, kw_only=True)
class DemoReport:
    """The whole way once.

    Attributes:
        evaluation: the tuned encoder and its base on the test split, which training never saw.
        fields: how the trimmed model answers questions about items of the test split.
        answers: what it said about a product of each category.
    """

    data: Path
    out: Path
    steps: tuple[DemoStep, ...]
    evaluation: EvaluateReport
    fields: tuple[FieldScore, ...]
    answers: tuple[Answer, ...]
    seconds: float

"""Figures of a generation out of the reports of its steps, as rows of the history."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from pinembed.nouns.scores import DIRECTIONS, METRICS, RetrievalScores, Scores, SliceScores
from pinembed.reports.refresh import MetricRow
from pinembed.reports.trimmed import AlignReport

Z_95 = 1.96
Figure = dict[str, Any]
"""Fields of a MetricRow beside generation and time; as such they survive in a step's record."""


def retrieval_figures(scores: Scores, slices: tuple[SliceScores, ...] = (), *, data: str) -> Iterator[Figure]:
    """Each figure of each direction, and mAP of each slice, with their intervals."""
    for direction in DIRECTIONS:
        found: RetrievalScores | None = getattr(scores, direction)
        if found is not None:
            for name, estimate in zip(METRICS, found.estimates, strict=True):
                yield {
                    "name": name,
                    "value": estimate.value,
                    "low": estimate.low,
                    "high": estimate.high,
                    "direction": direction,
                    "data": data,
                }
        for part in slices:
            estimate = getattr(part, direction)
            if estimate is not None:
                yield {
                    "name": "map",
                    "value": estimate.value,
                    "low": estimate.low,
                    "high": estimate.high,
                    "direction": direction,
                    "slice": part.name,
                    "data": data,
                }


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

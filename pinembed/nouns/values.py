"""Metadata values as text, and numbers as thirds: one rule for captions, queries, questions, groups and slices."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from pinembed.nouns.item import FieldValue

CutPoints = tuple[float, float]
"""The highest number of the lower third, and the highest of the middle one."""


def is_missing(value: FieldValue) -> bool:
    """None or NaN, which is how Parquet and pandas write a gap in a column of numbers."""
    return value is None or bool(value != value)


def text_of_value(value: FieldValue) -> str:
    """A value in words: white space folded, a list's entries joined by commas; empty where it is missing."""
    if is_missing(value):
        return ""
    if isinstance(value, list | tuple):
        return ", ".join(part for part in map(text_of_value, value) if part)
    return " ".join(str(value).split())


def cut_points(values: Iterable[FieldValue]) -> CutPoints | None:
    """Where a column of numbers, such as prices, is cut into thirds; None where it holds anything else, or nothing."""
    known = [value for value in values if not is_missing(value)]
    if not known or any(isinstance(value, bool) or not isinstance(value, int | float | Decimal) for value in known):
        return None

    import numpy as np  # late, for a search shows values and cuts none

    low, high = np.quantile(np.array(known, dtype=np.float64), (1 / 3, 2 / 3))
    return float(low), float(high)


def third_of(value: FieldValue, cuts: CutPoints) -> str:
    """`low`, `medium` or `high`; a number at a cut point belongs to the lower side. Empty where it is missing."""
    if is_missing(value):
        return ""
    low, high = cuts
    return "low" if value <= low else "medium" if value <= high else "high"

"""Metadata values as text: one rule for captions, queries, questions, groups, slices and tables on a screen."""

from __future__ import annotations

from pinembed.nouns.item import FieldValue


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

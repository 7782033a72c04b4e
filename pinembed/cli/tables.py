"""Tables that several commands print: comparisons with a verdict, and the fusion of items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pinembed.cli.console import Console
from pinembed.nouns.scores import ITEM_DIRECTIONS, Estimate

if TYPE_CHECKING:
    from pinembed.nouns.scores import (
        FusionReport,
        ItemComparison,
        ItemFigures,
        ItemScores,
        RetrievalScores,
        Scores,
        SliceChange,
        Verdict,
    )

    Figures = Scores | ItemFigures
SHOWN_SLICES = 12


def show_slice_changes(console: Console, verdict: Verdict, *, challenger: str, champion: str) -> None:
    """A table of the slices that tell most: those that are worse, then the largest."""
    if not verdict.slices:
        return
    rows = [_row(found) for found in verdict.most_telling(SHOWN_SLICES)]
    hidden = len(verdict.slices) - len(rows)
    title = f"Slices, mean mAP of {challenger} and {champion}"
    title += f" ({hidden} smaller ones only in --json)" if hidden else ""
    console.table(title, ["", "images", challenger, champion, "change", "95 %", ""], rows)


def minute_of(moment: str) -> str:
    """A moment in ISO 8601 to the minute."""
    return moment[:16].replace("T", " ")


def figure(found: Estimate | float | None) -> str:
    """Three digits, or that there is none."""
    value = found.value if isinstance(found, Estimate) else found
    return "none" if value is None else f"{value:.3f}"


def interval(estimate: Estimate, sign: str) -> str:
    """Where there are signs, without the zero before the point, so that they take no column more."""
    low, high = (f"{end:{sign}.2f}" for end in (estimate.low, estimate.high))
    return f"{low.replace('0.', '.')}..{high.replace('0.', '.')}" if sign else f"{low}..{high}"


def _row(found: SliceChange) -> list[str]:
    note = "worse" if found.worse else "" if found.large else "small"
    figures = [f"{found.challenger:.3f}", f"{found.champion:.3f}", f"{found.difference.value:+.3f}"]
    return [found.name, f"{found.images:,}", *figures, interval(found.difference, "+"), note]


def show_items(console: Console, title: str, scores: ItemScores) -> None:
    """Fused items beside the same items as images alone."""
    rows = map_rows(ITEM_DIRECTIONS, scores.image_only, scores.fused, scores.difference)
    console.table(title, ["", "queries", "images", "fused", "change, 95 %"], rows)


def show_item_comparison(console: Console, name: str, found: ItemComparison) -> None:
    """Items of A beside those of a rival."""
    rows = map_rows(ITEM_DIRECTIONS, found.champion, found.challenger, found.difference)
    console.table(f"Items as encode stores them, A beside {name}", ["", "queries", name, "A", "change, 95 %"], rows)


def say_terms(console: Console, scores: ItemScores) -> None:
    """What an item is, and who asked."""
    console.say(f"An item is {scores.fusion}.")
    if scores.query_fields:
        console.say(f"Texts that asked: {', '.join(scores.query_fields)}, each of items that did not carry it.")


def show_fusion(console: Console, report: FusionReport) -> None:
    for split, scores in (("val, which chose", report.val), ("test, which judged", report.test)):
        if scores is not None:
            show_items(console, f"Items of image and metadata, split {split}: {scores.items:,}", scores)
    if report.val is not None:
        say_terms(console, report.val)
    console.say(report.reason if report.fusion is None else f"Items are fused. {report.reason}")


def map_rows(directions: Sequence[str], before: Figures, after: Figures, change: Figures) -> list[list[str]]:
    """For each direction that has queries: its name, the queries, the mAP before and after, and the change."""
    rows = []
    for name in directions:
        old: RetrievalScores | None = getattr(before, name)
        new: RetrievalScores | None = getattr(after, name)
        difference: RetrievalScores | None = getattr(change, name)
        if old is not None and new is not None and difference is not None:
            interval = f"{difference.map.low:+.3f} to {difference.map.high:+.3f}"
            figures = [f"{found.map.value:.3f}" for found in (old, new)]
            heading = f"{name.replace('_to_', ' > ')} mAP"
            rows.append([heading, f"{old.queries:,} of {old.gallery:,}", *figures, interval])
    return rows

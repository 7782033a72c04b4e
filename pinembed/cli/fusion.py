"""What evaluate and finetune show of fused items beside images alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinembed.cli.console import Console

if TYPE_CHECKING:
    from pinembed.nouns.evaluation import RetrievalScores
    from pinembed.nouns.fusion_report import FusionReport, ItemScores


def show_items(console: Console, title: str, scores: ItemScores) -> None:
    """A table of both directions."""
    rows = []
    for heading, name in (("text > item", "text_to_item"), ("image > item", "image_to_item")):
        before: RetrievalScores | None = getattr(scores.image_only, name)
        after: RetrievalScores | None = getattr(scores.fused, name)
        change: RetrievalScores | None = getattr(scores.difference, name)
        if before is not None and after is not None and change is not None:
            interval = f"{change.map.low:+.3f} to {change.map.high:+.3f}"
            figures = [f"{found.map.value:.3f}" for found in (before, after)]
            rows.append([f"{heading} mAP", f"{before.queries:,} of {before.gallery:,}", *figures, interval])
    console.table(title, ["", "queries", "images", "fused", "change, 95 %"], rows)


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

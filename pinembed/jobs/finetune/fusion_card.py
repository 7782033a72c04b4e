"""The model card's words about an item's vector."""

from __future__ import annotations

from pinembed.nouns.fusion_report import ITEM_DIRECTIONS, FusionReport, ItemScores


def fusion_lines(report: FusionReport | None) -> list[str]:
    """A section in Markdown; empty where fusion was no question."""
    if report is None:
        return []
    if report.fusion is None:
        return ["", "## Items", "", report.reason]
    shown = report.test or report.val
    return [
        "",
        "## Items",
        "",
        f"An item's vector is the normalised mean of its image and of texts from its metadata: {report.fusion}. "
        "`pinembed encode` makes it; queries are bare texts and bare images, as open_clip embeds them. "
        f"Vectors of this encoder's images alone do not belong into the same table. {report.reason}",
        *(["", *_table(shown, "test" if report.test else "val")] if shown else []),
    ]


def _table(scores: ItemScores, split: str) -> list[str]:
    rows = []
    for name in ITEM_DIRECTIONS:
        alone, fused = getattr(scores.image_only, name), getattr(scores.fused, name)
        if alone is not None:
            change = getattr(scores.difference, name).map
            rows.append(
                f"| {name.replace('_', ' ')} | {alone.queries:,} | {alone.gallery:,} | {alone.map.value:.3f} | "
                f"{fused.map.value:.3f} | {change.low:+.3f} to {change.high:+.3f} |"
            )
    return [
        f"mAP on the split {split}; no text asked an item that carried it.",
        "",
        "| | queries | gallery | image only | fused | change, 95 % interval |",
        "|---|---|---|---|---|---|",
        *rows,
    ]

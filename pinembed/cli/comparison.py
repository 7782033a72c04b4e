"""What evaluate and finetune both show of a comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinembed.cli.console import Console

if TYPE_CHECKING:
    from pinembed.nouns.evaluation import Estimate
    from pinembed.nouns.slices import SliceChange
    from pinembed.nouns.verdict import Verdict

SHOWN_SLICES = 12


def show_slice_changes(console: Console, verdict: Verdict, *, challenger: str, champion: str) -> None:
    """A table of the slices that tell most: those that are worse, then the largest."""
    if not verdict.slices:
        return
    ranked = sorted(verdict.slices, key=lambda found: (not found.worse, -found.images))[:SHOWN_SLICES]
    rows = [_row(found) for found in verdict.slices if found in ranked]
    hidden = len(verdict.slices) - len(rows)
    title = f"Slices, mean mAP of {challenger} and {champion}"
    title += f" ({hidden} smaller ones only in --json)" if hidden else ""
    console.table(title, ["", "images", challenger, champion, "change", "95 %", ""], rows)


def interval(estimate: Estimate, sign: str) -> str:
    """Where there are signs, without the zero before the point, so that they take no column more."""
    low, high = (f"{end:{sign}.2f}" for end in (estimate.low, estimate.high))
    return f"{low.replace('0.', '.')}..{high.replace('0.', '.')}" if sign else f"{low}..{high}"


def _row(found: SliceChange) -> list[str]:
    note = "worse" if found.worse else "" if found.large else "small"
    figures = [f"{found.challenger:.3f}", f"{found.champion:.3f}", f"{found.difference.value:+.3f}"]
    return [found.name, f"{found.images:,}", *figures, interval(found.difference, "+"), note]

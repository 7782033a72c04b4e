"""`pinembed evaluate-chat`: how well a catalogue can be talked to."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pinembed.cli.console import Console
from pinembed.settings.assistant import EvaluateChatSettings

if TYPE_CHECKING:
    from pinembed.reports.assistant import Share


def run(settings: EvaluateChatSettings, console: Console) -> None:
    """Measure conversations: acts, references, conditions, citations, and "this, but in another colour"."""
    from pinembed.jobs.evaluate_chat import evaluate_chat

    report = evaluate_chat(settings, progress=console.progress)
    rows = [
        (label, *(_share(getattr(figures, name)) for figures in report.figures))
        for label, name in (
            ("act", "acts"),
            ("  held-out wordings", "acts_held_out"),
            ("act and arguments", "whole_acts"),
            ("  held-out wordings", "whole_acts_held_out"),
            ("items that were meant", "references"),
            ("  held-out wordings", "references_held_out"),
            ("lists of what was said", "conditions"),
            ("  held-out wordings", "conditions_held_out"),
            ("citations of shown items", "citations"),
        )
    ]
    seconds = (f"{figures.median_s * 1e3:.0f} / {figures.p95_s * 1e3:.0f}" for figures in report.figures)
    rows.append(("ms a turn, median / 95 %", *seconds))
    title = f"{report.conversations:,} conversations of {report.turns:,} turns over {report.table}"
    console.table(title, ["right", *(figures.planner for figures in report.figures)], rows)
    if report.composed:
        console.table(
            "This, but in another: mAP over the whole table",
            ["column", "queries", "by the column", "column hidden", "image alone"],
            [
                (one.column, f"{one.queries:,}", *map(_map, (one.map_column, one.map_hidden, one.map_image)))
                for one in report.composed
            ],
        )
    if report.answers:
        console.table(
            f"Answers about items to the letter, {report.answers[0].model.of:,} conversations",
            ["turn", "model", "asked alone", "states shuffled", "rules, from the table"],
            [(f"{one.turn}", *map(_share, (one.model, one.alone, one.shuffled, one.rules))) for one in report.answers],
        )
    if report.calls is not None and not report.calls.right:
        console.say(f"The model called no tool in {report.calls.of} turns, so the rules plan all of its acts.")
    if report.plot is not None:
        console.say(f"plot: {report.plot}")
    if report.scripts is not None:
        console.say(f"scripts: {report.scripts}")
    console.report(report)


def _share(share: Share) -> str:
    return f"{share.value:.1%} of {share.of:,}" if share.of else "none"


def _map(value: float) -> str:
    return "none" if math.isnan(value) else f"{value:.3f}"

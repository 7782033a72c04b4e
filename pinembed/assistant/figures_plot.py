"""A plot of what `evaluate-chat` measured: planners beside their controls, and answers turn by turn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pinembed.evaluation.plot import figure_class, save_plot
from pinembed.reports.assistant import AnswerFigures, ChatFigures, EvaluateChatReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHOWN = {
    "whole_acts": "act",
    "whole_acts_held_out": "act,\nheld out",
    "references": "items",
    "references_held_out": "items,\nheld out",
    "conditions": "lists",
    "conditions_held_out": "lists,\nheld out",
}
ANSWERS = {
    "model": "model",
    "alone": "the same, asked alone",
    "shuffled": "states shuffled",
    "rules": "rules, from the table",
}


def draw_figures(report: EvaluateChatReport, path: Path) -> None:
    """Write a PNG: shares of acts, items and lists that are right, and of answers in each turn.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OutputError: the file cannot be written.
    """
    panels = 2 if report.answers else 1
    figure = figure_class("The plot of conversations")(figsize=(7.5 * panels, 4.2), layout="constrained")
    all_axes = figure.subplots(1, panels, squeeze=False)[0]
    _draw_planners(all_axes[0], report.figures)
    if report.answers:
        _draw_answers(all_axes[1], report.answers)
    for axes in all_axes:
        axes.set(ylim=(0, 1.02), ylabel="share that is right")
        axes.grid(axis="y", color="0.9")
        axes.set_axisbelow(True)
        axes.legend(frameon=False, fontsize=8, loc="lower left", framealpha=0.8)
    save_plot(figure, path)


def _draw_planners(axes: Axes, figures: Sequence[ChatFigures]) -> None:
    width = 0.8 / len(figures)
    for place, one in enumerate(figures):
        lefts = [index + (place + 0.5) * width - 0.4 for index in range(len(SHOWN))]
        axes.bar(lefts, [getattr(one, name).value for name in SHOWN], width=width, label=one.planner)
    axes.set_xticks(range(len(SHOWN)), list(SHOWN.values()), fontsize=8)
    axes.set_title("Acts, the items that were meant, and lists of what was said")


def _draw_answers(axes: Axes, answers: Sequence[AnswerFigures]) -> None:
    width = 0.8 / len(ANSWERS)
    for place, (name, label) in enumerate(ANSWERS.items()):
        lefts = [index + (place + 0.5) * width - 0.4 for index in range(len(answers))]
        axes.bar(lefts, [getattr(one, name).value for one in answers], width=width, label=label)
    axes.set_xticks(range(len(answers)), [f"turn {one.turn}" for one in answers])
    axes.set_title(f"Answers about items, {answers[0].model.of:,} conversations")

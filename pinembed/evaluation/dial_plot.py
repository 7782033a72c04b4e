"""A plot of what --fresh gives and takes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pinembed.evaluation.plot import figure_class, save_plot
from pinembed.reports.taste import DialPoint


def draw_dial(points: Sequence[DialPoint], path: Path) -> None:
    """Write a PNG: recall over all, warm and cold items for each value of --fresh, with 95 % intervals.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OutputError: the file cannot be written.
    """
    figure = figure_class("The plot of --fresh")(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for name, label in (("recall", "all items"), ("warm", "five users or more"), ("cold", "no user")):
        shown = [(point.fresh, found) for point in points if (found := getattr(point, name)) is not None]
        if shown:
            fresh, estimates = zip(*shown, strict=True)
            lines = axes.plot(fresh, [found.value for found in estimates], "o-", label=label)
            low, high = [found.low for found in estimates], [found.high for found in estimates]
            axes.fill_between(fresh, low, high, alpha=0.15, color=lines[0].get_color())
    axes.set_xlabel("--fresh")
    axes.set_ylabel("recall, 95 % interval")
    axes.set_ylim(bottom=0)
    axes.grid(color="0.9")
    axes.legend(frameon=False)
    save_plot(figure, path)

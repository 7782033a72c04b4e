"""Plots: two encoders' differences by direction and slice, stored forms, and what --fresh gives and takes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pinembed.errors import MissingExtraError, UsageError
from pinembed.nouns.scores import Estimate, Verdict
from pinembed.outfolder import check_file, whole_file
from pinembed.reports.evaluate import StorageFormat
from pinembed.reports.taste import DialPoint

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


MOST_SLICES = 30
WORSE, BETTER, UNSURE = "tab:red", "tab:green", "0.45"


def check_plot(path: Path | None, *, has_something: bool) -> None:
    """Refuse a plot that could not be drawn at the end; None is none.

    Raises:
        UsageError: there is nothing to draw, or the place is none for a file.
        OutputError: nothing can be written there.
        MissingExtraError: matplotlib is not installed.
    """
    if path is None:
        return
    if not has_something:
        raise UsageError(
            "--plot shows differences between encoders, and there is only one.",
            remedy="Name another with --against, or ask for recall against bytes with --storage-formats.",
        )
    check_file(path, option="--plot")
    figure_class("The plot of a comparison")


def draw_comparisons(
    verdicts: Sequence[tuple[str, Verdict]], path: Path, *, forms: Sequence[StorageFormat] = ()
) -> None:
    """Write a PNG: a panel for each rival, with the difference in mAP of each direction and slice and its interval.

    Args:
        verdicts: name of the rival, and what was decided about it.
        path: the file.
        forms: stored forms, which get a panel of recall against bytes.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OutputError: the file cannot be written.
    """
    rows = max((len(_rows(verdict)) for _, verdict in verdicts), default=0)
    panels = len(verdicts) + bool(forms)
    figure = figure_class("The plot of a comparison")(
        figsize=(6.5 * panels + 1, max(1.6 + 0.28 * rows, 4.5)), layout="constrained"
    )
    all_axes = figure.subplots(1, panels, squeeze=False)[0]
    for axes, (name, verdict) in zip(all_axes, verdicts, strict=False):
        _draw(axes, name, verdict)
    if forms:
        _draw_forms(all_axes[-1], forms)
    save_plot(figure, path)


def _draw(axes: Axes, name: str, verdict: Verdict) -> None:
    rows = _rows(verdict)
    for index, (_, estimate, weight) in enumerate(rows):
        color = WORSE if estimate.high < 0 else BETTER if estimate.low > 0 else UNSURE
        axes.plot([estimate.low, estimate.high], [index, index], color=color, linewidth=1.2 * weight)
        axes.plot([estimate.value], [index], "o", color=color, markersize=3.5 * weight)
        axes.text(1.01, index, f"{estimate.value:+.3f}", transform=axes.get_yaxis_transform(), va="center", fontsize=7)
    axes.axvline(0, color="0.3", linewidth=0.8)
    axes.set_yticks(range(len(rows)), [label for label, _, _ in rows], fontsize=8)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(axis="x", color="0.9")
    decided = "promoted" if verdict.promoted else "not promoted"
    axes.set_title(f"against {_short(name)}: {decided}", fontsize=10, loc="left")
    axes.set_xlabel("change of mAP, 95 % interval; thin: a slice too small to decide", fontsize=8)


def _draw_forms(axes: Axes, forms: Sequence[StorageFormat]) -> None:
    indices = range(len(forms))
    for direction, marker in (("text_to_image", "o"), ("image_to_image", "s")):
        found = [(index, getattr(form, direction)) for index, form in enumerate(forms)]
        shown = [(index, scores.recall_at_10) for index, scores in found if scores is not None]
        for index, recall in shown:
            axes.plot([recall.low, recall.high], [index, index], color="0.75", linewidth=1)
        label = direction.replace("_", " ")
        axes.plot(
            [recall.value for _, recall in shown], [index for index, _ in shown], marker, markersize=5, label=label
        )
    marked = [f"{form.form}: {form.bytes_per_item:,} B{' *' if form.recommended else ''}" for form in forms]
    axes.set_yticks(indices, marked, fontsize=8)
    axes.set_ylim(len(forms) - 0.5, -0.5)
    axes.grid(axis="x", color="0.9")
    axes.legend(fontsize=8, loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False)
    axes.set_title("recall@10 against bytes of an image", fontsize=10, loc="left")
    axes.set_xlabel("recall@10, 95 % interval; *: smallest that loses at most .01 mAP", fontsize=8)


def _rows(verdict: Verdict) -> list[tuple[str, Estimate, float]]:
    """Label, difference, weight of the line."""
    whole = [("mean of directions", verdict.mean_map, 2.0)]
    directions = [(name.replace("_", " "), found, 1.5) for name, found in verdict.directions.items()]
    slices = [
        (f"{_short(found.name)} ({found.images:,})", found.difference, 1.2 if found.large else 0.6)
        for found in verdict.most_telling(MOST_SLICES)
    ]
    return [*whole, *directions, *slices]


def _short(name: str, limit: int = 40) -> str:
    return name if len(name) <= limit else f"...{name[-limit + 3 :]}"


def figure_class(feature: str) -> type[Figure]:
    """Matplotlib's Figure, without its windows.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError(feature, extra="report", package="matplotlib") from error
    return Figure


def save_plot(figure: Figure, path: Path) -> None:
    """Write the PNG of --plot.

    Raises:
        OutputError: the file cannot be written.
    """
    with whole_file(path, option="--plot") as file:
        figure.savefig(file, dpi=120, format="png")


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

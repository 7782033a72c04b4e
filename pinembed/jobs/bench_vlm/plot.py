"""The picture of a bench vlm report."""

from __future__ import annotations

from pathlib import Path

from pinembed.errors import MissingExtraError
from pinembed.nouns.bench_vlm_report import BenchVlmReport


def check_plot() -> None:
    """Fail before minutes of measuring.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("--plot", extra="report", package="matplotlib") from error


def draw(report: BenchVlmReport, path: Path) -> None:
    """Time to the first token over the number of images, both models, and what the full model spends it on."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    axes, share_axes = figure.subplots(1, 2, width_ratios=(2, 1))
    images = [comparison.full.images for comparison in report.comparisons]
    full = [comparison.full for comparison in report.comparisons]
    trimmed = [comparison.trimmed for comparison in report.comparisons]
    axes.plot(images, [cost.first_token_s for cost in full], marker="o", label="full: tower and prefill")
    axes.plot(images, [cost.prefill_s for cost in full], ":", label="full: prefill alone")
    axes.plot(images, [cost.first_token_s for cost in trimmed], marker="o", label="trimmed: stored embeddings")
    for comparison in report.comparisons:
        axes.annotate(
            f"{comparison.first_token_ratio:.0f} x",
            (comparison.trimmed.images, comparison.trimmed.first_token_s),
            textcoords="offset points",
            xytext=(0, 8),
            ha="center",
        )
    axes.set(
        title=f"{report.model}, {report.dtype} on {report.device}, {report.image_px} px images",
        xlabel="images in the prompt",
        ylabel="seconds to the first token",
        yscale="log",
    )
    axes.set_xscale("log", base=2)
    axes.set_xticks(images, [str(count) for count in images], minor=False)
    axes.legend(fontsize=8)
    places = range(len(images))
    share_axes.bar(places, [1 - cost.prefill_share for cost in full], label="tower")
    share_axes.bar(
        places, [cost.prefill_share for cost in full], bottom=[1 - cost.prefill_share for cost in full], label="prefill"
    )
    share_axes.set_xticks(places, [str(count) for count in images])
    share_axes.set(title="full model: share of the time", xlabel="images in the prompt", ylim=(0, 1))
    share_axes.legend(fontsize=8, loc="lower right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)

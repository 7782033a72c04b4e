"""Loss and validation figures of a run as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pinembed.errors import MissingExtraError
from pinembed.nouns.finetune_report import EpochRecord


def draw_curves(epochs: Sequence[EpochRecord], losses: Sequence[float], best_epoch: int, path: Path) -> None:
    """Write a PNG: the loss of each step, and mAP and recall of each epoch, the base included.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("The plot of a run", extra="report", package="matplotlib") from error
    figure = Figure(figsize=(10, 4), layout="constrained")
    loss_axes, score_axes = figure.subplots(1, 2)
    steps_per_epoch = len(losses) / max(len(epochs) - 1, 1)
    loss_axes.plot([(step + 1) / steps_per_epoch for step in range(len(losses))], losses, color="0.8", linewidth=1)
    means = [(record.epoch, record.loss) for record in epochs if record.loss is not None]
    loss_axes.plot([epoch for epoch, _ in means], [loss for _, loss in means], marker="o", color="tab:blue")
    loss_axes.set(title="Training loss", xlabel="epoch", ylabel="loss")
    for label, values in {
        "text to image mAP": [record.text_to_image_map for record in epochs],
        "image to text mAP": [record.image_to_text_map for record in epochs],
        "image to image mAP": [record.image_to_image_map for record in epochs],
        "text to image recall@1": [record.text_to_image_recall_at_1 for record in epochs],
    }.items():
        shown = [(record.epoch, value) for record, value in zip(epochs, values, strict=True) if value is not None]
        style = ":" if "recall" in label else "-"
        score_axes.plot(*zip(*shown, strict=True), style, marker="o", markersize=3, label=label) if shown else None
    score_axes.axvline(best_epoch, color="0.6", linestyle="--", linewidth=1, label=f"kept: epoch {best_epoch}")
    score_axes.set(title="Validation; epoch 0 is the base", xlabel="epoch", ylim=(0, 1))
    score_axes.legend(fontsize=8)
    for axes in (loss_axes, score_axes):
        axes.xaxis.get_major_locator().set_params(integer=True)
    figure.savefig(path, dpi=120)

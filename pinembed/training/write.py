"""The files of a finished run: weights, run.json, and the plots of training and gate."""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor

from pinembed.encoder.encoder import Encoder
from pinembed.encoder.locate import written_spec
from pinembed.encoder.save import copy_encoder, save_encoder
from pinembed.errors import EncoderError, MissingExtraError
from pinembed.evaluation.plot import draw_comparisons, figure_class
from pinembed.nouns.encoder_spec import EncoderSpec, Fusion
from pinembed.nouns.progress import Progress
from pinembed.outfolder import MARKER
from pinembed.reports.finetune import EpochRecord, FinetuneReport, GateReport
from pinembed.stored import plain
from pinembed.training.checkpoint import Course
from pinembed.training.recipe import Recipe
from pinembed.version import __version__


def draw_curves(epochs: Sequence[EpochRecord], losses: Sequence[float], best_epoch: int, path: Path) -> None:
    """Write a PNG: the loss of each step, and mAP and recall of each epoch, the base included.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure = figure_class("The plot of a run")(figsize=(10, 4), layout="constrained")
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


ORIGIN = "champion"
"""Subfolder for report and plots of the run that made the champion; those of the present run stand above it."""
REPORT_FILES = ("README.md", "run.json", "curves.png", "gate.png")


def keep_champion(folder: Path, champion: Encoder, out: Path) -> EncoderSpec:
    """Fill the output folder with the champion's files; its fingerprint, which tables carry, stays what it was."""
    copy_encoder(champion, folder, without=(MARKER, *REPORT_FILES))
    held = champion.files.folder
    reports = [held / name for name in REPORT_FILES if (held / name).is_file()] if held is not None else []
    if reports and not (folder / ORIGIN).is_dir():
        (folder / ORIGIN).mkdir()
        for report in reports:
            shutil.copyfile(report, folder / ORIGIN / report.name)
    return written_spec(folder, out)


RUN_NAME, CURVES_NAME, GATE_NAME = "run.json", "curves.png", "gate.png"


def write_encoder(
    folder: Path, encoder: Encoder, weights: dict[str, Tensor], fusion: Fusion | None, out: Path
) -> EncoderSpec:
    """Store weights in open_clip's local-dir layout, and what items are made of; returns their identity."""
    save_encoder(encoder, folder, weights=weights, fusion=fusion)
    return written_spec(folder, out)


def write_curves(folder: Path, course: Course, progress: Progress) -> bool:
    """Draw the plot where matplotlib is there; report where it is not."""
    try:
        draw_curves(course.records, course.losses, course.best_epoch, folder / CURVES_NAME)
    except MissingExtraError as error:
        progress.say(f"No {CURVES_NAME}: {error.message} {error.remedy}")
        return False
    return True


def write_gate_plot(folder: Path, gate: GateReport | None, progress: Progress) -> bool:
    """Draw the gate's comparison by direction and slice, where matplotlib is there and there was a gate."""
    if gate is None:
        return False
    rivals = [("the base", gate.verdict)]
    if gate.champion is not None:
        rivals.append((gate.champion.against.encoder, gate.champion.verdict))
    try:
        draw_comparisons(rivals, folder / GATE_NAME)
    except MissingExtraError as error:
        progress.say(f"No {GATE_NAME}: {error.message}")
        return False
    return True


def write_run(
    folder: Path, report: FinetuneReport, recipe: Recipe, spec: EncoderSpec, base: Encoder, losses: Sequence[float]
) -> None:
    """The report, all that made the weights, and the versions of the run, as run.json."""
    try:
        base_fingerprint = base.spec.fingerprint
    except EncoderError:  # random weights have no file
        base_fingerprint = None
    written = {
        **plain(report),
        "encoder": spec.to_json(),
        "base_fingerprint": base_fingerprint,
        "recipe": plain(recipe),
        "step_losses": [round(loss, 5) for loss in losses],
        "threads": torch.get_num_threads(),
        "versions": {
            "pinembed": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            **{name: version(name) for name in ("torchvision", "open_clip_torch", "timm")},
        },
    }
    (folder / RUN_NAME).write_text(json.dumps(written, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

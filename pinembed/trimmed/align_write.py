"""The projector that a run begins with, and the folder of model, report and plot that it ends with."""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import torch

from pinembed.errors import MissingExtraError
from pinembed.evaluation.plot import figure_class
from pinembed.nouns.progress import Progress
from pinembed.reports.trimmed import AlignReport
from pinembed.source.embedding_source import EmbeddingSource
from pinembed.trimmed.align_dataset import AlignDataset, Rows
from pinembed.trimmed.checkpoint import Checkpoint, read_checkpoint, write_index, write_json
from pinembed.trimmed.model import TrimmedModel
from pinembed.trimmed.projector import (
    RUN_NAME,
    Projector,
    adapted,
    fit_adapter,
    mean_cosine,
    new_projector,
    projector_sha256,
    save_projector,
)
from pinembed.trimmed.trim import carry_texts
from pinembed.trimmed.write_back import write_back
from pinembed.version import __version__

TOKENS = 4


def give_projector(trimmed: TrimmedModel, dataset: AlignDataset, *, tokens: int | None, seed: int) -> None:
    """Keep the model's projector where it fits encoder and K; put a new one with random weights in otherwise.

    Without `tokens`, K is that of the present projector, or 4.
    """
    present = trimmed.projector
    if (
        present is not None
        and present.config.encoder_fingerprint == dataset.fingerprint
        and tokens in (None, present.config.tokens)
    ):
        return
    trimmed.projector = new_projector(
        dim=dataset.train.embeddings_ND.shape[1],
        tokens=TOKENS if tokens is None else tokens,
        token_embeddings_VH=trimmed.token_embeddings_VH,
        encoder_fingerprint=dataset.fingerprint,
        seed=seed,
    ).to(trimmed.device)
    trimmed.projector.fit_input(dataset.train.embeddings_ND)


def adapt_projector(trimmed: TrimmedModel, dataset: AlignDataset, old_source: Path) -> float | None:
    """Put a linear map from the new embeddings to the old ones before the model's projector.

    Where the projector has a map already, the new one leads to what that makes of the old embeddings, and takes its
    place.

    Returns:
        Mean cosine between mapped and old embeddings of held-out items; None where the old source holds none of them.

    Raises:
        ModelError: no projector.
        EncoderMismatchError: the old source is not the one that the projector was trained on.
        DataError: the sources share too few training items.
        SourceError: the old source is damaged.
    """
    projector = trimmed.require_projector().cpu()
    old = EmbeddingSource.open(old_source)
    projector.check_source(old.spec.fingerprint, origin=str(old_source))
    adapter = fit_adapter(*_pairs(dataset.train, old, projector))
    trimmed.projector = adapted(projector, adapter, encoder_fingerprint=dataset.fingerprint).to(trimmed.device)
    new_ND, old_NE = _pairs(dataset.held_out, old, projector)
    return mean_cosine(adapter, new_ND, old_NE) if len(new_ND) else None


@torch.no_grad()
def _pairs(rows: Rows, old: EmbeddingSource, projector: Projector) -> tuple[torch.Tensor, torch.Tensor]:
    """New embeddings, and what the projector's first layer reads of the old ones, of items that both sources hold."""
    indices = [index for index, item in enumerate(rows.items) if item.id in old]
    old_NE = torch.from_numpy(old.get([rows.items[index].id for index in indices]).astype("float32"))
    return rows.embeddings_ND[indices], old_NE if projector.adapter is None else projector.adapter(old_NE)


CURVES_NAME = "curves.png"


def write_model(folder: Path, trimmed: TrimmedModel, model: Path, report: AlignReport, progress: Progress) -> None:
    """Fill an empty folder with all that `ask` needs, and with a report of the run."""
    carry_texts(model, folder)
    checkpoint = read_checkpoint(model)
    shutil.copyfile(model / "config.json", folder / "config.json")
    if report.settings.language_lr > 0:
        write_back(checkpoint, folder, trimmed.model)
    else:
        _link_weights(checkpoint, folder)
    save_projector(trimmed.require_projector(), folder)
    write_json(
        folder / RUN_NAME,
        {
            **asdict(report),
            "model": str(model),
            "projector_sha256": projector_sha256(folder),
            "versions": {
                "pinembed": __version__,
                "python": platform.python_version(),
                **{name: version(name) for name in ("torch", "transformers")},
            },
        },
    )
    draw_curves(folder / CURVES_NAME, report, progress)


def draw_curves(path: Path, report: AlignReport, progress: Progress) -> None:
    """Loss and accuracy over the epochs, and the held-out fields with the probe; without matplotlib, a message."""
    try:
        figure_of = figure_class("The plot of a run")
    except MissingExtraError as error:
        progress.say(f"No {path.name}: {error.message} {error.remedy}")
        return
    figure = figure_of(figsize=(10, 4), layout="constrained")
    loss_axes, score_axes = figure.subplots(1, 2)
    epochs = [record.epoch for record in report.epochs]
    loss_axes.plot(epochs, [record.loss for record in report.epochs], marker="o", markersize=3, label="training loss")
    watched = [(record.epoch, record.accuracy) for record in report.epochs if record.accuracy is not None]
    if watched:
        right_axes = loss_axes.twinx()
        right_axes.plot(*zip(*watched, strict=True), marker="o", markersize=3, color="tab:green")
        right_axes.set(ylim=(0, 1), ylabel="validation answers right (green)")
    loss_axes.set(title="Training", xlabel="epoch", ylabel="loss (blue)", ylim=(0, None))
    indices = range(len(report.fields))
    for shift, label, values in (
        (-0.27, "stored embedding", [score.accuracy for score in report.fields]),
        (0.0, "linear probe", [score.probe for score in report.fields]),
        (0.27, "rows shuffled", [score.shuffled for score in report.fields]),
    ):
        score_axes.bar([index + shift for index in indices], values, width=0.25, label=label)
    score_axes.set_xticks(list(indices), [score.field for score in report.fields])
    score_axes.set(title=f"{report.held_out}: {report.held_out_items} items never seen", ylim=(0, 1), ylabel="right")
    score_axes.legend(fontsize=8)
    figure.savefig(path, dpi=120)


def _link_weights(checkpoint: Checkpoint, folder: Path) -> None:
    """A frozen language model takes no second place on the disk where the file system has hard links."""
    for shard in checkpoint.shards:
        _link(shard.path, folder / shard.path.name)
    write_index(folder, checkpoint.shards)


def _link(file: Path, index: Path) -> None:
    try:
        os.link(file.resolve(), index)
    except OSError:
        shutil.copyfile(file, index)

"""The model card: README.md beside the weights, with data, figures, gate and the command."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

from pinembed.encoder.save import CARD_NAME, Licence, hub_repo
from pinembed.metrics.verdict import LARGE_IMAGES, LARGE_SHARE
from pinembed.nouns.scores import DIRECTIONS, ITEM_DIRECTIONS
from pinembed.reports.finetune import FinetuneReport, RunSettings
from pinembed.templates import template
from pinembed.training.gate import CHAMPION, TUNED
from pinembed.training.recipe import Recipe

SHOWN_SLICES = 20


def write_card(folder: Path, report: FinetuneReport, recipe: Recipe, licence: Licence) -> None:
    """Write README.md beside the weights, and the licence files of the encoder that it came from."""
    for path in licence.files:
        if not (folder / path.name).exists():
            shutil.copyfile(path, folder / path.name)
    settings = report.settings
    slices = report.gate.verdict.most_telling(SHOWN_SLICES) if report.gate else []
    shown = {"count": "{:,}".format, "figure": "{:.3f}".format, "signed": "{:+.3f}".format}
    card = template("pinembed.training", "card.md.jinja", **shown).render(
        report=report,
        licence=licence,
        repo=None if settings.random_init else hub_repo(settings.base),
        held=_held(report),
        slices=slices,
        hidden=len(report.gate.verdict.slices) - len(slices) if report.gate else 0,
        command=shlex.join(_command(settings, recipe)),
        DIRECTIONS=DIRECTIONS,
        ITEM_DIRECTIONS=ITEM_DIRECTIONS,
        LARGE_IMAGES=LARGE_IMAGES,
        LARGE_SHARE=LARGE_SHARE,
    )
    (folder / CARD_NAME).write_text(card, encoding="utf-8")


def _held(report: FinetuneReport) -> str:
    """Whose weights the folder holds."""
    if report.kept != TUNED:
        return "the champion's weights, unchanged" if report.kept == CHAMPION else "the base's weights, unchanged"
    trained = f"epoch {report.best_epoch}" if report.best_epoch else "the base with fitted projections"
    interpolation = f", {report.alpha:.0%} of the way from the base" if 0 < report.alpha < 1 else ""
    if report.second_images is not None:
        trained = f"the mean of {trained} and of a second training on all {_images(report.second_images)}"
    refit = f", its projections fitted once more, to all {_images(report.refit_images)}" if report.refit_images else ""
    return trained + interpolation + refit


def _images(count: int) -> str:
    return f"{count:,} images of training and validation"


def _command(settings: RunSettings, recipe: Recipe) -> list[str]:
    words = ["pinembed", "finetune", settings.data, "--base", settings.base]
    words += ["--random-init"] if settings.random_init else []
    words += ["--champion", settings.champion] if settings.champion else []
    is_template = len(settings.text) == 1 and "{" in settings.text[0]
    words += ["--template" if is_template else "--text", ",".join(settings.text)]
    words += ["--group", settings.group] if settings.group else []
    words += ["--epochs", str(settings.epochs), "--batch-size", str(settings.batch_size), "--lr", repr(settings.lr)]
    words += ["--loss", recipe.loss, "--precision", recipe.precision]
    words += ["--lora", str(recipe.lora)] if recipe.lora else []
    words += ["--matryoshka"] if recipe.matryoshka else []
    words += [] if recipe.heads or settings.random_init else ["--no-heads"]
    words += [] if settings.refit or settings.random_init else ["--no-refit"]
    words += ["--minutes", f"{settings.minutes:g}"] if settings.minutes is not None else []
    return [*words, "--seed", str(settings.seed), "--out", "DIR"]

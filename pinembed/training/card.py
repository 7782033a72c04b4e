"""The model card: README.md beside the weights, with data, figures, gate and the command."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

from pinembed.encoder.save import CARD_NAME, Licence, hub_repo
from pinembed.metrics.verdict import LARGE_IMAGES, LARGE_SHARE
from pinembed.nouns.scores import DIRECTIONS, ITEM_DIRECTIONS, FusionReport, ItemScores, Verdict
from pinembed.reports.finetune import EpochRecord, FinetuneReport, GateReport, RunSettings, SplitCounts
from pinembed.training.gate import CHAMPION, TUNED
from pinembed.training.recipe import Recipe


def fusion_lines(report: FusionReport | None) -> list[str]:
    """A section in Markdown; empty where no fusion was considered."""
    if report is None:
        return []
    if report.fusion is None:
        return ["", "## Items", "", report.reason]
    shown = report.test or report.val
    return [
        "",
        "## Items",
        "",
        f"An item's vector is the normalised mean of its image and of texts from its metadata: {report.fusion}. "
        "`pinembed encode` makes it; queries are bare texts and bare images, as open_clip embeds them. "
        f"Vectors of this encoder's images alone do not belong into the same table. {report.reason}",
        *(_items(shown, "test" if report.test else "val") if shown else []),
    ]


def _items(scores: ItemScores, split: str) -> list[str]:
    figures = (scores.image_only, scores.fused, scores.difference)
    return [
        "",
        f"mAP on the split {split}; no text queried an item that carried it.",
        "",
        *_changes(ITEM_DIRECTIONS, "image only", "fused", figures),
    ]


def _changes(names: Sequence[str], rival: str, own: str, figures: tuple[object, object, object]) -> list[str]:
    """A table of the mAP of each direction that has queries."""
    rows = []
    for name in names:
        before, after, change = (getattr(found, name) for found in figures)
        if before is not None:
            rows.append(
                f"| {name.replace('_', ' ')} | {before.queries:,} | {before.gallery:,} | {before.map.value:.3f} | "
                f"{after.map.value:.3f} ({after.map.low:.3f} to {after.map.high:.3f}) | "
                f"{change.map.low:+.3f} to {change.map.high:+.3f} |"
            )
    return [
        f"| | queries | gallery | {rival} | {own} (95 % interval) | change, 95 % interval |",
        "|---|---|---|---|---|---|",
        *rows,
    ]


SHOWN_SLICES = 20


def write_card(folder: Path, report: FinetuneReport, recipe: Recipe, licence: Licence) -> None:
    """Write README.md beside the weights, and the licence files of the encoder that it came from."""
    settings = report.settings
    for path in licence.files:
        if not (folder / path.name).exists():
            shutil.copyfile(path, folder / path.name)
    lines = [
        *_header(settings, licence),
        f"# Encoder {report.fingerprint}",
        "",
        *_what(report),
        *_data(report),
        "",
        "## Validation, mAP (it chose the weights, so these figures are optimistic)",
        "",
        *_validation(report.base, report.chosen),
        *(_gate(report.gate) if report.gate else []),
        *fusion_lines(report.fusion),
        *_training(report, recipe),
        *_licence(licence, random_init=settings.random_init),
        "",
    ]
    (folder / CARD_NAME).write_text("\n".join(lines), encoding="utf-8")


def _header(settings: RunSettings, licence: Licence) -> list[str]:
    """What Hugging Face reads of a card."""
    repo = None if settings.random_init else hub_repo(settings.base)
    return [
        "---",
        "library_name: open_clip",
        "pipeline_tag: zero-shot-image-classification",
        "tags: [clip, image-retrieval, pinembed]",
        *([f"license: {licence.name}"] if licence.name else []),
        *([f"base_model: {repo}"] if repo else []),
        "---",
    ]


def _what(report: FinetuneReport) -> list[str]:
    settings = report.settings
    origin = "random weights" if settings.random_init else f"`{settings.base}`"
    interpolation = f", {report.alpha:.0%} of the way from the base" if 0 < report.alpha < 1 else ""
    trained = f"epoch {report.best_epoch}" if report.best_epoch else "the base with fitted projections"
    held = f"{trained}{interpolation}"
    if report.refit_images is not None:
        held += f", its projections fitted once more, to all {report.refit_images:,} images of training and validation"
    if report.kept != TUNED:
        held = "the champion's weights, unchanged" if report.kept == CHAMPION else "the base's weights, unchanged"
    return [
        f"An open_clip model, started from {origin} and tuned by pinembed on {report.train_images:,} images with "
        f"{report.texts:,} texts. It holds {held}. {report.reason}",
        "",
        "```python",
        "import open_clip",
        "",
        'model, _, preprocess = open_clip.create_model_and_transforms("local-dir:THIS_FOLDER")',
        "```",
        "",
        "## Intended use",
        "",
        "Finding images by texts, texts by images and images by images in the catalogue below and in ones like it. "
        "What it does elsewhere was not measured; tuning may have made it worse there than its base. Not for telling "
        "who a person is, and not for decisions about people.",
    ]


def _data(report: FinetuneReport) -> list[str]:
    settings = report.settings
    return [
        "",
        "## Data",
        "",
        f"`{settings.data}`: text from {', '.join(settings.text)}; positives by "
        f"{'equal ' + settings.group if settings.group else 'equal item or equal text'}. "
        f"{report.train_images:,} images trained, {report.val_images:,} selected"
        + (f", {report.gate.images:,} judged." if report.gate else "."),
        "",
        "| split | images | groups | texts | images without text | with a text of others | broken |",
        "|---|---|---|---|---|---|---|",
        *map(_split_row, report.data.splits),
        *(
            f"\n{len(leak.file_names)} images of {leak.split} are also in {leak.also_in}: its figures are optimistic."
            for leak in report.data.leaks
        ),
    ]


def _split_row(found: SplitCounts) -> str:
    groups = "-" if found.groups is None else f"{found.groups:,}"
    counts = (found.texts, found.without_text, found.repeated, found.broken)
    return f"| {found.split} | {found.images:,} | {groups} | " + " | ".join(f"{count:,}" for count in counts) + " |"


def _validation(base: EpochRecord, chosen: EpochRecord) -> list[str]:
    rows = [
        (direction, getattr(base, f"{direction}_map"), getattr(chosen, f"{direction}_map")) for direction in DIRECTIONS
    ]
    return [
        "| | base | this encoder |",
        "|---|---|---|",
        *(f"| {name.replace('_', ' ')} | {a:.3f} | {b:.3f} |" for name, a, b in rows if a is not None),
    ]


def _gate(gate: GateReport) -> list[str]:
    heading = f"## Gate, mAP on {gate.images:,} images of the split {gate.split}, which neither trained nor selected"
    lines = ["", heading, "", *_changes(DIRECTIONS, "base", "tuned", (gate.base, gate.tuned, gate.difference))]
    if gate.champion is not None:
        comparison = gate.champion
        lines += ["", f"Compared with the champion `{comparison.against.encoder}`:", ""]
        figures = (comparison.against.scores, gate.tuned, comparison.difference)
        lines += _changes(DIRECTIONS, "champion", "tuned", figures)
    if gate.unflagged is not None:
        comparison = gate.unflagged
        lines += ["", "Compared with the same training on all images, those with confirmed flags too:", ""]
        figures = (comparison.against.scores, gate.tuned, comparison.difference)
        lines += _changes(DIRECTIONS, "on all", "tuned", figures)
    return lines + _slices(gate.verdict)


def _slices(verdict: Verdict) -> list[str]:
    if not verdict.slices:
        return []
    shown = sorted(verdict.slices, key=lambda found: (not found.worse, -found.images))[:SHOWN_SLICES]
    hidden = len(verdict.slices) - len(shown)
    return [
        "",
        f"Slices, mean mAP over the directions{f' ({hidden} smaller ones in run.json)' if hidden else ''}; those with "
        f"fewer than {LARGE_IMAGES} images or {LARGE_SHARE:.0%} of the split do not decide:",
        "",
        "| slice | images | base | tuned | change, 95 % interval |",
        "|---|---|---|---|---|",
        *(
            f"| {found.name.replace('|', '/')} | {found.images:,} | {found.champion:.3f} | {found.challenger:.3f} | "
            f"{found.difference.low:+.3f} to {found.difference.high:+.3f}{', worse' if found.worse else ''} |"
            for found in verdict.slices
            if found in shown
        ),
    ]


def _training(report: FinetuneReport, recipe: Recipe) -> list[str]:
    settings = report.settings
    return [
        "",
        "## Training",
        "",
        f"{settings.epochs} epochs of batches of {settings.batch_size}, peak rate {settings.lr:.1e}, seed "
        f"{settings.seed}; {report.seconds:,.0f} s on {settings.device}. `run.json` has every setting and figure.",
        "",
        "```",
        shlex.join(_command(settings, recipe)),
        "```",
    ]


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
    words += [] if recipe.refits or not recipe.heads or recipe.matryoshka else ["--no-refit"]
    words += ["--minutes", f"{settings.minutes:g}"] if settings.minutes is not None else []
    return [*words, "--seed", str(settings.seed), "--out", "DIR"]


def _licence(licence: Licence, *, random_init: bool) -> list[str]:
    if random_init:
        text = "The weights come from this data alone; its owner decides."
    elif licence.name:
        text = f"{licence.name}, that of the base as {licence.source} states it; the data's terms apply as well."
    elif licence.files:
        text = f"That of the base, in its file {licence.files[0].name}; the data's terms apply as well."
    else:
        text = "That of the base, whose folder does not state it here; look it up where the base came from."
    return ["", "## Licence", "", text]

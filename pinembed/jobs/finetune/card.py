"""The model card: what the encoder in a folder is, in words and measured figures."""

from __future__ import annotations

from pathlib import Path

from pinembed.jobs.finetune.fusion_card import fusion_lines
from pinembed.nouns.evaluation import DIRECTIONS
from pinembed.nouns.finetune_report import EpochRecord, FinetuneReport, GateReport

CARD_NAME = "README.md"
LICENCE_NAMES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE")


def write_card(folder: Path, report: FinetuneReport, base_folder: Path | None) -> None:
    """Write README.md beside the weights."""
    settings = report.settings
    origin = "random weights" if settings.random_init else f"`{settings.base}`"
    blend = f", {report.alpha:.0%} of the way from the base" if 0 < report.alpha < 1 else ""
    held = f"epoch {report.best_epoch}{blend}" if report.promoted else "the base's weights, unchanged"
    lines = [
        f"# Encoder {report.fingerprint}",
        "",
        f"An open_clip model, started from {origin} and tuned by pinembed on {report.train_images:,} images with "
        f"{report.texts:,} texts. It holds {held}. {report.reason}",
        "",
        "```python",
        "import open_clip",
        'model, _, preprocess = open_clip.create_model_and_transforms("local-dir:THIS_FOLDER")',
        "```",
        "",
        "## Data",
        "",
        f"- {settings.data}: text from {', '.join(settings.text)}; right answers by "
        f"{'equal ' + settings.group if settings.group else 'equal item or equal text'}.",
        f"- {report.train_images:,} images trained, {report.val_images:,} selected"
        + (f", {report.gate.images:,} judged." if report.gate else "."),
        f"- {len(report.broken)} images could not be decoded and took no part.",
        *(f"- {len(leak.file_names)} images of {leak.split} are also in {leak.also_in}." for leak in report.data.leaks),
        "",
        "## Validation, mAP (it chose the weights, so these figures are kind)",
        "",
        *_validation(report.base, report.chosen),
        *(_gate(report.gate) if report.gate else []),
        *fusion_lines(report.fusion),
        "",
        "## Training",
        "",
        f"{settings.epochs} epochs of batches of {settings.batch_size}, peak rate {settings.lr:.1e}, seed "
        f"{settings.seed}; {report.seconds:,.0f} s on {settings.device}. `run.json` has every setting and figure.",
        "",
        "## Licence",
        "",
        _licence(base_folder, random_init=settings.random_init),
        "",
    ]
    (folder / CARD_NAME).write_text("\n".join(lines), encoding="utf-8")


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
    rows = []
    for direction in DIRECTIONS:
        before, after = getattr(gate.base, direction), getattr(gate.tuned, direction)
        if before is not None:
            change = getattr(gate.difference, direction).map
            rows.append(
                f"| {direction.replace('_', ' ')} | {before.queries:,} | {before.gallery:,} | {before.map.value:.3f} | "
                f"{after.map.value:.3f} | {change.low:+.3f} to {change.high:+.3f} |"
            )
    heading = f"## Gate, mAP on {gate.images:,} images of the split {gate.split}, which neither trained nor selected"
    return [
        "",
        heading,
        "",
        "| | queries | gallery | base | tuned | change, 95 % interval |",
        "|---|---|---|---|---|---|",
        *rows,
    ]


def _licence(base_folder: Path | None, *, random_init: bool) -> str:
    if random_init:
        return "The weights come from this data alone; its owner decides."
    found = base_folder and next((name for name in LICENCE_NAMES if (base_folder / name).is_file()), None)
    if found:
        return f"That of the base, in its file {found}; the data's terms apply as well."
    return "That of the base, whose folder does not state it here; look it up where the base came from."

"""`pinembed evaluate`: how well an encoder finds the right items, alone or beside others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinembed.cli.console import Console
from pinembed.cli.tables import (
    SHOWN_SLICES,
    figure,
    interval,
    say_terms,
    show_item_comparison,
    show_items,
    show_slice_changes,
)
from pinembed.errors import GateError
from pinembed.settings.training import EvaluateSettings

if TYPE_CHECKING:
    from pinembed.nouns.scores import Accuracy, Estimate, RetrievalScores, Scores, SliceScores
    from pinembed.reports.evaluate import EvaluateReport, StorageFormat

HEADINGS = {"text_to_image": "text > image", "image_to_text": "image > text", "image_to_image": "image > image"}
CLASS_HEADINGS = {"knn5": "5-NN", "label_zero_shot": "zero-shot"}
NAMES = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def run(settings: EvaluateSettings, console: Console) -> None:
    """Measure text-to-image, image-to-text and image-to-image retrieval of an encoder on a split of DATA.

    With --against the exit code is 4 where another encoder should keep its place.
    """
    from pinembed.jobs.evaluate import evaluate

    report = evaluate(settings, progress=console.progress)
    _show(console, report)
    console.end(report, GateError.exit_code if report.comparisons and not report.promoted else 0)


def _show(console: Console, report: EvaluateReport) -> None:
    group = f"group {report.group}" if report.group else "no group: equal item or equal text is right"
    console.say(f"{report.data}, split {report.split}: {report.images} images, {report.texts} texts, {group}")
    if report.broken:
        console.say(f"{len(report.broken)} image(s) could not be decoded and take no part: {report.broken[0]} ...")
    if report.comparisons:
        compared = (report.encoder, *(found.against for found in report.comparisons))
        console.say("\n".join(f"{name} = {found.encoder}" for name, found in zip(NAMES, compared, strict=False)))
    named = _named_scores(report)
    for direction, heading in HEADINGS.items():
        found: RetrievalScores | None = getattr(report.encoder.scores, direction)
        if found is None:
            console.say(f"{heading}: no query has a positive; give --group")
        else:
            console.say(f"{heading}: {found.queries:,} queries, each against a gallery of {found.gallery:,}")
    retrieval = [row for direction in HEADINGS for row in _retrieval_rows(direction, named)]
    columns = ["", "", "R@1", "R@5", "R@10", "MRR", "mAP", "95 %"]
    console.table("Retrieval", columns, retrieval, numeric_from=2)
    classes = [row for field in CLASS_HEADINGS for row in _class_rows(field, named)]
    if classes:
        console.table("Groups as classes", ["", "", "queries", "gallery", "accuracy", "95 %"], classes, numeric_from=2)
    _show_slices(console, report)
    _show_items(console, report)
    if report.storage_formats:
        _show_forms(console, report)
    for name, comparison in zip(NAMES[1:], report.comparisons, strict=False):
        verdict = comparison.verdict
        console.say((f"A is better than {name}. " if verdict.promoted else f"{name} stays. ") + verdict.reason)
    if report.plot is not None:
        console.say(f"{report.plot}: the plot")


def _show_items(console: Console, report: EvaluateReport) -> None:
    if report.fused_items is not None:
        show_items(console, "Items of image and metadata, as encode stores them", report.fused_items)
        say_terms(console, report.fused_items)
    for name, comparison in zip(NAMES[1:], report.comparisons, strict=False):
        if comparison.items is not None:
            show_item_comparison(console, name, comparison.items)


def _named_scores(report: EvaluateReport) -> list[tuple[str, Scores, str]]:
    """Name of the row, figures, sign format."""
    if not report.comparisons:
        return [("", report.encoder.scores, "")]
    rivals = list(zip(NAMES[1:], report.comparisons, strict=False))
    return [
        ("A", report.encoder.scores, ""),
        *((name, found.against.scores, "") for name, found in rivals),
        *((f"A-{name}", found.difference, "+") for name, found in rivals),
    ]


def _retrieval_rows(direction: str, named: list[tuple[str, Scores, str]]) -> list[list[str]]:
    rows = []
    for index, (name, scores, sign) in enumerate(named):
        found: RetrievalScores | None = getattr(scores, direction)
        if found is not None:
            figures = [f"{estimate.value:{sign}.3f}" for estimate in found.estimates]
            heading = HEADINGS[direction] if index == 0 else ""
            rows.append([heading, name, *figures, interval(found.map, sign)])
    return rows


def _class_rows(field: str, named: list[tuple[str, Scores, str]]) -> list[list[str]]:
    rows = []
    for index, (name, scores, sign) in enumerate(named):
        found: Accuracy | None = getattr(scores, field)
        if found is not None:
            gallery = f"{found.gallery:,} {found.gallery_split + ' images' if found.gallery_split else 'names'}"
            share = f"{found.accuracy.value:{sign}.3f}"
            heading = CLASS_HEADINGS[field] if index == 0 else ""
            rows.append([heading, name, f"{found.queries:,}", gallery, share, interval(found.accuracy, sign)])
    return rows


def _show_slices(console: Console, report: EvaluateReport) -> None:
    for name, comparison in zip(NAMES[1:], report.comparisons, strict=False):
        show_slice_changes(console, comparison.verdict, challenger="A", champion=name)
    if report.slices and not report.comparisons:
        shown = sorted(report.slices, key=lambda found: -found.images)[:SHOWN_SLICES]
        rows = [_slice_row(found) for found in report.slices if found in shown]
        hidden = len(report.slices) - len(rows)
        title = "Slices, mAP" + (f" ({hidden} smaller ones only in --json)" if hidden else "")
        console.table(title, ["", "images", *HEADINGS.values()], rows)


def _slice_row(found: SliceScores) -> list[str]:
    figures: list[Estimate | None] = [getattr(found, direction) for direction in HEADINGS]
    return [found.name, f"{found.images:,}", *map(figure, figures)]


def _show_forms(console: Console, report: EvaluateReport) -> None:
    console.table(
        "Stored forms of the image embeddings",
        ["", "bytes", "all items", "text R@10", "mAP", "image R@10", "mAP", "lost at most"],
        [_form_row(form) for form in report.storage_formats],
    )
    (best,) = [form for form in report.storage_formats if form.recommended][:1]
    console.say(
        f"* {best.form} is the smallest that encode stores and that loses at most .01 mAP with 95 % confidence: "
        f"{best.bytes_per_item:,} bytes an image, {_size(best.table_bytes)} for the catalogue. Get it with: "
        f"pinembed encode ... {best.encode_options}"
    )


def _form_row(form: StorageFormat) -> list[str]:
    figures = [
        figure(estimate)
        for scores in (form.text_to_image, form.image_to_image)
        for estimate in ((scores.recall_at_10, scores.map) if scores else (None, None))
    ]
    name = form.form.replace("first ", "") + (" *" if form.recommended else "")
    return [name, f"{form.bytes_per_item:,}", _size(form.table_bytes), *figures, f"{form.largest_loss:.3f}"]


def _size(size_bytes: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if size_bytes >= size:
            return f"{size_bytes / size:.1f} {unit}"
    return f"{size_bytes / 1e3:.0f} kB"

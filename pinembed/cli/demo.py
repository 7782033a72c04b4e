"""`pinembed demo`: the whole way once, in a few minutes, with nothing but the sample shop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinembed.cli.console import Console
from pinembed.settings.measuring import DemoSettings

if TYPE_CHECKING:
    from pinembed.nouns.scores import Scores
    from pinembed.reports.demo import DemoReport


def run(settings: DemoSettings, console: Console) -> None:
    """Show the whole way on the sample shop: fine-tune, encode, search, export, trim, align, ask, refresh."""
    from pinembed.jobs.demo import demo

    report = demo(settings, progress=console.progress, stop=console.stop)
    _show(console, report)
    console.report(report)


def _show(console: Console, report: DemoReport) -> None:
    evaluation = report.evaluation
    base = evaluation.comparisons[0].against.scores if evaluation.comparisons else None
    rows = [
        [title, _figure(base, direction, figure), _figure(evaluation.encoder.scores, direction, figure)]
        for title, direction, figure in (
            ("text > image mAP", "text_to_image", "map"),
            ("image > text mAP", "image_to_text", "map"),
            ("image > image mAP", "image_to_image", "map"),
            ("text > image recall@5", "text_to_image", "recall_at_5"),
        )
    ]
    console.say()
    console.table(
        f"Unseen products: {evaluation.images} images, {evaluation.texts} texts", ["", "base", "fine-tuned"], rows
    )
    console.table(
        "Questions to the trimmed model about unseen items",
        ["field", "right", "linear probe", "rows shuffled"],
        [[s.field, f"{s.accuracy:.0%}", f"{s.probe:.0%}", f"{s.shuffled:.0%}"] for s in report.fields],
    )
    console.table(
        f"Took {report.seconds:.0f} s",
        ["s", "step", "where"],
        [[f"{step.seconds:.1f}", step.name, str(step.path or "")] for step in report.steps],
        numeric_from=3,
    )
    console.say("The same on your own folder, with an encoder that already knows images:")
    console.say("  pinembed finetune YOUR_FOLDER --base ViT-B-32/PRETRAINED_OR_A_FOLDER --out encoder")
    console.say("  pinembed encode YOUR_FOLDER --table catalog/items --encoder encoder")


def _figure(scores: Scores | None, direction: str, figure: str) -> str:
    found = getattr(scores, direction, None)
    return "none" if found is None else f"{getattr(found, figure).value:.3f}"

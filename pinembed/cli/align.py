"""`pinembed align`: teach a trimmed model to read the embeddings of a source."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pinembed.cli.console import Console
from pinembed.settings.model import AlignSettings

if TYPE_CHECKING:
    from pinembed.reports.trimmed import AlignReport


def run(settings: AlignSettings, console: Console) -> None:
    """Train the projector from a source and metadata alone, and judge the answers on items it never saw."""
    from pinembed.jobs.align import align

    report = align(settings, progress=console.progress, stop=console.stop)
    _show(console, report, settings.source)
    console.report(report)


def _show(console: Console, report: AlignReport, source: Path) -> None:
    if report.missing:
        console.say(f"{report.missing} item(s) of the metadata are not in the source and took no part.")
    console.table(
        f"Answers that are exactly right, {report.held_out_items} {report.held_out} items never seen",
        ["field", "items", "right", "linear probe", "shuffled", "most frequent"],
        [
            [s.field, f"{s.items:,}", *(f"{share:.1%}" for share in (s.accuracy, s.probe, s.shuffled, s.majority))]
            for s in report.fields
        ],
    )
    tokens = ", ".join(f"{score.accuracy:.1%} with {score.tokens}" for score in report.by_tokens)
    console.say(
        f"Soft tokens an item: {tokens}; comparisons of two items right to the letter: {report.comparisons:.1%}"
    )
    turns = ", ".join(f"{score.right:.1%} in turn {score.turn} ({score.alone:.1%} alone)" for score in report.turns)
    if turns:
        console.say(f"Answers in conversations, in wordings not trained on: {turns}")
    if report.calls is not None:
        console.say(
            f"Wishes that became the right call of chat's tools: {report.calls.right:.1%} of {report.calls.turns}, in "
            "wordings not trained on"
        )
    if report.customers is not None:
        told = report.customers
        console.say(
            f"Would this customer keep this item? {told.accuracy:.1%} right on {told.choices:,} choices after "
            f"{told.at} and as many items that were not chosen; linear probe {told.probe:.1%}, users exchanged "
            f"{told.exchanged:.1%}"
        )
    if report.own_dialogues is not None:
        console.say(f"Your own dialogues about held-out items right: {report.own_dialogues:.1%}")
    if report.adapter_cosine is not None:
        console.say(f"The map between the encoders: mean cosine {report.adapter_cosine:.3f} on held-out items.")
    console.say(
        f"{report.out}: {report.trained_parameters:,} parameters trained in {report.seconds:.0f} s, "
        f"epoch {report.kept_epoch} kept\n"
        f'Next: pinembed ask "..." --model {report.out} --source {source} --item ID'
    )

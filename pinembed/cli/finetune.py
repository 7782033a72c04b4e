"""`pinembed finetune`: a base encoder and a catalogue to an encoder that knows the catalogue."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pinembed.cli.console import Console
from pinembed.cli.tables import figure, map_rows, show_fusion, show_slice_changes
from pinembed.errors import GateError
from pinembed.nouns.scores import DIRECTIONS
from pinembed.settings.training import FinetuneSettings

if TYPE_CHECKING:
    from pinembed.nouns.scores import Comparison, Scores
    from pinembed.reports.finetune import FinetuneReport, GateReport

KEPT = {"tuned": "Tuned", "base": "The base stays", "champion": "The champion stays"}


def run(settings: FinetuneSettings, console: Console) -> None:
    """Tune an encoder on the images and texts of DATA, or get the base back where tuning does not help.

    The val split chooses the weights, the test split is the gate. The exit code is 4 where the base, or the champion,
    stays. A run that was interrupted goes on when the same command is given again.
    """
    from pinembed.jobs.finetune import finetune

    if os.environ.get("RANK", "0") != "0":  # of several processes that train together the first one tells
        console = Console(quiet=True)
    report = finetune(settings, progress=console.progress)
    _show(console, report)
    console.end(report, 0 if report.promoted else GateError.exit_code)


def _show(console: Console, report: FinetuneReport) -> None:
    if report.broken:
        console.say(f"{len(report.broken)} image(s) could not be decoded and took no part: {report.broken[0]} ...")
    chosen = report.chosen
    name = f"epoch {report.best_epoch}" if report.best_epoch or not report.alpha else "heads"
    name += f", blend {report.alpha:.1f}" if 0 < report.alpha < 1 else ""
    measured = [("base", report.base), *([("heads", report.heads)] if report.heads else []), (name, chosen)]
    rows = [
        ["text > image mAP", *(figure(record.text_to_image_map) for _, record in measured)],
        ["image > text mAP", *(figure(record.image_to_text_map) for _, record in measured)],
        ["image > image mAP", *(figure(record.image_to_image_map) for _, record in measured)],
    ]
    console.table(f"Validation split, {report.val_images} images", ["", *(heading for heading, _ in measured)], rows)
    if report.gate is not None:
        _show_gate(console, report.gate)
    if report.fusion is not None:
        show_fusion(console, report.fusion)
    console.say(f"{KEPT[report.kept]}: {report.reason.removeprefix(f'{KEPT[report.kept]}: ')}")
    console.say(
        f"{report.out}: fingerprint {report.fingerprint}; {report.images_per_s:.0f} training images/s, "
        f"{report.seconds:.0f} s in all"
    )
    if report.curves is not None:
        console.say(f"{report.curves}: loss and validation figures")
    if report.gate_plot is not None:
        console.say(f"{report.gate_plot}: what the gate saw, by direction and slice")


def _show_gate(console: Console, gate: GateReport) -> None:
    title = f"Gate: split {gate.split}, {gate.images:,} images that took no part"
    rows = map_rows(DIRECTIONS, gate.base, gate.tuned, gate.difference)
    console.table(title, ["", "queries", "base", "tuned", "change, 95 %"], rows)
    show_slice_changes(console, gate.verdict, challenger="tuned", champion="base")
    if gate.champion is not None:
        _show_beside(console, gate.champion, gate.tuned, f"the champion {gate.champion.against.encoder}", "champion")
    if gate.unflagged is not None:
        _show_beside(console, gate.unflagged, gate.tuned, "the same training on all images, flagged ones too", "on all")


def _show_beside(console: Console, beside: Comparison, tuned: Scores, what: str, name: str) -> None:
    compared = map_rows(DIRECTIONS, beside.against.scores, tuned, beside.difference)
    rows = [[heading, *figures] for heading, _, *figures in compared]
    console.table(f"Gate: beside {what}", ["", name, "tuned", "change, 95 %"], rows)
    show_slice_changes(console, beside.verdict, challenger="tuned", champion=name)

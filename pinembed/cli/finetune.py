"""`pinembed finetune`: a base encoder and a catalogue to an encoder that knows the catalogue."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pinembed.cli.console import Console, stop_on_signals
from pinembed.cli.options import (
    DataArgument,
    Device,
    GroupOption,
    Json,
    Out,
    Overwrite,
    Quiet,
    SliceOption,
    TemplateOption,
    TextOption,
    columns,
)
from pinembed.cli.tables import show_fusion, show_slice_changes
from pinembed.errors import GateError
from pinembed.nouns.scores import DIRECTIONS

if TYPE_CHECKING:
    from pinembed.nouns.scores import Comparison, Scores
    from pinembed.reports.finetune import FinetuneReport, GateReport

Loss = Literal["auto", "clip", "siglip"]
Precision = Literal["auto", "fp32", "bf16"]
KEPT = {"tuned": "Tuned", "base": "The base stays", "champion": "The champion stays"}


def command(
    folder: DataArgument,
    base: Annotated[
        str,
        typer.Option(
            "--base",
            help="Encoder to start from: a folder, NAME/PRETRAINED, hf-hub:OWNER/REPO, or an architecture with "
            "--random-init.",
            show_default=False,
        ),
    ],
    out: Out,
    random_init: Annotated[
        bool, typer.Option("--random-init", help="Start from seeded random weights of a bare architecture.")
    ] = False,
    text: TextOption = None,
    template: TemplateOption = None,
    group: GroupOption = None,
    champion: Annotated[
        str | None,
        typer.Option(
            "--champion",
            help="The encoder in use: it has to be beaten at the gate as well as the base, and comes back where it is "
            "not.",
            show_default=False,
        ),
    ] = None,
    slices: SliceOption = None,
    fusion: Annotated[
        str,
        typer.Option(
            "--fusion",
            help="Metadata in an item's vector: auto where that finds items better for certain, off, or weights such "
            "as image=.9,title=.1.",
        ),
    ] = "auto",
    epochs: Annotated[
        int | None,
        typer.Option("--epochs", min=1, help="Passes over the training split; by default as its size wants."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of everything random.")] = 0,
    minutes: Annotated[
        float | None, typer.Option("--minutes", min=0, help="Time for training; the epochs are cut to it.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", min=2, help="Images of a training step; by default up to 64.")
    ] = None,
    lr: Annotated[
        float | None,
        typer.Option("--lr", min=0, help="Peak learning rate of the last layer; by default from the tower's size."),
    ] = None,
    loss: Annotated[
        Loss,
        typer.Option(
            "--loss",
            help="Between images and texts: clip compares within a batch, siglip judges each pair; auto takes the one "
            "that the base was trained with.",
        ),
    ] = "auto",
    lora: Annotated[
        int | None,
        typer.Option(
            "--lora",
            min=1,
            metavar="RANK",
            help="Learn updates of this rank in place of the weights; they are merged when the encoder is written.",
            show_default=False,
        ),
    ] = None,
    matryoshka: Annotated[
        bool,
        typer.Option(
            "--matryoshka", help="Train halves, quarters ... of the embedding too, so that tables can cut it."
        ),
    ] = False,
    heads: Annotated[
        bool, typer.Option("--heads/--no-heads", help="Fit the last layers of both towers before the rest.")
    ] = True,
    l2sp: Annotated[
        float,
        typer.Option("--l2sp", min=0, help="Pull of the run towards the weights at its start; 1 is strong, 0 none."),
    ] = 0.0,
    precision: Annotated[
        Precision,
        typer.Option("--precision", help="Of the towers in training; auto takes bf16 where it is native and faster."),
    ] = "auto",
    overwrite: Overwrite = False,
    device: Device = "auto",
    json_output: Json = False,
    quiet: Quiet = False,
) -> None:
    """Tune an encoder on the images and texts of DATA, or get the base back where tuning does not help.

    The val split chooses the weights, the test split is the gate. The exit code is 4 where the base, or the champion,
    stays. A run that was interrupted goes on when the same command is given again.
    """
    from pinembed.jobs.finetune import finetune

    stop_on_signals()
    is_first = os.environ.get("RANK", "0") == "0"  # of several processes that train together
    console = Console(json_output=json_output and is_first, quiet=quiet or not is_first)
    report = finetune(
        data=folder,
        base=base,
        out=out,
        random_init=random_init,
        text=columns(text),
        template=template,
        group=group,
        champion=champion,
        slices=slices or (),
        fusion=fusion,
        epochs=epochs,
        seed=seed,
        minutes=minutes,
        batch_size=batch_size,
        lr=lr,
        loss=loss,
        lora=lora,
        matryoshka=matryoshka,
        heads=heads,
        l2sp=l2sp,
        precision=precision,
        overwrite=overwrite,
        device=device,
        progress=console.progress,
    )
    if is_first:
        _show(console, report)
        console.report(report)
    if not report.promoted:
        raise typer.Exit(GateError.exit_code)


def _show(console: Console, report: FinetuneReport) -> None:
    if report.broken:
        console.say(f"{len(report.broken)} image(s) could not be decoded and took no part: {report.broken[0]} ...")
    chosen = report.chosen
    name = f"epoch {report.best_epoch}" if report.best_epoch or not report.alpha else "heads"
    name += f", blend {report.alpha:.1f}" if 0 < report.alpha < 1 else ""
    measured = [("base", report.base), *([("heads", report.heads)] if report.heads else []), (name, chosen)]
    rows = [
        ["text > image mAP", *(_figure(record.text_to_image_map) for _, record in measured)],
        ["image > text mAP", *(_figure(record.image_to_text_map) for _, record in measured)],
        ["image > image mAP", *(_figure(record.image_to_image_map) for _, record in measured)],
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
    rows = []
    for direction in DIRECTIONS:
        before, after = getattr(gate.base, direction), getattr(gate.tuned, direction)
        if before is not None:
            heading = direction.replace("_to_", " > ") + " mAP"
            queries = f"{before.queries:,} of {before.gallery:,}"
            change = getattr(gate.difference, direction).map
            interval = f"{change.low:+.3f} to {change.high:+.3f}"
            rows.append([heading, queries, _figure(before.map.value), _figure(after.map.value), interval])
    console.table(title, ["", "queries", "base", "tuned", "change, 95 %"], rows)
    show_slice_changes(console, gate.verdict, challenger="tuned", champion="base")
    if gate.champion is not None:
        _show_champion(console, gate.champion, gate.tuned)


def _show_champion(console: Console, beside: Comparison, tuned: Scores) -> None:
    rows = []
    for direction in DIRECTIONS:
        before, after = getattr(beside.against.scores, direction), getattr(tuned, direction)
        if before is not None:
            heading = direction.replace("_to_", " > ") + " mAP"
            change = getattr(beside.difference, direction).map
            interval = f"{change.low:+.3f} to {change.high:+.3f}"
            rows.append([heading, _figure(before.map.value), _figure(after.map.value), interval])
    columns = ["", "champion", "tuned", "change, 95 %"]
    console.table(f"Gate: beside the champion {beside.against.encoder}", columns, rows)
    show_slice_changes(console, beside.verdict, challenger="tuned", champion="champion")


def _figure(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"

"""`pinembed align`: teach a trimmed model to read the embeddings of a source."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pinembed.cli.console import Console, stop_on_signals
from pinembed.cli.options import DataArgument, Device, GroupOption, Json, Out, Overwrite, Quiet, columns

if TYPE_CHECKING:
    from pinembed.reports.align import AlignReport


def command(
    folder: DataArgument,
    model: Annotated[
        Path, typer.Option("--model", help="Folder that `pinembed trim` or `align` wrote.", show_default=False)
    ],
    source: Annotated[
        Path, typer.Option("--source", help="Embedding source that `pinembed export` wrote.", show_default=False)
    ],
    out: Out,
    fields: Annotated[
        str | None,
        typer.Option(
            "--fields",
            help="Metadata columns to ask about, separated by commas; default: those of short values that repeat.",
            show_default=False,
        ),
    ] = None,
    dialogues: Annotated[
        Path | None,
        typer.Option(
            "--dialogues",
            help='Questions of your own to train on as well: {"items", "question", "answer"} a line; those about '
            "held-out items judge.",
            show_default=False,
        ),
    ] = None,
    group: GroupOption = None,
    old_source: Annotated[
        Path | None,
        typer.Option(
            "--old-source",
            help="Source that the model's projector was trained on: fit a linear map from --source to it, and train "
            "only if --epochs asks for it.",
            show_default=False,
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option("--epochs", min=1, help="Passes over the training items; by default as their number wants."),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option("--minutes", min=0, help="Limit of the training; the rate falls to its end in it.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of everything random.")] = 0,
    tokens: Annotated[
        int | None, typer.Option("--tokens", min=1, help="Soft tokens an item.", show_default="4, or the model's")
    ] = None,
    train_language_model: Annotated[
        bool | None,
        typer.Option(
            "--train-language-model/--freeze-language-model",
            help="Let the language model learn too, or the projector alone.",
            show_default="learn below 50 million parameters",
        ),
    ] = None,
    lora: Annotated[
        int | None,
        typer.Option(
            "--lora",
            min=1,
            help="Let low-rank layers of this rank learn in the language model; merged at the end.",
            show_default=False,
        ),
    ] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Questions of one step.")] = 32,
    lr: Annotated[
        float | None,
        typer.Option("--lr", help="Peak learning rate of the projector.", show_default="1e-3; small: 3e-3"),
    ] = None,
    language_lr: Annotated[
        float | None,
        typer.Option(
            "--language-lr",
            help="Peak learning rate of the language model, where it learns.",
            show_default="2e-5; small: 1e-3; 2e-4 with --lora",
        ),
    ] = None,
    noise: Annotated[
        float | None,
        typer.Option(
            "--noise",
            min=0,
            help="Noise on the embeddings, in each feature's standard deviation.",
            show_default="0.3; small: 0.7",
        ),
    ] = None,
    overwrite: Overwrite = False,
    device: Device = "auto",
    json_output: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train the projector from a source and metadata alone, and judge the answers on items it never saw."""
    from pinembed.jobs.align import align

    stop = stop_on_signals()
    console = Console(json_output=json_output, quiet=quiet)
    report = align(
        data=folder,
        model=model,
        source=source,
        out=out,
        fields=columns(fields),
        dialogues=dialogues,
        group=group,
        old_source=old_source,
        epochs=epochs,
        minutes=minutes,
        seed=seed,
        tokens=tokens,
        train_language_model=train_language_model,
        lora=lora,
        batch_size=batch_size,
        lr=lr,
        language_lr=language_lr,
        noise=noise,
        overwrite=overwrite,
        device=device,
        progress=console.progress,
        stop=stop,
    )
    _show(console, report, source)
    console.report(report)


def _show(console: Console, report: AlignReport, source: Path) -> None:
    if report.missing:
        console.say(f"{report.missing} item(s) of the metadata are not in the source and took no part.")
    console.table(
        f"Answers that are exactly right, {report.held_out_items} {report.held_out} items never seen",
        ["field", "items", "right", "linear probe", "shuffled", "most frequent"],
        [
            [
                score.field,
                f"{score.items:,}",
                f"{score.accuracy:.1%}",
                f"{score.probe:.1%}",
                f"{score.shuffled:.1%}",
                f"{score.majority:.1%}",
            ]
            for score in report.fields
        ],
    )
    tokens = ", ".join(f"{score.accuracy:.1%} with {score.tokens}" for score in report.by_tokens)
    console.say(
        f"Soft tokens an item: {tokens}; comparisons of two items right to the letter: {report.comparisons:.1%}"
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

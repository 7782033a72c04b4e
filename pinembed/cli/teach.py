"""`pinembed teach`: let an untrimmed model look at the training images, for `align --teacher`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pinembed.cli.console import Console, stop_on_signals
from pinembed.cli.options import DataArgument, Device, GroupOption, Json, Out, Overwrite, Quiet, columns


def command(
    folder: DataArgument,
    model: Annotated[
        Path, typer.Option("--model", help="Folder of a Qwen3-VL checkpoint with its tower.", show_default=False)
    ],
    out: Out,
    fields: Annotated[
        str | None,
        typer.Option(
            "--fields",
            help="Metadata columns whose true values the teacher weighs, separated by commas; default: those of short "
            "values that repeat.",
            show_default=False,
        ),
    ] = None,
    question: Annotated[
        list[str] | None,
        typer.Option(
            "--question",
            help="What the teacher answers in its own words; may be given several times.",
            show_default="What does the picture show?",
        ),
    ] = None,
    group: GroupOption = None,
    top: Annotated[int, typer.Option("--top", help="Likeliest tokens to keep for each place of an answer.")] = 32,
    image_px: Annotated[int, typer.Option("--image-px", help="Images are brought to at most this side.")] = 512,
    max_new_tokens: Annotated[
        int, typer.Option("--max-new-tokens", help="Longest answer of the teacher's own, in tokens.")
    ] = 64,
    dtype: Annotated[
        str, typer.Option("--dtype", help="auto for the type of the stored weights; float32, bfloat16 or float16.")
    ] = "auto",
    overwrite: Overwrite = False,
    device: Device = "auto",
    json_output: Json = False,
    quiet: Quiet = False,
) -> None:
    """Store what an untrimmed Qwen3-VL says about the training images; the images are opened here and never again."""
    from pinembed.jobs.teach import QUESTION, teach

    stop = stop_on_signals()
    console = Console(json_output=json_output, quiet=quiet)
    report = teach(
        data=folder,
        model=model,
        out=out,
        fields=columns(fields),
        questions=tuple(question or (QUESTION,)),
        group=group,
        top=top,
        image_px=image_px,
        max_new_tokens=max_new_tokens,
        dtype=dtype,
        overwrite=overwrite,
        device=device,
        progress=console.progress,
        stop=stop,
    )
    for name in report.failed:
        console.say(f"image not read: {name}")
    console.say(
        f"{report.out}: {report.dialogues:,} answers about {report.items:,} training images, "
        f"{report.answer_tokens:,} tokens, {report.size_bytes / 1e6:.1f} MB, {report.seconds:.0f} s\n"
        f"Next: pinembed align {folder} --teacher {report.out} --model TRIMMED --source SOURCE --out OUT"
    )
    console.report(report)
    raise typer.Exit(report.exit_code)

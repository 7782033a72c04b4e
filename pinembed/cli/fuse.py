"""`pinembed fuse`: metadata in the vectors of an encoder that is good as it is."""

from __future__ import annotations

from typing import Annotated

import typer

from pinembed.cli.console import Console
from pinembed.cli.options import (
    DataArgument,
    Device,
    EncoderOption,
    GroupOption,
    Json,
    Out,
    Overwrite,
    Quiet,
    TextOption,
    columns,
)
from pinembed.cli.tables import show_fusion
from pinembed.errors import GateError


def command(
    folder: DataArgument,
    encoder: EncoderOption,
    out: Out,
    fusion: Annotated[
        str,
        typer.Option("--fusion", help="auto chooses on the val split; weights such as image=.9,title=.1 are judged."),
    ] = "auto",
    text: TextOption = None,
    group: GroupOption = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of everything random.")] = 0,
    overwrite: Overwrite = False,
    device: Device = "auto",
    json_output: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make metadata of DATA a part of an item's vector, without training: weights are chosen on val, judged on test.

    The exit code is 4 where items stay their images alone.
    """
    from pinembed.jobs.fuse import fuse_encoder

    console = Console(json_output=json_output, quiet=quiet)
    report = fuse_encoder(
        data=folder,
        encoder=encoder,
        out=out,
        fusion=fusion,
        text=columns(text),
        group=group,
        seed=seed,
        overwrite=overwrite,
        device=device,
        progress=console.progress,
    )
    show_fusion(console, report.fusion)
    console.say(f"{report.out}: fingerprint {report.fingerprint}; {report.seconds:.0f} s")
    console.report(report)
    if not report.promoted:
        raise typer.Exit(GateError.exit_code)

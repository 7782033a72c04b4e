"""`pinembed bench encode`: how fast this machine could encode a folder, and how fast it does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pinembed.cli.console import Console
from pinembed.cli.options import BatchSize, Device, EncoderOption, Json, Quiet
from pinembed.cli.signals import stop_on_signals


def command(
    images: Annotated[Path, typer.Argument(help="Folder of images.", show_default=False)],
    encoder: EncoderOption,
    count: Annotated[int, typer.Option("--images", min=16, help="Images to read, spread over the folder.")] = 1000,
    device: Device = "auto",
    batch_size: BatchSize = None,
    json_output: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure decoding, every backend, and both together; say what limits the machine and how near encode comes."""
    from pinembed.jobs.bench_encode import bench_encode

    stop = stop_on_signals()
    console = Console(json_output=json_output, quiet=quiet)
    report = bench_encode(
        images,
        encoder=encoder,
        count=count,
        device=device,
        batch_size=batch_size,
        progress=console.progress,
        stop=stop,
    )
    rows = [("decode alone", f"{report.decode_images_per_s:.1f}", "", "")]
    rows += [
        (
            f"{speed.backend} alone",
            f"{speed.images_per_s:.1f}",
            f"{speed.min_cosine:.5f}",
            _share(speed.neighbour_recall),
        )
        for speed in report.backends
    ]
    rows += [
        (f"limit of decode and {report.backend}", f"{report.limit_images_per_s:.1f}", "", ""),
        ("from files to rows", f"{report.images_per_s:.1f}", "", ""),
    ]
    console.table(
        f"{report.encoder} on {report.device}, {report.cores} cores, {report.images} images, "
        f"{report.size_bytes / 1e6:.1f} MB",
        ["what", "images/s", "cosine to fp32", "10 neighbours found"],
        rows,
    )
    console.say(f"{report.share_of_limit:.0%} of the limit is reached")
    console.report(report)


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"

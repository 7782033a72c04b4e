"""`pinembed bench vlm`: what the vision tower costs, and what stored embeddings save, on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pinembed.cli.console import Console
from pinembed.cli.options import Device, Json, Quiet, columns
from pinembed.cli.signals import stop_on_signals
from pinembed.errors import UsageError

if TYPE_CHECKING:
    from pinembed.nouns.bench_vlm_report import BenchVlmReport


def command(
    model: Annotated[
        Path | None, typer.Argument(help="Folder of a Qwen3-VL checkpoint with its tower.", show_default=False)
    ] = None,
    shape: Annotated[
        str | None,
        typer.Option("--shape", help="2B, 4B or 8B with drawn weights, in the place of MODEL.", show_default=False),
    ] = None,
    images: Annotated[
        str | None,
        typer.Option(
            "--images",
            help="Numbers of images in a prompt, separated by commas.",
            show_default="1,2,4,8,16, as far as --minutes and memory reach",
        ),
    ] = None,
    image_px: Annotated[int, typer.Option("--image-px", help="Side of the square images, in pixels.")] = 1024,
    dim: Annotated[int, typer.Option("--dim", help="Floats of a stored embedding.")] = 512,
    tokens: Annotated[int, typer.Option("--tokens", help="Soft tokens an item.")] = 4,
    answer_tokens: Annotated[int, typer.Option("--answer-tokens", help="Tokens of every answer.")] = 8,
    price_per_hour: Annotated[
        float, typer.Option("--price-per-hour", help="Of this machine, in US dollars; makes the cost column.")
    ] = 1.0,
    repeats: Annotated[
        int | None,
        typer.Option(
            "--repeats",
            min=1,
            help="Of every measurement; the fastest counts.",
            show_default="as many as fit into 10 s, 5 at most",
        ),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            "--minutes",
            min=0,
            help="Leave numbers of images out that would take longer than this in all.",
            show_default="15, or no limit with --images",
        ),
    ] = None,
    dtype: Annotated[str, typer.Option("--dtype", help="bfloat16, float16 or float32.")] = "bfloat16",
    plot: Annotated[
        Path | None, typer.Option("--plot", help="PNG of the times over the number of images.", show_default=False)
    ] = None,
    device: Device = "auto",
    json_output: Json = False,
    quiet: Quiet = False,
) -> None:
    """Time the same question with pixels through the tower and with stored embeddings."""
    from pinembed.jobs.bench_vlm import bench_vlm

    stop = stop_on_signals()
    try:
        counts = None if images is None else [int(count) for count in columns(images)]
    except ValueError as error:
        raise UsageError(f"--images {images} is no list of numbers.", remedy="For example: --images 1,2,4,8") from error
    console = Console(json_output=json_output, quiet=quiet)
    report = bench_vlm(
        model=model,
        shape=shape,
        images=counts,
        image_px=image_px,
        dim=dim,
        tokens=tokens,
        answer_tokens=answer_tokens,
        price_per_hour=price_per_hour,
        repeats=repeats,
        minutes=minutes,
        dtype=dtype,
        device=device,
        plot=plot,
        progress=console.progress,
    )
    _show(console, report)
    console.report(report)
    if stop.signum is not None:
        raise typer.Exit(128 + stop.signum)


def _show(console: Console, report: BenchVlmReport) -> None:
    drawn = ", drawn weights" if report.random_weights else ""
    console.table(
        f"{report.model}{drawn}, {report.dtype}, {report.device}, {report.threads} threads, "
        f"{report.image_px} px images, answers of {report.answer_tokens} tokens",
        [
            "images",
            "model",
            "prompt tokens",
            "first token s",
            "req/s",
            "TFLOP",
            "peak GB",
            "USD per 1M",
            "n",
        ],
        [
            [
                str(cost.images),
                name,
                f"{cost.prompt_tokens:,}",
                f"{cost.first_token_s:.2f}",
                f"{cost.requests_per_s:.3g}",
                f"{cost.flops / 1e12:.3g}",
                "" if cost.peak_bytes is None else f"{cost.peak_bytes / 1e9:.2f}",
                f"{cost.usd_per_million:,.0f}",
                str(cost.runs),
            ]
            for comparison in report.comparisons
            for name, cost in (("full", comparison.full), ("trimmed", comparison.trimmed))
        ],
        numeric_from=2,
    )
    for comparison in report.comparisons:
        console.say(
            f"{comparison.full.images:>2} images: first token {comparison.first_token_ratio:.1f} x sooner "
            f"({comparison.full.prefill_share:.0%} of the full model's time is the language model's), "
            f"{comparison.flops_ratio:.0f} x fewer operations, "
            f"cost {comparison.trimmed.usd_per_million / comparison.full.usd_per_million - 1:+.1%}"
        )
    console.say(
        f"Weights: language model {report.language_bytes / 1e9:.2f} GB, tower {report.vision_bytes / 1e9:.2f} GB. "
        f"An item is {report.item_bytes} bytes in the source. Decoding of images is not counted. "
        f"Requests run one after the other, at {report.price_per_hour:g} USD an hour."
    )
    if report.left_out:
        console.say(
            f"Not measured: {', '.join(map(str, report.left_out))} images. Give more --minutes or a smaller --image-px."
        )
    if report.plot:
        console.say(f"{report.plot}: time to the first token over the number of images")

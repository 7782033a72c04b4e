"""`pinembed bench`: encode, lookup, vlm."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pinembed.cli.console import Console, stop_on_signals
from pinembed.cli.options import BatchSize, Device, EncoderOption, Json, Quiet, columns
from pinembed.errors import UsageError

if TYPE_CHECKING:
    from pinembed.reports.bench import BenchVlmReport


def encode_command(
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


OPEN_MS, GATHER_P99_MS, GROWTH_MB, WRITE_SHARE = 50.0, 1.0, 100.0, 0.5


def lookup_command(
    items: Annotated[int, typer.Option("--items", min=64, help="N, rows of the source that is drawn.")] = 1_000_000,
    dim: Annotated[int, typer.Option("--dim", min=1, help="D, floats of one embedding.")] = 512,
    gathers: Annotated[int, typer.Option("--gathers", min=100, help="Timed lookups of 64 ids each.")] = 3000,
    folder: Annotated[
        Path, typer.Option("--folder", help="Folder on the disk to measure; what is written there is removed.")
    ] = Path(),
    seed: Annotated[int, typer.Option("--seed", help="Seed of the rows and of the ids asked for.")] = 0,
    json_output: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a source of drawn rows, open it, look ids up, and set the times beside what is aimed at."""
    from pinembed.jobs.bench_lookup import bench_lookup

    stop_on_signals()
    console = Console(json_output=json_output, quiet=quiet)
    report = bench_lookup(folder=folder, items=items, dim=dim, gathers=gathers, seed=seed, progress=console.progress)
    growth_mb = report.resident_growth_bytes / 1e6
    rows = [
        ("open", f"{report.open_ms:.2f} ms", f"< {OPEN_MS:g} ms", report.open_ms < OPEN_MS),
        (f"gather {report.ids_per_gather} ids, median", f"{report.gather_p50_ms:.3f} ms", "", True),
        (
            f"gather {report.ids_per_gather} ids, p99",
            f"{report.gather_p99_ms:.3f} ms",
            f"< {GATHER_P99_MS:g} ms",
            report.gather_p99_ms < GATHER_P99_MS,
        ),
        (f"gather {report.ids_per_gather} ids, p99, CPU", f"{report.gather_cpu_p99_ms:.3f} ms", "", True),
        ("resident memory, growth", f"{growth_mb:.1f} MB", f"< {GROWTH_MB:g} MB", growth_mb < GROWTH_MB),
        (
            "export",
            f"{report.write_bytes_per_s / 1e6:,.0f} MB/s",
            f">= {WRITE_SHARE:.0%} of the disk",
            report.write_share >= WRITE_SHARE,
        ),
        ("the disk's own rate", f"{report.disk_bytes_per_s / 1e6:,.0f} MB/s", "", True),
    ]
    console.table(
        f"{report.items:,} x {report.dim} float16, {report.size_bytes / 1e6:,.0f} MB, {report.gathers:,} gathers",
        ["what", "measured", "aim", "reached"],
        [(what, measured, aim, ("yes" if good else "no") if aim else "") for what, measured, aim, good in rows],
    )
    console.report(report)


def vlm_command(
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


app = typer.Typer(help="Measure what encoding, looking up and answering cost on this machine.", no_args_is_help=True)


@app.callback()
def root() -> None:
    """Keeps every bench a sub-command, however many there are."""


app.command("encode")(encode_command)
app.command("lookup")(lookup_command)
app.command("vlm")(vlm_command)

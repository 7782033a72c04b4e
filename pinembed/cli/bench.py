"""`pinembed bench`: encode, vlm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from pinembed.cli.command import add_command
from pinembed.cli.console import Console
from pinembed.settings.measuring import BenchEncodeSettings, BenchVlmSettings

if TYPE_CHECKING:
    from pinembed.reports.bench import BenchVlmReport


def run_encode(settings: BenchEncodeSettings, console: Console) -> None:
    """Measure decoding, every backend, and both together; say what limits the machine and how near encode comes."""
    from pinembed.jobs.bench_encode import bench_encode

    report = bench_encode(settings, progress=console.progress, stop=console.stop)
    rows = [("decode alone", f"{report.decode_images_per_s:.1f}", "", "")]
    for speed in report.backends:
        recall = "" if speed.neighbour_recall is None else f"{speed.neighbour_recall:.1%}"
        rows.append((f"{speed.backend} alone", f"{speed.images_per_s:.1f}", f"{speed.min_cosine:.5f}", recall))
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
    if report.costs:
        console.table(
            f"at {report.price_per_hour:g} USD an hour of this machine, {report.row_bytes:,.0f} bytes a row",
            ["images", "machine hours", "USD", "table GB"],
            [
                (f"{cost.images:,}", f"{cost.machine_hours:,.1f}", f"{cost.usd:,.2f}", f"{cost.table_bytes / 1e9:,.1f}")
                for cost in report.costs
            ],
        )
    console.report(report)


def run_vlm(settings: BenchVlmSettings, console: Console) -> None:
    """Time the same question with pixels through the tower and with stored embeddings."""
    from pinembed.jobs.bench_vlm import bench_vlm

    report = bench_vlm(settings, progress=console.progress)
    _show(console, report)
    console.report(report)
    if console.stop.signum is not None:
        raise typer.Exit(128 + console.stop.signum)


def _show(console: Console, report: BenchVlmReport) -> None:
    drawn = ", drawn weights" if report.random_weights else ""
    console.table(
        f"{report.model}{drawn}, {report.dtype}, {report.device}, {report.threads} threads, "
        f"{report.image_px} px images, answers of {report.answer_tokens} tokens",
        ["images", "model", "prompt tokens", "first token s", "req/s", "TFLOP", "peak GB", "USD per 1M", "n"],
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


app = typer.Typer(help="Measure what encoding and answering cost on this machine.", no_args_is_help=True)


@app.callback()
def root() -> None:
    """Keeps every bench a sub-command, however many there are."""


add_command(app, "encode", BenchEncodeSettings, run_encode)
add_command(app, "vlm", BenchVlmSettings, run_vlm)

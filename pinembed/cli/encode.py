"""`pinembed encode`: images into a LanceDB table, and nothing twice."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pinembed.cli.console import Console, print_error, stop_on_signals
from pinembed.cli.options import BatchSize, Device, EncoderOption, Json, Quiet, Table
from pinembed.errors import TooManyFailuresError

if TYPE_CHECKING:
    from pinembed.reports.encode import EncodeReport

COUNTS = ("added", "updated", "unchanged", "duplicate", "failed", "removed", "rows")
ALWAYS = ("added", "updated", "unchanged", "rows")
SHOWN = 10
Dtype = Literal["fp16", "fp32"]


def command(
    images: Annotated[
        Path,
        typer.Argument(
            help="Folder of images, with or without metadata.csv, .jsonl or .parquet; or a WebDataset .tar, or a "
            ".parquet file with a column of image bytes; or a folder of tars or Parquet files."
        ),
    ],
    table: Table,
    encoder: EncoderOption,
    dims: Annotated[
        int | None,
        typer.Option(
            "--dims",
            min=1,
            help="Floats to keep of each embedding, the first ones. By default as many as the table has; a new one "
            "keeps all. `evaluate --storage-formats` tells what fewer cost.",
            show_default=False,
        ),
    ] = None,
    dtype: Annotated[
        Dtype | None,
        typer.Option(
            "--dtype", help="Of a stored float. By default as in the table; fp16 in a new one.", show_default=False
        ),
    ] = None,
    metadata: Annotated[
        Path | None,
        typer.Option("--metadata", help="Metadata file elsewhere; its file_name column is relative to IMAGES."),
    ] = None,
    files_from: Annotated[
        Path | None,
        typer.Option(
            "--files-from",
            help="Take only the files that this list names, one a line, relative to IMAGES; - reads standard input. "
            "With it --prune removes only rows whose files are no longer there.",
            show_default=False,
        ),
    ] = None,
    null: Annotated[
        bool, typer.Option("--null", "-0", help="Names in --files-from end in NUL, as `find -print0` writes them.")
    ] = False,
    image_column: Annotated[
        str | None,
        typer.Option(
            "--image-column", help="Column of the images in Parquet, where several hold bytes.", show_default=False
        ),
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Read images again that failed before and did not change.")
    ] = False,
    max_failure_rate: Annotated[
        float,
        typer.Option(
            "--max-failure-rate",
            help="Share of failed images, 0 to 1, above which the run ends with exit code 3; what was good is stored.",
        ),
    ] = 0.5,
    prune: Annotated[bool, typer.Option("--prune", help="Remove the rows whose files are gone.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Let --prune remove more than a fifth of the rows.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done and do nothing.")] = False,
    backend: Annotated[
        str,
        typer.Option(
            "--backend",
            help="auto, torch, openvino, onnx or onnx-int8. auto measures them on 300 images or more and takes the "
            "fastest whose embeddings agree with torch in fp32; the choice, and the model as converted for it, are "
            "kept in the cache folder for the encoder and the machine. onnx-int8 makes vectors with other neighbours, "
            "says how many of the right ones they find, and needs a table of its own.",
        ),
    ] = "auto",
    reduced_decode: Annotated[
        bool,
        typer.Option(
            "--reduced-decode",
            help="Decode JPEGs at a half, a quarter or an eighth of their size where that is still twice what the "
            "encoder needs: up to twice as fast for 12 megapixels, and pixels differ by 0.2 of 255 on average. Rows "
            "that are stored keep their vectors; `inspect` shows which runs had it.",
        ),
    ] = False,
    device: Device = "auto",
    batch_size: BatchSize = None,
    json_output: Json = False,
    quiet: Quiet = False,
) -> None:
    """Encode images into a table; what is there and unchanged is left alone."""
    from pinembed.jobs.encode import encode

    console = Console(json_output=json_output, quiet=quiet)
    report = encode(
        images,
        table=table,
        encoder=encoder,
        dims=dims,
        dtype=dtype,
        metadata=metadata,
        files_from=files_from,
        null_separated=null,
        image_column=image_column,
        retry_failed=retry_failed,
        max_failure_rate=max_failure_rate,
        prune=prune,
        force=force,
        dry_run=dry_run,
        backend=backend,
        reduced_decode=reduced_decode,
        device=device,
        batch_size=batch_size,
        progress=console.progress,
        stop=stop_on_signals(),
    )
    _show(console, report)
    console.report(report)
    if report.exit_code:
        print_error(_too_many_failures(report), json_output=False)
    raise typer.Exit(report.exit_code)


def _show(console: Console, report: EncodeReport) -> None:
    counts = [(name, f"{getattr(report, name)}") for name in COUNTS if getattr(report, name) or name in ALWAYS]
    title = f"{'plan for' if report.dry_run else 'encode into'} {report.table}  ({report.encoder})"
    console.table(title, ["items", "count"], counts)
    if report.encoded:
        console.say(
            f"{report.encoded} images in {report.seconds:.1f} s, {report.images_per_s:.1f} images/s on {report.backend}"
        )
    if report.failed:
        reasons = ", ".join(f"{reason} {count}" for reason, count in report.failures.items())
        console.say(f"failed: {reasons}", style="yellow")
        for image in report.failed_images[:SHOWN]:
            console.say(f"  {image.id}: {image.message}")
        if report.failed > SHOWN:
            console.say(f"  ... all of them are in the table {report.table}_failures")
        if report.not_retried:
            console.say(
                f"{report.not_retried} of them failed before and did not change; --retry-failed reads them again."
            )


def _too_many_failures(report: EncodeReport) -> TooManyFailuresError:
    return TooManyFailuresError(
        f"{report.failed} items failed, {report.failure_rate:.0%} of all; --max-failure-rate allows "
        f"{report.max_failure_rate:.0%}. What was good is stored.",
        remedy=f"Look at the table {report.table}_failures, mend the files, and run the same command again.",
    )

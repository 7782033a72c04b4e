"""`pinembed export`: an embedding table to a read-only folder."""

from __future__ import annotations

from typing import Annotated

import typer

from pinembed.cli.console import Console
from pinembed.cli.options import Json, Out, Overwrite, Quiet, Table
from pinembed.cli.signals import stop_on_signals


def command(
    table: Table,
    out: Out,
    format: Annotated[
        str,
        typer.Option(
            "--format",
            help="source: mapped folder for ask, align and pinembed.EmbeddingSource; parquet: all columns, zstd; "
            "npy: vectors.npy and ids.jsonl.",
        ),
    ] = "source",
    shard_mib: Annotated[
        int, typer.Option("--shard-mib", min=1, help="MiB of embeddings in one file; npy is always one file.")
    ] = 256,
    overwrite: Overwrite = False,
    json_output: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a table's embeddings as files with checksums, readable by item id without a database."""
    from pinembed.jobs.export import export_table

    stop_on_signals()
    console = Console(json_output=json_output, quiet=quiet)
    report = export_table(
        table=table, out=out, format=format, shard_mib=shard_mib, overwrite=overwrite, progress=console.progress
    )
    console.say(
        f"{report.out}: {report.items:,} items x {report.dim} float16 in {report.shards} file(s), "
        f"{report.size_bytes / 1e6:,.1f} MB, {report.seconds:.1f} s; encoder {report.fingerprint}"
    )
    console.say(f"Check it any time with: pinembed verify {report.out}")
    console.report(report)

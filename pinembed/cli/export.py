"""`pinembed export`: an embedding table to a read-only folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pinembed.cli.console import Console, stop_on_signals
from pinembed.cli.options import Json, Out, Overwrite, Quiet, Table


def command(
    table: Table,
    out: Out,
    format: Annotated[
        str,
        typer.Option(
            "--format",
            help="source: mapped folder for ask, align and pinembed.EmbeddingSource; parquet: all columns, zstd; "
            "npy: vectors.npy and ids.jsonl; vllm, sglang: soft tokens as request parts, a line an item.",
        ),
    ] = "source",
    model: Annotated[
        Path | None,
        typer.Option(
            "--model", help="Folder that align wrote; its projector makes the soft tokens of vllm and sglang."
        ),
    ] = None,
    tokens: Annotated[
        int | None,
        typer.Option("--tokens", min=1, help="Soft tokens an item for vllm and sglang; by default the projector's K."),
    ] = None,
    deepstack_levels: Annotated[
        int,
        typer.Option(
            "--deepstack-levels",
            min=0,
            help="For a server that runs the untrimmed checkpoint with its tower loaded: the number of its DeepStack "
            "levels, which are then sent as zeros.",
        ),
    ] = 0,
    shard_mib: Annotated[
        int, typer.Option("--shard-mib", min=1, help="Most MiB in one file; npy is always one file.")
    ] = 256,
    overwrite: Overwrite = False,
    json_output: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a table's embeddings as files with checksums, readable by item id without a database."""
    from pinembed.jobs.export import export

    stop_on_signals()
    console = Console(json_output=json_output, quiet=quiet)
    report = export(
        table=table,
        out=out,
        format=format,
        model=model,
        tokens=tokens,
        deepstack_levels=deepstack_levels,
        shard_mib=shard_mib,
        overwrite=overwrite,
        progress=console.progress,
    )
    console.say(
        f"{report.out}: {report.items:,} items x {report.dim} floats as {report.format} in {report.shards} file(s), "
        f"{report.size_bytes / 1e6:,.1f} MB, {report.seconds:.2f} s; encoder {report.fingerprint}"
    )
    console.say(f"Check it any time with: pinembed verify {report.out}")
    console.report(report)

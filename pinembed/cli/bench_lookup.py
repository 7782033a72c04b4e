"""`pinembed bench lookup`: what the embedding source costs on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pinembed.cli.console import Console
from pinembed.cli.options import Json, Quiet
from pinembed.cli.signals import stop_on_signals

OPEN_MS, GATHER_P99_MS, GROWTH_MB, WRITE_SHARE = 50.0, 1.0, 100.0, 0.5


def command(
    items: Annotated[int, typer.Option("--items", min=64, help="N, rows of the source that is drawn.")] = 1_000_000,
    dim: Annotated[int, typer.Option("--dim", min=1, help="D, floats of one embedding.")] = 512,
    gathers: Annotated[int, typer.Option("--gathers", min=100, help="Timed lookups of 64 ids each.")] = 3000,
    place: Annotated[
        Path, typer.Option("--place", help="Folder on the disk to measure; what is written there is removed.")
    ] = Path(),
    seed: Annotated[int, typer.Option("--seed", help="Seed of the rows and of the ids asked for.")] = 0,
    json_output: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a source of drawn rows, open it, look ids up, and set the times beside what is aimed at."""
    from pinembed.jobs.bench_lookup import bench_lookup

    stop_on_signals()
    console = Console(json_output=json_output, quiet=quiet)
    report = bench_lookup(place=place, items=items, dim=dim, gathers=gathers, seed=seed, progress=console.progress)
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

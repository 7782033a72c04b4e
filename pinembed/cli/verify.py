"""`pinembed verify`: is an exported folder still what was written?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pinembed.cli.console import Console, stop_on_signals
from pinembed.cli.options import Json, Quiet


def command(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder that `pinembed export` wrote.", show_default=False)
    ],
    json_output: Json = False,
    quiet: Quiet = False,
) -> None:
    """Read every byte of an exported folder and list all that is wrong with it; exit code 1 when anything is."""
    from pinembed.jobs.verify import verify

    stop_on_signals()
    console = Console(json_output=json_output, quiet=quiet)
    report = verify(folder=folder, progress=console.progress)
    read = f"{report.files} file(s), {report.size_bytes / 1e6:,.1f} MB read in {report.seconds:.2f} s"
    if report.findings:
        rows = [(finding.file, finding.problem, finding.detail) for finding in report.findings]
        console.table(
            f"{folder}: {len(rows)} finding(s)", ["file", "problem", "found and wanted"], rows, numeric_from=3
        )
        console.say(f"{read}. Export the table again, or copy the folder from where it is good.")
    else:
        console.say(f"{folder}: whole. {report.items:,} items x {report.dim}, encoder {report.fingerprint}; {read}.")
    console.report(report)
    raise typer.Exit(report.exit_code)

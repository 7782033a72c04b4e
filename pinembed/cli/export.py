"""`pinembed export`: an embedding table to a read-only folder."""

from __future__ import annotations

from pinembed.cli.console import Console
from pinembed.settings.source import ExportSettings


def run(settings: ExportSettings, console: Console) -> None:
    """Write a table's embeddings as files with checksums, readable by item id without a database."""
    from pinembed.jobs.export import export

    report = export(settings, progress=console.progress)
    console.say(
        f"{report.out}: {report.items:,} items x {report.dim} floats as {report.format} in {report.shards} file(s), "
        f"{report.size_bytes / 1e6:,.1f} MB, {report.seconds:.2f} s; encoder {report.fingerprint}"
    )
    if settings.hide:
        console.say(f"{report.hidden:,} flagged row(s) were left out ({', '.join(settings.hide)})")
    console.say(f"Check it any time with: pinembed verify {report.out}")
    console.report(report)

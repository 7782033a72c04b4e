"""`pinembed inspect`: what a table holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinembed.cli.console import Console
from pinembed.cli.tables import minute_of
from pinembed.settings.encoding import InspectSettings

if TYPE_CHECKING:
    from pinembed.nouns.run_record import RunRecord
    from pinembed.reports.table import TableReport

FAILURES_SHOWN = 10
RUN_COLUMNS = ("begun (UTC)", "ended", "added", "updated", "failed", "seconds", "host")


def run(settings: InspectSettings, console: Console) -> None:
    """Show a table's rows, encoder, tags, failures, fragments and size, and its last runs of encode."""
    from pinembed.jobs.inspect import inspect

    report = inspect(settings)
    console.table(report.table, ["what", "found"], _lines(report), numeric_from=2)
    for image in report.failed_images[:FAILURES_SHOWN]:
        console.say(f"failed {image.id}: {image.message}")
    if report.runs:
        console.table("last runs", RUN_COLUMNS, [_run_line(run) for run in report.runs], numeric_from=2)
        for run in report.runs:
            for note in filter(None, (run.message, "--reduced-decode" if run.reduced_decode else "")):
                console.say(f"{minute_of(run.started_at)}: {note}")
    console.report(report)


def _lines(report: TableReport) -> list[tuple[str, str]]:
    failures = ", ".join(f"{reason} {count}" for reason, count in report.failures.items())
    own = ", ".join(name for name in report.columns if name not in {"image_vector", "vector"})
    lines = [
        ("rows", f"{report.rows}"),
        (
            "encoder",
            f"{report.encoder.architecture} ({report.fingerprint}), {report.encoder.dim} floats in {report.dtype}",
        ),
        ("encoder lies in", report.reference),
        ("an item is", str(report.encoder.fusion or "")),
        ("images", ", ".join(f"{folder} ({count})" for folder, count in report.folders.items())),
        ("columns", own),
        ("tags", ", ".join(f"{tag} = version {version}" for tag, version in report.tags.items())),
        ("version", f"{report.version}, last commit {report.last_commit}"),
        ("size", f"{report.size_bytes / 1e6:.1f} MB in {report.fragments} fragments"),
        ("indices", ", ".join(report.indices)),
        ("failures", failures),
        ("being written by", report.locked_by),
    ]
    return [(what, found) for what, found in lines if found]


def _run_line(run: RunRecord) -> tuple[str, ...]:
    """One run; a killed one has no counts to show."""
    counts = run.counts
    shown = ("", "", "") if counts is None else map(str, (counts.added, counts.updated, counts.failed))
    seconds = "" if run.seconds is None else f"{run.seconds:.1f}"
    return (minute_of(run.started_at), run.ending or "", *shown, seconds, run.host)

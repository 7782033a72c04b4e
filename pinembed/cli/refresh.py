"""`pinembed refresh` and `report`: a home moved on by one generation, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinembed.cli.console import Console
from pinembed.settings.home import RefreshSettings, ReportSettings

if TYPE_CHECKING:
    from pinembed.reports.refresh import RefreshReport


def run(settings: RefreshSettings, console: Console) -> None:
    """Bring a home up to date with its images: a new generation where something changed, else nothing.

    Encodes what is new, trains where that is due, exports, aligns, checks, and switches; a run that was stopped goes on
    when the same command is given again. Until the switch the generation in use serves.
    """
    from pinembed.jobs.refresh import refresh

    report = refresh(settings, progress=console.progress, stop=console.stop)
    _show(console, report)
    console.end(report, report.exit_code)


def run_report(settings: ReportSettings, console: Console) -> None:
    """Show the report of the generation in use, or write it as a page or as Markdown."""
    from pinembed.jobs.report import report

    found = report(settings)
    if found.written:
        console.say("\n".join(f"{path}" for path in found.written))
    else:
        console.say(found.markdown)
    console.report(found)


def _show(console: Console, report: RefreshReport) -> None:
    if report.nothing_to_do:
        console.say(f"{report.home}: nothing to do; generation {report.serves} is up to date.")
        return
    title = f"{'plan for' if report.dry_run else 'refresh of'} {report.home}"
    rows = [
        [step.name, step.state, "" if step.seconds is None else f"{step.seconds:.1f}", _mb(step.size_bytes), step.why]
        for step in report.steps
    ]
    console.table(title, ["step", "", "s", "MB", "why"], rows, numeric_from=9)
    for check in report.checks:
        console.say(f"check {check.name}: {check.found:.4g}{check.wanted and f', {check.wanted}'}")
    if report.reason:
        console.say(report.reason)
    if report.dry_run:
        console.say(f"It would write some {report.size_bytes / 1e6:.1f} MB.")
    elif report.generation is None:
        console.say(f"No new generation; {report.serves} goes on serving.")
    else:
        _show_end(console, report)


def _show_end(console: Console, report: RefreshReport) -> None:
    waits = f"waits for: pinembed switch {report.home} {report.generation}"
    words = waits if report.awaits_approval else "is in use"
    size = f"{report.size_bytes / 1e6:.1f} MB of its own"
    console.say(f"Generation {report.generation} {words}; {report.counts.rows:,} rows, {size}, {report.seconds:.1f} s.")
    if report.removed:
        console.say(f"Removed: generation {', '.join(map(str, report.removed))}.")
    if report.spared:
        console.say(f"Somebody reads generation {', '.join(map(str, report.spared))}, so it stays.")


def _mb(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f}" if size_bytes else ""

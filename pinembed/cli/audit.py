"""`pinembed audit` and `appeal`: what is wrong with the pictures of a table, with evidence, and people's answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinembed.cli.console import Console
from pinembed.errors import TooManyFailuresError
from pinembed.settings.quality import AppealSettings, AuditSettings

if TYPE_CHECKING:
    from pinembed.reports.quality import AuditReport

COLUMNS = ("check", "flagged", "confirmed", "appealed", "cleared", "new")


def run(settings: AuditSettings, console: Console) -> None:
    """Flag machine-made, broken, empty and repeated pictures of a table, with evidence; nothing is deleted."""
    from pinembed.jobs.audit import audit

    report = audit(settings, progress=console.progress, stop=console.stop)
    _show(console, report)
    console.end(report, report.exit_code, error=_too_many(report))


def run_appeal(settings: AppealSettings, console: Console) -> None:
    """Read the answers to an audit's flags; what is cleared stays so until the check itself changes."""
    from pinembed.jobs.appeal import appeal

    report = appeal(settings, progress=console.progress)
    console.say(
        f"{report.table}: {report.confirmed} flag(s) confirmed, {report.appealed} appealed, {report.cleared} cleared"
    )
    console.report(report)


def _show(console: Console, report: AuditReport) -> None:
    rows = [
        (
            found.check,
            *(f"{count}" for count in (found.flagged, found.confirmed, found.appealed, found.cleared, found.new)),
        )
        for found in report.checks
    ]
    console.table(f"audit of {report.table}", COLUMNS, rows)
    console.say(
        f"{report.flagged_rows} of {report.rows} rows ({report.share:.1%}) are flagged; "
        f"{report.measured} pictures were read, {report.compared} compared, {report.seconds:.1f} s"
    )
    if report.unmeasured:
        console.say(
            f"{report.unmeasured} picture(s) are gone, broken or changed, and were not measured", style="yellow"
        )
    for found in report.checks:
        if found.reopened:
            console.say(
                f"{found.check}: {found.reopened} flag(s) had been cleared under another version of the check",
                style="yellow",
            )
    for check, reason in report.silent.items():
        console.say(f"{check} says nothing: {reason}", style="yellow")
    for what, path in (("contact sheet", report.sheet), ("page", report.html), ("to be answered", report.appeals)):
        if path is not None:
            console.say(f"{what}: {path}")


def _too_many(report: AuditReport) -> TooManyFailuresError:
    return TooManyFailuresError(
        f"{report.flagged_rows} of {report.rows} rows of table {report.table} are flagged, {report.share:.1%}; "
        f"--max-share allows {report.max_share:.1%}.",
        remedy="Look at them with --sheet and --appeals, and answer with `pinembed appeal`.",
    )

"""`pinembed appeal`: people's answers to an audit."""

from __future__ import annotations

from pinembed.cli.console import Console
from pinembed.settings.quality import AppealSettings


def run(settings: AppealSettings, console: Console) -> None:
    """Read the answers to an audit's flags; what is cleared stays so until the check itself changes."""
    from pinembed.jobs.appeal import appeal

    report = appeal(settings, progress=console.progress)
    console.say(
        f"{report.table}: {report.confirmed} flag(s) confirmed, {report.appealed} appealed, {report.cleared} cleared"
    )
    console.report(report)

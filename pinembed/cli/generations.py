"""`pinembed generations`, `rollback` and `switch`: what a home holds, and which of it is in use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinembed.cli.console import Console
from pinembed.settings.home import GenerationsSettings, RollbackSettings, SwitchSettings

if TYPE_CHECKING:
    from pinembed.reports.home import GenerationLine, SwitchReport

COLUMNS = ("", "made (UTC)", "encoder", "rows", "MB", "own MB", "why")


def run(settings: GenerationsSettings, console: Console) -> None:
    """List the generations of a home, and which of them is in use."""
    from pinembed.jobs.generations import generations

    report = generations(settings)
    console.table(str(report.home), ["N", *COLUMNS], [_cells(line) for line in report.generations], numeric_from=9)
    for fingerprint in report.refused:
        console.say(f"Encoder {fingerprint} was rolled back and is not promoted again by itself.")
    console.report(report)


def run_rollback(settings: RollbackSettings, console: Console) -> None:
    """Go back to an older generation of a home; its encoder that was in use is not promoted again by itself."""
    from pinembed.jobs.rollback import rollback

    _show(console, rollback(settings))


def run_switch(settings: SwitchSettings, console: Console) -> None:
    """Take a generation of a home into use: one that waits for approval, or one that was rolled back."""
    from pinembed.jobs.switch import switch

    _show(console, switch(settings))


def _show(console: Console, report: SwitchReport) -> None:
    console.say(f"{report.home}: generation {report.now} is in use; before it was {report.before or 'none'}.")
    if report.refused:
        console.say(f"Encoder {report.refused} is not promoted again by itself; `pinembed switch` takes it back.")
    console.report(report)


def _cells(line: GenerationLine) -> list[str]:
    if line.problem:
        return [f"{line.number}", line.state, "", "", "", "", "", line.problem]
    sizes = [f"{size / 1e6:.1f}" for size in (line.size_bytes, line.own_bytes)]
    made = line.created_at[:16].replace("T", " ")
    return [f"{line.number}", line.state, made, line.fingerprint, f"{line.rows:,}", *sizes, line.why]

"""`pinembed generations`, `sandbox`, `rollback` and `switch`: what a home holds, and which of it is in use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinembed.cli.console import Console
from pinembed.cli.tables import minute_of
from pinembed.settings.home import GenerationsSettings, RollbackSettings, SandboxSettings, SwitchSettings

if TYPE_CHECKING:
    from pinembed.reports.home import GenerationLine, SandboxLine, SwitchReport

SANDBOX_COLUMNS = ("generation", "made (UTC)", "by", "MB", "own MB")
COLUMNS = ("", "made (UTC)", "encoder", "rows", "MB", "own MB", "why")


def run(settings: GenerationsSettings, console: Console) -> None:
    """List the generations of a home, which of them is in use, and its sandboxes."""
    from pinembed.jobs.generations import generations

    report = generations(settings)
    console.table(str(report.home), ["N", *COLUMNS], [_cells(line) for line in report.generations], numeric_from=9)
    if report.sandboxes:
        lines = [_sandbox_cells(line) for line in report.sandboxes]
        console.table("sandboxes", ["name", *SANDBOX_COLUMNS], lines, numeric_from=9)
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


def run_sandbox(settings: SandboxSettings, console: Console) -> None:
    """Copy a generation by hard links, to try encoders, fusions, flags and prompts at full size beside what serves.

    Nothing in a sandbox comes into use; `--remove` takes it away with all that people put into it.
    """
    from pinembed.jobs.sandbox import sandbox

    report = sandbox(settings, progress=console.progress)
    if report.removed:
        console.say(f"Sandbox {report.name} is gone; the disk has {report.own_bytes / 1e6:.1f} MB back.")
    else:
        sizes = f"{report.size_bytes / 1e6:.1f} MB, {report.own_bytes / 1e6:.1f} MB of its own"
        console.say(
            f"Sandbox {report.name}: generation {report.generation}, {report.rows:,} rows, {sizes}.\n"
            f"Give {report.folder} as --table, --source, --model or --encoder; "
            f"remove it with: pinembed sandbox {report.home} {report.name} --remove"
        )
    console.report(report)


def _show(console: Console, report: SwitchReport) -> None:
    console.say(f"{report.home}: generation {report.now} is in use; before it was {report.before or 'none'}.")
    if report.refused:
        console.say(f"Encoder {report.refused} is not promoted again by itself; `pinembed switch` takes it back.")
    console.report(report)


def _cells(line: GenerationLine) -> list[str]:
    if line.problem:
        return [f"{line.number}", line.state, "", "", "", "", "", line.problem]
    sizes = [f"{size / 1e6:.1f}" for size in (line.size_bytes, line.own_bytes)]
    identity = [f"{line.number}", line.state, minute_of(line.created_at), line.fingerprint]
    return [*identity, f"{line.rows:,}", *sizes, line.why]


def _sandbox_cells(line: SandboxLine) -> list[str]:
    if line.problem:
        return [line.name, "", "", "", "", line.problem]
    sizes = [f"{size / 1e6:.1f}" for size in (line.size_bytes, line.own_bytes)]
    return [line.name, f"{line.generation}", minute_of(line.created_at), line.by, *sizes]

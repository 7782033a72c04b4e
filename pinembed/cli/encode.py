"""`pinembed encode`: images into a LanceDB table, and nothing twice."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from pinembed.cli.console import Console
from pinembed.errors import TooManyFailuresError
from pinembed.settings.encoding import EncodeSettings

if TYPE_CHECKING:
    from pinembed.reports.encode import EncodeReport

ALWAYS = ("added", "updated", "unchanged", "rows")
SHOWN = 10


def run(settings: EncodeSettings, console: Console) -> None:
    """Encode images into a table; what is there and unchanged is left alone."""
    from pinembed.jobs.encode import encode

    report = encode(settings, progress=console.progress, stop=console.stop)
    _show(console, report)
    console.end(report, report.exit_code, error=_too_many_failures(report))


def _show(console: Console, report: EncodeReport) -> None:
    found = dataclasses.asdict(report.counts)
    encoded = found.pop("encoded")
    counts = [(name, f"{count}") for name, count in found.items() if count or name in ALWAYS]
    title = f"{'plan for' if report.dry_run else 'encode into'} {report.table}  ({report.encoder})"
    console.table(title, ["items", "count"], counts)
    if encoded:
        console.say(
            f"{encoded} images in {report.seconds:.1f} s, {report.images_per_s:.1f} images/s on {report.backend}"
        )
    if report.counts.failed:
        reasons = ", ".join(f"{reason} {count}" for reason, count in report.failures.items())
        console.say(f"failed: {reasons}", style="yellow")
        for image in report.failed_images[:SHOWN]:
            console.say(f"  {image.id}: {image.message}")
        if report.counts.failed > SHOWN:
            console.say(f"  ... all of them are in the table {report.table}_failures")
        if report.not_retried:
            console.say(
                f"{report.not_retried} of them failed before and did not change; --retry-failed reads them again."
            )


def _too_many_failures(report: EncodeReport) -> TooManyFailuresError:
    return TooManyFailuresError(
        f"{report.counts.failed} items failed, {report.failure_rate:.0%} of all; --max-failure-rate allows "
        f"{report.max_failure_rate:.0%}. What was good is stored.",
        remedy=f"Look at the table {report.table}_failures, mend the files, and run the same command again.",
    )

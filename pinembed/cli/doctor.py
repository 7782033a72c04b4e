"""`pinembed doctor`: what is installed, what the machine can do, and what to do about what is wrong."""

from __future__ import annotations

from pinembed.cli.console import Console
from pinembed.settings.measuring import DoctorSettings


def run(settings: DoctorSettings, console: Console) -> None:
    """Check versions, the torch/torchvision pair, devices, extras, hub access and free disk."""
    from pinembed.jobs.doctor import examine

    report = examine(settings)
    console.table(
        "pinembed doctor",
        ["what", "found", "verdict"],
        [(c.name, c.found, c.verdict) for c in report.checks],
        numeric_from=3,
    )
    for check in report.checks:
        if check.remedy:
            console.say(f"{check.name}: {check.remedy}")
    console.end(report, report.exit_code)

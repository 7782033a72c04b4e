"""`pinembed fuse`: metadata in the vectors of an encoder that is good as it is."""

from __future__ import annotations

from pinembed.cli.console import Console
from pinembed.cli.tables import show_fusion
from pinembed.errors import GateError
from pinembed.settings.training import FuseSettings


def run(settings: FuseSettings, console: Console) -> None:
    """Make metadata of DATA a part of an item's vector, without training: weights are chosen on val, judged on test.

    The exit code is 4 where items stay their images alone.
    """
    from pinembed.jobs.fuse import fuse

    report = fuse(settings, progress=console.progress)
    show_fusion(console, report.fusion)
    console.say(f"{report.out}: fingerprint {report.fingerprint}; {report.seconds:.0f} s")
    console.end(report, 0 if report.promoted else GateError.exit_code)

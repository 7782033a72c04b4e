"""`pinembed verify`: is an exported folder still what was written?"""

from __future__ import annotations

from pinembed.cli.console import Console
from pinembed.settings.source import VerifySettings


def run(settings: VerifySettings, console: Console) -> None:
    """Read every byte of an exported folder and list all that is wrong with it; exit code 1 when anything is."""
    from pinembed.jobs.verify import verify

    report = verify(settings, progress=console.progress)
    read = f"{report.files} file(s), {report.size_bytes / 1e6:,.1f} MB read in {report.seconds:.2f} s"
    if report.findings:
        rows = [(finding.file, finding.problem, finding.detail) for finding in report.findings]
        console.table(
            f"{report.folder}: {len(rows)} finding(s)", ["file", "problem", "found and wanted"], rows, numeric_from=3
        )
        console.say(f"{read}. Export the table again, or copy the folder from where it is good.")
    else:
        console.say(
            f"{report.folder}: whole. {report.items:,} items x {report.dim}, encoder {report.fingerprint}; {read}."
        )
    console.end(report, report.exit_code)

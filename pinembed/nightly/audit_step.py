"""The audit of a generation before it is exported: flags in its table, and whether the share of them has jumped."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pinembed.generation.record import REPORT, Generation, table_in
from pinembed.nightly.calls import Jobs
from pinembed.nightly.config import RefreshConfig, digest_of
from pinembed.nightly.history import Figure, wilson
from pinembed.reports.quality import AuditReport
from pinembed.reports.refresh import CheckResult
from pinembed.settings.quality import AuditSettings

FLAGGED = "flagged"
FLAGS_PAGE, FLAGS_FILE = "flags.html", "flags.csv"
"""In the report: what is flagged with its evidence, and the file to answer in."""


@dataclass(frozen=True, kw_only=True)
class AuditStep:
    """What the audit is made from.

    Attributes:
        folder: of the generation, with its table.
        base: folder of the generation whose flags the new encoder's table takes over; None where it is a clone.
    """

    jobs: Jobs
    config: RefreshConfig
    folder: Path
    base: Path | None

    def run(self) -> dict[str, Any]:
        """Audit the table; returns figures for checks, report and history."""
        report = self.folder / REPORT
        report.mkdir(exist_ok=True)
        (report / FLAGS_FILE).unlink(missing_ok=True)  # of a run that was killed: answers are read from elsewhere
        options = dict(self.config.audit or {})
        answers = options.pop("answers", None)
        found = self.jobs.audit(
            AuditSettings(
                table=table_in(self.folder),
                flags_from=None if self.base is None else table_in(self.base),
                answers=answers if answers is not None and answers.is_file() else None,
                html=report / FLAGS_PAGE,
                appeals=report / FLAGS_FILE,
                **options,
            )
        )
        return {FLAGGED: found.share, "figures": list(audit_figures(found))}


def audit_figures(report: AuditReport) -> list[Figure]:
    """The share of flagged rows with its 95 % interval, and open flags by check."""
    low, high = wilson(report.share, report.rows)
    shares: list[Figure] = [{"name": FLAGGED, "value": report.share, "low": low, "high": high}]
    counts = {found.check: found.flagged + found.confirmed for found in report.checks}
    return shares + [
        {"name": "flags", "value": float(count), "slice": check} for check, count in counts.items() if count
    ]


def audit_digest(config: RefreshConfig) -> str:
    """Of what decides the flags beside the images: options, and the answers that people have given by now."""
    answers: Path | None = (config.audit or {}).get("answers")
    said = hashlib.sha256(answers.read_bytes()).hexdigest() if answers is not None and answers.is_file() else ""
    return digest_of(config.audit, said)


def flagged_check(found: Mapping[str, Any], config: RefreshConfig, *, last: Generation | None) -> CheckResult:
    """Whether the share of flagged rows is no more than it may be, nor has risen too far since the last generation."""
    share = float(found[FLAGGED])
    before = None if last is None else last.metrics.get(FLAGGED)
    limits = [float((config.audit or {}).get("max_share", 1.0))]
    if before is not None:
        limits.append(before + config.checks.flagged_rise)
    most = min(limits)
    return CheckResult(name=FLAGGED, found=share, wanted=f"at most {most:.4g}", passed=share <= most)

"""Plan and outcome of a run to its EncodeReport."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from pinembed.jobs.encode.backend import BackendOfRun
from pinembed.jobs.encode.plan import Plan
from pinembed.jobs.encode.run import Tally
from pinembed.jobs.encode.settings import EncodeSettings
from pinembed.nouns.encode_report import EncodeReport, EncodeStages, FailedImage

SHOWN_FAILURES = 20


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a plan: what was counted, and how the table stands.

    Attributes:
        tally: what was done.
        rows: of the table.
        backend: of the encoder; None where there was nothing to encode.
        write_s: commits.
        pipeline_s: from the first image to the last commit, without loading the encoder and measuring backends.
    """

    tally: Tally
    rows: int
    backend: BackendOfRun | None = None
    write_s: float = 0.0
    pipeline_s: float = 0.0


def make_report(
    settings: EncodeSettings, plan: Plan, outcome: Outcome, *, scan_s: float, seconds: float, dry_run: bool
) -> EncodeReport:
    """What the run did, for people and scripts."""
    tally = outcome.tally
    failures = [*plan.failures, *plan.not_retried, *tally.failures]
    return EncodeReport(
        table=str(settings.address),
        encoder=settings.spec.architecture,
        fingerprint=settings.spec.fingerprint,
        added=tally.added,
        updated=tally.updated,
        unchanged=plan.unchanged,
        duplicate=tally.duplicate,
        failed=len(failures),
        removed=len(plan.gone),
        rows=outcome.rows,
        encoded=tally.encoded,
        seconds=seconds,
        images_per_s=tally.encoded / outcome.pipeline_s if outcome.pipeline_s else 0.0,
        stages=_stages(outcome, scan_s),
        failures=dict(sorted(Counter(failure.reason for failure in failures).items())),
        failed_images=tuple(
            FailedImage(id=failure.id, reason=failure.reason, message=failure.message)
            for failure in failures[:SHOWN_FAILURES]
        ),
        not_retried=len(plan.not_retried),
        backend=outcome.backend.name if outcome.backend else "",
        dry_run=dry_run,
        max_failure_rate=settings.max_failure_rate,
    )


def _stages(outcome: Outcome, scan_s: float) -> EncodeStages:
    return EncodeStages(
        scan=scan_s,
        decode=outcome.tally.decode_s,
        load=outcome.backend.load_s if outcome.backend else 0.0,
        calibrate=outcome.backend.calibrate_s if outcome.backend else 0.0,
        encode=outcome.tally.encode_s,
        wait=outcome.tally.wait_s,
        write=outcome.write_s,
    )

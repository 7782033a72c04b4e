"""How a run went: its EncodeReport, and its record in the runs table."""

from __future__ import annotations

import dataclasses
import os
import socket
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone

from pinembed.encoding.backend import BackendOfRun
from pinembed.encoding.pipeline import Counters
from pinembed.encoding.plan import Plan
from pinembed.encoding.target import EncodeTarget
from pinembed.errors import PinembedError, StoppedError, TableError
from pinembed.nouns.run_record import DONE, FAILED, STOPPED, TOO_MANY_FAILURES, RunRecord
from pinembed.reports.encode import EncodeReport, EncodeStages, FailedImage
from pinembed.settings.encoding import EncodeSettings
from pinembed.table.embedding_table import table_exists
from pinembed.table.side_tables import COUNTS, RunTable
from pinembed.version import __version__

SHOWN_FAILURES = 20


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a plan: what was counted, and how the table stands.

    Attributes:
        counters: what was done.
        rows: of the table.
        backend: of the encoder; None where there was nothing to encode.
        write_s: commits.
        pipeline_s: from the first image to the last commit, without loading the encoder and measuring backends.
    """

    counters: Counters
    rows: int
    backend: BackendOfRun | None = None
    write_s: float = 0.0
    pipeline_s: float = 0.0


def make_report(
    settings: EncodeSettings,
    target: EncodeTarget,
    plan: Plan,
    outcome: Outcome,
    *,
    scan_s: float,
    seconds: float,
) -> EncodeReport:
    """What the run did, for people and scripts."""
    counters = outcome.counters
    failures = [*plan.failures, *plan.not_retried, *counters.failures]
    return EncodeReport(
        table=str(target.address),
        encoder=target.spec.architecture,
        fingerprint=target.spec.fingerprint,
        added=counters.added,
        updated=counters.updated,
        unchanged=plan.unchanged,
        duplicate=counters.duplicate,
        failed=len(failures),
        removed=len(plan.gone),
        rows=outcome.rows,
        encoded=counters.encoded,
        seconds=seconds,
        images_per_s=counters.encoded / outcome.pipeline_s if outcome.pipeline_s else 0.0,
        stages=_stages(outcome, scan_s),
        failures=dict(sorted(Counter(failure.reason for failure in failures).items())),
        failed_images=tuple(
            FailedImage(id=failure.id, reason=failure.reason, message=failure.message)
            for failure in failures[:SHOWN_FAILURES]
        ),
        not_retried=len(plan.not_retried),
        backend=outcome.backend.name if outcome.backend else "",
        dry_run=settings.dry_run,
        max_failure_rate=settings.max_failure_rate,
    )


def _stages(outcome: Outcome, scan_s: float) -> EncodeStages:
    return EncodeStages(
        scan=scan_s,
        decode=outcome.counters.decode_s,
        load=outcome.backend.load_s if outcome.backend else 0.0,
        calibrate=outcome.backend.calibrate_s if outcome.backend else 0.0,
        encode=outcome.counters.encode_s,
        wait=outcome.counters.wait_s,
        write=outcome.write_s,
    )


class RunHistory:
    """The record of one run; the caller holds the run lock.

    Args:
        settings: what was asked for.
        target: where it goes.

    Attributes:
        counters: what the run has done so far, so that one that is stopped can tell.
    """

    def __init__(self, settings: EncodeSettings, target: EncodeTarget) -> None:
        self.counters = Counters()
        self._address = target.address
        self._started_s = time.perf_counter()
        self._table: RunTable | None = None
        self._run = RunRecord(
            run=uuid.uuid4().hex,
            started_at=datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
            host=socket.gethostname(),
            pid=os.getpid(),
            version=__version__,
            images=os.path.abspath(settings.images),  # noqa: PTH100  (resolve() would follow the mount's links)
            fingerprint=target.spec.fingerprint,
            reduced_decode=settings.reduced_decode,
        )

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Note the run from here on, and the error that ends it; a first run that fails early leaves nothing behind.

        Raises:
            TableError: the table cannot be written.
        """
        if table_exists(self._address):
            self.begin()
        try:
            yield
        except StoppedError as error:
            self._give_up(dataclasses.replace(self._so_far(), ending=STOPPED, message=error.message))
            raise
        except PinembedError as error:
            self._give_up(dataclasses.replace(self._run, ending=FAILED, message=error.message))
            raise

    def begin(self) -> None:
        """Write down that the run has begun, once.

        Raises:
            TableError: the table cannot be written.
        """
        if self._table is None:
            self._table = RunTable(self._address)
            self._table.begin(self._run)

    def finish(self, report: EncodeReport) -> None:
        """Write down what the run did.

        Raises:
            TableError: the table cannot be written.
        """
        counts = {name: getattr(report, name) for name in COUNTS}
        ending = TOO_MANY_FAILURES if report.exit_code else DONE
        self._end(dataclasses.replace(self._run, ending=ending, backend=report.backend, **counts))

    def _so_far(self) -> RunRecord:
        counters = self.counters
        return dataclasses.replace(
            self._run,
            added=counters.added,
            updated=counters.updated,
            duplicate=counters.duplicate,
            failed=len(counters.failures),
            encoded=counters.encoded,
        )

    def _give_up(self, run: RunRecord) -> None:
        with suppress(TableError):  # what ended the run is what the user should hear of
            self._end(run)

    def _end(self, run: RunRecord) -> None:
        if self._table is not None:
            self._table.end(dataclasses.replace(run, seconds=time.perf_counter() - self._started_s))

"""RunHistory: writes down in the runs table that a run began, and how it ended."""

from __future__ import annotations

import dataclasses
import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone

from pinembed.errors import PinembedError, StoppedError, TableError
from pinembed.jobs.encode.run import Tally
from pinembed.jobs.encode.settings import EncodeSettings
from pinembed.nouns.encode_report import EncodeReport
from pinembed.nouns.run_record import DONE, FAILED, STOPPED, TOO_MANY_FAILURES, RunRecord
from pinembed.table.embedding_table import table_exists
from pinembed.table.runs import COUNTS, RunTable
from pinembed.version import __version__


class RunHistory:
    """The record of one run; the caller holds the run lock.

    Args:
        settings: of the run.

    Attributes:
        tally: what the run has done so far, so that one that is stopped can tell.
    """

    def __init__(self, settings: EncodeSettings) -> None:
        self.tally = Tally()
        self._address = settings.address
        self._started_s = time.perf_counter()
        self._table: RunTable | None = None
        self._run = RunRecord(
            run=uuid.uuid4().hex,
            started_at=datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
            host=socket.gethostname(),
            pid=os.getpid(),
            version=__version__,
            images=os.path.abspath(settings.choice.images),  # noqa: PTH100  (resolve() would follow the mount's links)
            fingerprint=settings.spec.fingerprint,
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
        tally = self.tally
        return dataclasses.replace(
            self._run,
            added=tally.added,
            updated=tally.updated,
            duplicate=tally.duplicate,
            failed=len(tally.failures),
            encoded=tally.encoded,
        )

    def _give_up(self, run: RunRecord) -> None:
        with suppress(TableError):  # what ended the run is what the user should hear of
            self._end(run)

    def _end(self, run: RunRecord) -> None:
        if self._table is not None:
            self._table.end(dataclasses.replace(run, seconds=time.perf_counter() - self._started_s))

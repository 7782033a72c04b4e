"""The record of one run in the runs table: that it has begun, and how it ended."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pinembed.encoding.target import EncodeTarget
from pinembed.errors import PinembedError, StoppedError, TableError
from pinembed.nouns.run_record import DONE, FAILED, STOPPED, TOO_MANY_FAILURES, Counts, RunRecord
from pinembed.reports.encode import EncodeReport
from pinembed.settings.encoding import EncodeSettings
from pinembed.stores.address import absolute_place
from pinembed.table.side_tables import Tables


class RunHistory:
    """The record of one run; the caller holds the run lock.

    Args:
        settings: what was asked for.
        target: where it goes.
        tables: that it is about.

    Attributes:
        counts: what the run has done so far, so that one that is stopped can tell.
    """

    def __init__(self, settings: EncodeSettings, target: EncodeTarget, tables: Tables) -> None:
        self.counts = Counts()
        self._tables = tables
        self._started_s = time.perf_counter()
        self._has_begun = False
        self._run = RunRecord(
            images=absolute_place(settings.images),
            fingerprint=target.spec.fingerprint,
            reduced_decode=settings.reduced_decode,
        )

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Note the run from here on, and the error that ends it; a first run that fails early leaves nothing behind.

        Raises:
            TableError: the table cannot be written.
        """
        if self._tables.embeddings is not None:
            self.begin()
        try:
            yield
        except StoppedError as error:
            self._give_up(dataclasses.replace(self._run, ending=STOPPED, message=error.message, counts=self.counts))
            raise
        except PinembedError as error:
            self._give_up(dataclasses.replace(self._run, ending=FAILED, message=error.message))
            raise

    def begin(self) -> None:
        """Write down that the run has begun, once.

        Raises:
            TableError: the table cannot be written.
        """
        if not self._has_begun:
            self._has_begun = True
            self._tables.runs.begin(self._run)

    def finish(self, report: EncodeReport, *, folder: str, disk: int | None) -> None:
        """Write down what the run did, and on which disk it found its folder.

        Raises:
            TableError: the table cannot be written.
        """
        ending = TOO_MANY_FAILURES if report.exit_code else DONE
        ended = dataclasses.replace(self._run, ending=ending, backend=report.backend, counts=report.counts)
        self._end(dataclasses.replace(ended, folder=folder, disk=disk))

    def _give_up(self, run: RunRecord) -> None:
        with suppress(TableError):  # what ended the run is what the user should hear of
            self._end(run)

    def _end(self, run: RunRecord) -> None:
        if self._has_begun:
            self._tables.runs.end(dataclasses.replace(run, seconds=time.perf_counter() - self._started_s))

"""TableWriter: rows to an embedding table in whole commits, new ones appended and changed ones merged."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from pinembed.nouns.failure import Failure
from pinembed.table.append import append_fragments, write_rows
from pinembed.table.embedding_table import EmbeddingTable
from pinembed.table.quality_tables import MeasureTable
from pinembed.table.rows import ArrowRows, EmbeddingRow, Fuse
from pinembed.table.side_tables import FailureTable
from pinembed.table.whole import committing


class TableWriter:
    """Collects rows and failures and commits them by rows or seconds; call `flush` at the end.

    Args:
        table: to write to; the caller holds its run lock.
        failures: of the same table.
        commit_rows: at most this many rows wait for a commit.
        commit_s: at most this long.
        measures: of the same table; not needed where no row brings any.
        fuse: as for ArrowRows.
    """

    def __init__(
        self,
        table: EmbeddingTable,
        failures: FailureTable,
        *,
        commit_rows: int,
        commit_s: float,
        measures: MeasureTable | None = None,
        fuse: Fuse | None = None,
    ) -> None:
        self._arrow_rows = ArrowRows(table, fuse)
        self._table = table
        self._failures = failures
        self._measures = measures
        self._commit_rows = commit_rows
        self._commit_s = commit_s
        self._rows: list[EmbeddingRow] = []
        self._failed: list[Failure] = []
        self._first_waits_since_s = 0.0
        self.seconds = 0.0

    def add(self, row: EmbeddingRow) -> None:
        """Take a row; commits when enough wait."""
        self._wait(self._rows, row)

    def fail(self, failure: Failure) -> None:
        """Take a failure; commits when enough wait."""
        self._wait(self._failed, failure)

    def flush(self) -> None:
        """Commit what waits.

        Raises:
            TableError: the table cannot be written.
        """
        started_s = time.monotonic()
        rows, self._rows = self._rows, []
        failed, self._failed = self._failed, []
        if rows:
            self._store(rows)
            if self._measures is not None:
                self._measures.record({row.sha256: row.measures for row in rows if row.measures is not None})
        self._failures.record(failed)
        self.seconds += time.monotonic() - started_s

    def _wait(self, waiting: list[Any], one: Any) -> None:
        now_s = time.monotonic()
        if not self._rows and not self._failed:
            self._first_waits_since_s = now_s
        waiting.append(one)
        count = len(self._rows) + len(self._failed)
        if count >= self._commit_rows or now_s - self._first_waits_since_s >= self._commit_s:
            self.flush()

    def _store(self, rows: Sequence[EmbeddingRow]) -> None:
        contents = self._arrow_rows.brought(rows)
        contents |= self._arrow_rows.stored({row.sha256 for row in rows} - contents.keys())
        halves = ([row for row in rows if row.is_new], [row for row in rows if not row.is_new])
        new, changed = (self._arrow_rows.arrow(half, contents) if half else None for half in halves)
        if new is not None:
            append_fragments(self._table, write_rows(self._table, new), "pinembed encode")
        if changed is not None:
            with committing(self._table.address, self._table.dataset):
                merge = self._table.dataset.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
                merge.execute(changed)

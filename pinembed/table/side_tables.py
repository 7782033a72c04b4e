"""Tables beside the embedding table: NAME_failures, the images without an embedding, and NAME_runs, the runs of encode.

A run is written down when it begins and again when it ends, so that one that was killed is seen as such.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from typing import Any

import pyarrow as pa
from lance import write_dataset

from pinembed.nouns.failure import Failure
from pinembed.nouns.run_record import INTERRUPTED, RUNNING, RunRecord
from pinembed.table.address import TableAddress
from pinembed.table.embedding_table import id_conditions, open_if_there, reading, writing
from pinembed.table.schema import PRIMARY_KEY
from pinembed.table.upkeep import compact

FAILURES_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False, metadata=PRIMARY_KEY),
        pa.field("folder", pa.string()),
        pa.field("file_name", pa.string()),
        pa.field("size_bytes", pa.int64()),
        pa.field("mtime_ns", pa.int64()),
        pa.field("reason", pa.string()),
        pa.field("message", pa.string()),
        pa.field("failed_at", pa.timestamp("s", tz="UTC")),
    ]
)


class FailureTable:
    """The failures of one embedding table; exists once something has failed.

    Args:
        address: of the embedding table.
    """

    def __init__(self, address: TableAddress) -> None:
        self.address = address.failures
        self._dataset = open_if_there(self.address)

    def known(self) -> dict[str, Failure]:
        """All failures by item id."""
        if self._dataset is None:
            return {}
        columns = [name for name in FAILURES_SCHEMA.names if name != "failed_at"]
        with reading(self.address):
            rows = self._dataset.to_table(columns=columns).to_pylist()
        return {row["id"]: Failure(**row) for row in rows}

    def record(self, failures: Sequence[Failure]) -> None:
        """Store failures; a newer one of the same item takes the place of the older.

        Raises:
            TableError: the table cannot be written.
        """
        if not failures:
            return
        now = datetime.now(timezone.utc)
        latest = {failure.id: failure for failure in failures}
        rows = [
            {name: now if name == "failed_at" else getattr(failure, name) for name in FAILURES_SCHEMA.names}
            for failure in latest.values()
        ]
        with writing(self.address):
            if self._dataset is None:
                self._dataset = write_dataset(FAILURES_SCHEMA.empty_table(), self.address.uri, schema=FAILURES_SCHEMA)
            merge = self._dataset.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
            merge.execute(pa.Table.from_pylist(rows, schema=FAILURES_SCHEMA))

    def forget(self, ids: Iterable[str]) -> None:
        """Take out the items that have an embedding now, or that are gone.

        Raises:
            TableError: the table cannot be written.
        """
        if self._dataset is not None:
            with writing(self.address):
                for condition in id_conditions(sorted(ids)):
                    self._dataset.delete(condition)

    def tidy(self) -> None:
        """Join what many runs have left in pieces.

        Raises:
            TableError: the table cannot be written.
        """
        if self._dataset is not None:
            compact(self.address, self._dataset)


COUNTS = ("added", "updated", "unchanged", "duplicate", "failed", "removed", "rows", "encoded")
RUNS_SCHEMA = pa.schema(
    [
        pa.field("run", pa.string(), nullable=False, metadata=PRIMARY_KEY),
        *(pa.field(name, pa.string()) for name in ("started_at", "host")),
        pa.field("pid", pa.int64()),
        *(pa.field(name, pa.string()) for name in ("version", "images", "fingerprint")),
        pa.field("reduced_decode", pa.bool_()),
        *(pa.field(name, pa.string()) for name in ("ending", "message")),
        pa.field("seconds", pa.float64()),
        *(pa.field(name, pa.int64()) for name in COUNTS),
        pa.field("backend", pa.string()),
    ]
)


class RunTable:
    """The runs of one embedding table; exists once encode has written to it.

    Args:
        address: of the embedding table.
    """

    def __init__(self, address: TableAddress) -> None:
        self.address = address.runs
        self._dataset: Any = open_if_there(self.address)

    def begin(self, run: RunRecord) -> None:
        """Write down that a run has begun; the caller holds the run lock.

        Raises:
            TableError: the table cannot be written.
        """
        with writing(self.address):
            if self._dataset is None:
                self._dataset = write_dataset(RUNS_SCHEMA.empty_table(), self.address.uri, schema=RUNS_SCHEMA)
            self._dataset.insert(_run_rows(run))

    def end(self, run: RunRecord) -> None:
        """Write down how a run that has begun ended.

        Raises:
            TableError: the table cannot be written.
        """
        with writing(self.address):
            self._dataset.merge_insert("run").when_matched_update_all().execute(_run_rows(run))
        compact(self.address, self._dataset)

    def latest(self, count: int, *, is_running: bool) -> tuple[RunRecord, ...]:
        """The last runs, the newest first.

        Args:
            count: how many at most.
            is_running: somebody holds the run lock now; it is the newest run that has not ended.
        """
        if self._dataset is None:
            return ()
        with reading(self.address):
            rows = self._dataset.to_table(columns=RUNS_SCHEMA.names).sort_by([("started_at", "descending")])
        runs = [RunRecord(**row) for row in rows.slice(0, count).to_pylist()]
        return tuple(
            run if run.ending else dataclasses.replace(run, ending=RUNNING if is_running and not index else INTERRUPTED)
            for index, run in enumerate(runs)
        )


def _run_rows(run: RunRecord) -> pa.Table:
    return pa.Table.from_pylist([dataclasses.asdict(run)], schema=RUNS_SCHEMA)

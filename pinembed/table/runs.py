"""The runs table, NAME_runs beside NAME: when encode ran, what it did and how it ended.

A run is written down when it begins and again when it ends, so that one that was killed is seen as such.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import pyarrow as pa
from lance import write_dataset

from pinembed.nouns.run_record import INTERRUPTED, RUNNING, RunRecord
from pinembed.table.address import TableAddress
from pinembed.table.embedding_table import open_if_there, reading, writing
from pinembed.table.schema import PRIMARY_KEY
from pinembed.table.upkeep import compact

COUNTS = ("added", "updated", "unchanged", "duplicate", "failed", "removed", "rows", "encoded")
SCHEMA = pa.schema(
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
                self._dataset = write_dataset(SCHEMA.empty_table(), self.address.uri, schema=SCHEMA)
            self._dataset.insert(_rows(run))

    def end(self, run: RunRecord) -> None:
        """Write down how a run that has begun ended.

        Raises:
            TableError: the table cannot be written.
        """
        with writing(self.address):
            self._dataset.merge_insert("run").when_matched_update_all().execute(_rows(run))
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
            rows = self._dataset.to_table(columns=SCHEMA.names).sort_by([("started_at", "descending")])
        runs = [RunRecord(**row) for row in rows.slice(0, count).to_pylist()]
        return tuple(
            run if run.ending else dataclasses.replace(run, ending=RUNNING if is_running and not place else INTERRUPTED)
            for place, run in enumerate(runs)
        )


def _rows(run: RunRecord) -> pa.Table:
    return pa.Table.from_pylist([dataclasses.asdict(run)], schema=SCHEMA)

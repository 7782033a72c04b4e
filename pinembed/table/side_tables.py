"""Tables beside the embedding table: NAME_failures, the images without an embedding, and NAME_runs, the runs of encode.

A run is written down when it begins and again when it ends, so that one that was killed is seen as such.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from functools import cached_property
from typing import Any

import pyarrow as pa
from lance import LanceDataset

from pinembed.nouns.failure import Failure
from pinembed.nouns.run_record import COUNTS, INTERRUPTED, RUNNING, RunRecord
from pinembed.table.address import TableAddress
from pinembed.table.embedding_table import EmbeddingTable, id_conditions, new_dataset, open_if_there, reading, writing
from pinembed.table.schema import PRIMARY_KEY
from pinembed.table.upkeep import compact
from pinembed.table.whole import committing


class SideTable:
    """Records beside an embedding table, by a key; the table is made when the first of them is written.

    Whoever writes holds the run lock of the embedding table.

    Args:
        address: of the side table.
        schema: of its columns; the first one is the key, of strings.
    """

    def __init__(self, address: TableAddress, schema: pa.Schema) -> None:
        self.address = address
        self.schema = schema
        self._key = schema.names[0]
        self.dataset: LanceDataset | None = open_if_there(address)

    def read(self, columns: Sequence[str] | None = None, *, where: str | None = None) -> pa.Table:
        """All records, or those that an SQL condition picks, in no particular order.

        Raises:
            TableError: the table cannot be read.
        """
        names = list(columns or self.schema.names)
        if self.dataset is None:
            return self.schema.empty_table().select(names)
        with reading(self.address):
            lacking = {field.name for field in self._lacking()}
            held = self.dataset.to_table(columns=[name for name in names if name not in lacking], filter=where)
        if lacking.isdisjoint(names):
            return held
        return pa.concat_tables([self.schema.empty_table().select(names), held], promote_options="default")

    def _lacking(self) -> list[pa.Field]:
        """Columns that came after the table was made."""
        return [] if self.dataset is None else [f for f in self.schema if f.name not in self.dataset.schema.names]

    def upsert(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Store records; one whose key is there takes the place of the older.

        Raises:
            TableError: the table cannot be written.
        """
        if records:
            self.upsert_rows(pa.Table.from_pylist(list(records), schema=self.schema))

    def upsert_rows(self, rows: pa.Table) -> None:
        """As `upsert`, of records in columns.

        Raises:
            TableError: the table cannot be written.
        """
        if not rows.num_rows:
            return
        dataset = self.begun()
        with committing(self.address, dataset):
            if lacking := self._lacking():
                dataset.add_columns(pa.schema(lacking))
            dataset.merge_insert(self._key).when_matched_update_all().when_not_matched_insert_all().execute(rows)

    def begun(self) -> LanceDataset:
        """The table, empty where there was none: a first commit that is cut short leaves that one."""
        if self.dataset is None:
            self.dataset = new_dataset(self.address, self.schema)
        return self.dataset

    def delete(self, keys: Iterable[str]) -> None:
        """Take records out, as far as they are there.

        Raises:
            TableError: the table cannot be written.
        """
        if self.dataset is not None:
            with writing(self.address):
                for condition in id_conditions(sorted(keys), self._key):
                    self.dataset.delete(condition)

    def compact(self) -> bool:
        """Join what many runs have left in pieces; whether there was anything to join.

        Raises:
            TableError: the table cannot be written.
        """
        return self.dataset is not None and compact(self.address, self.dataset)


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


class FailureTable(SideTable):
    """The failures of one embedding table; exists once something has failed.

    Args:
        address: of the embedding table.
    """

    def __init__(self, address: TableAddress) -> None:
        super().__init__(address.failures, FAILURES_SCHEMA)

    def known(self) -> dict[str, Failure]:
        """All failures by item id."""
        return {row["id"]: Failure(**row) for row in self.read().drop_columns("failed_at").to_pylist()}

    def record(self, failures: Iterable[Failure]) -> None:
        """Store failures; a newer one of the same item takes the place of the older.

        Raises:
            TableError: the table cannot be written.
        """
        now = datetime.now(timezone.utc)
        latest = {failure.id: failure for failure in failures}
        self.upsert([dataclasses.asdict(failure) | {"failed_at": now} for failure in latest.values()])


RUN_FIELDS = (
    # no primary key: nobody else writes a run's row, and Lance keeps 66 KB of filters for each merge by such a key
    pa.field("run", pa.string(), nullable=False),
    *(pa.field(name, pa.string()) for name in ("started_at", "host", "version", "ending", "message")),
    pa.field("pid", pa.int64()),
    pa.field("seconds", pa.float64()),
    *(pa.field(name, pa.int64()) for name in COUNTS),
)
"""Of every kind of Run."""
RUNS_SCHEMA = pa.schema(
    [
        *RUN_FIELDS,
        *(pa.field(name, pa.string()) for name in ("images", "fingerprint", "backend", "folder")),
        pa.field("reduced_decode", pa.bool_()),
        pa.field("disk", pa.int64()),
    ]
)


class RunTable(SideTable):
    """The runs of one embedding table; exists once encode has written to it.

    Args:
        address: of the embedding table.
    """

    def __init__(self, address: TableAddress) -> None:
        super().__init__(address.runs, RUNS_SCHEMA)

    def begin(self, run: RunRecord) -> None:
        """Write down that a run has begun.

        Raises:
            TableError: the table cannot be written.
        """
        self.upsert([run.to_json()])

    def end(self, run: RunRecord) -> None:
        """Write down how a run that has begun ended.

        Raises:
            TableError: the table cannot be written.
        """
        self.upsert([run.to_json()])
        self.compact()

    def disks(self) -> dict[str, int]:
        """On which disk each folder was, as the latest run over it that could tell has found."""
        rows = self.read().sort_by("started_at").to_pylist()
        return {row["folder"]: row["disk"] for row in rows if row["disk"] is not None}

    def latest(self, count: int, *, is_running: bool) -> tuple[RunRecord, ...]:
        """The last runs, the newest first.

        Args:
            count: how many at most.
            is_running: somebody holds the run lock now; it is the newest run that has not ended.
        """
        rows = self.read().sort_by([("started_at", "descending")])
        runs = [RunRecord.from_json(row) for row in rows.slice(0, count).to_pylist()]
        return tuple(
            run if run.ending else dataclasses.replace(run, ending=RUNNING if is_running and not index else INTERRUPTED)
            for index, run in enumerate(runs)
        )


class Tables:
    """An embedding table and the two beside it, each opened once for a run, when it is first needed.

    Args:
        address: of the embedding table.

    Attributes:
        embeddings: None where there is no such table yet.

    Raises:
        TableError: the embedding table cannot be opened.
    """

    def __init__(self, address: TableAddress) -> None:
        self.address = address
        self.embeddings = EmbeddingTable.find(address)

    @cached_property
    def failures(self) -> FailureTable:
        return FailureTable(self.address)

    @cached_property
    def runs(self) -> RunTable:
        return RunTable(self.address)

    def catch_up(self) -> None:
        """Take in what another run may have committed before this one got the run lock.

        Raises:
            TableError: the embedding table cannot be read.
        """
        if self.embeddings is None:
            self.embeddings = EmbeddingTable.find(self.address)
        else:
            with reading(self.address):
                self.embeddings.dataset.checkout_latest()

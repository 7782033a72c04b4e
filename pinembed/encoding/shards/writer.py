"""ShardWriter: the rows of one shard to fragments that nobody sees yet, and everything else to its receipt."""

from __future__ import annotations

import hashlib
import json
import time

import pyarrow as pa
from lance.fragment import FragmentMetadata

from pinembed.nouns.failure import Failure
from pinembed.table.append import write_rows
from pinembed.table.embedding_table import EmbeddingTable
from pinembed.table.quality_tables import measured_rows
from pinembed.table.rows import ArrowRows, EmbeddingRow, Fuse


def table_identity(table: EmbeddingTable) -> str:
    """A digest of the table's columns and encoder: fragments that were written for others do not fit."""
    columns = sorted((field.name, str(field.type)) for field in table.schema)
    return hashlib.sha256(json.dumps([table.spec.fingerprint, columns]).encode()).hexdigest()[:32]


class ShardWriter:
    """Takes the rows of one shard as a TableWriter does.

    Args:
        table: to write for; it is not changed.
        fuse: as for ArrowRows.

    Attributes:
        added: fragments of the new rows, after `finish`.
        changed: fragments of the rows that take the place of others, after `finish`.
        copied: rows whose vector the table has, by id.
        failures: of the shard.
        seconds: spent in writing.
    """

    def __init__(self, table: EmbeddingTable, *, fuse: Fuse | None = None) -> None:
        self._table = table
        self._arrow_rows = ArrowRows(table, fuse)
        self._rows: list[EmbeddingRow] = []
        self.added: tuple[FragmentMetadata, ...] = ()
        self.changed: tuple[FragmentMetadata, ...] = ()
        self.copied: list[EmbeddingRow] = []
        self.failures: list[Failure] = []
        self.seconds = 0.0

    def add(self, row: EmbeddingRow) -> None:
        """Take a row."""
        self._rows.append(row)

    def fail(self, failure: Failure) -> None:
        """Take a failure."""
        self.failures.append(failure)

    def finish(self) -> None:
        """Write the fragments.

        Raises:
            TableError: they cannot be written.
        """
        started_s = time.monotonic()
        contents = self._arrow_rows.brought(self._rows)
        self.copied = [row for row in self._rows if row.sha256 not in contents]
        made = [row for row in self._rows if row.sha256 in contents]
        halves = ([row for row in made if row.is_new], [row for row in made if not row.is_new])
        self.added, self.changed = (
            write_rows(self._table, self._arrow_rows.arrow(half, contents)) if half else () for half in halves
        )
        self.seconds += time.monotonic() - started_s

    def measures(self) -> bytes:
        """What was measured, as a receipt keeps it."""
        measured = {row.sha256: row.measures for row in self._rows if row.measures is not None}
        if not measured:
            return b""
        rows = measured_rows(measured)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, rows.schema) as stream:
            stream.write_table(rows)
        return bytes(sink.getvalue().to_pybytes())

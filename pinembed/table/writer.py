"""TableWriter: rows to an embedding table in whole commits, new ones appended and changed ones merged."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pinembed.errors import TableError
from pinembed.table.embedding_table import EmbeddingTable, id_conditions, reading, writing
from pinembed.table.failures import Failure, FailureTable
from pinembed.table.schema import OWN_COLUMNS, VECTOR


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbeddingRow:
    """One row to store.

    Attributes:
        id: of the item.
        folder: the IMAGES folder, absolute.
        file_name: relative to `folder`.
        sha256: of the file's bytes.
        size_bytes: of the file.
        mtime_ns: of the file.
        width_px: of the upright picture; not used where `vector_D` is None.
        height_px: of the upright picture; not used where `vector_D` is None.
        fields: metadata columns, `split` among them.
        vector_D: float32 of norm 1; None takes the vector of a stored row with the same content.
        is_new: the table holds no row of this id.
    """

    id: str
    folder: str
    file_name: str
    sha256: str
    size_bytes: int
    mtime_ns: int
    width_px: int
    height_px: int
    fields: Mapping[str, Any]
    vector_D: NDArray[np.float32] | None
    is_new: bool


@dataclass(frozen=True, slots=True)
class _Picture:
    width_px: int
    height_px: int
    vector_D: NDArray[np.float16]


class TableWriter:
    """Collects rows and failures and commits them by rows or seconds; call `flush` at the end.

    Args:
        table: to write to; the caller holds its run lock.
        failures: of the same table.
        commit_rows: at most this many rows wait for a commit.
        commit_s: at most this long.
    """

    def __init__(self, table: EmbeddingTable, failures: FailureTable, *, commit_rows: int, commit_s: float) -> None:
        self._table = table
        self._failures = failures
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
        pictures = self._pictures(rows)
        new = [row for row in rows if row.is_new]
        changed = [row for row in rows if not row.is_new]
        with writing(self._table.address):
            if new:
                self._table.lance.add(self._arrow(new, pictures))
            if changed:
                merge = self._table.lance.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
                merge.execute(self._arrow(changed, pictures))

    def _pictures(self, rows: Sequence[EmbeddingRow]) -> dict[str, _Picture]:
        """Size and vector by content: those of these rows, and out of the table what they lack."""
        pictures = {
            row.sha256: _Picture(row.width_px, row.height_px, row.vector_D.astype(np.float16))
            for row in rows
            if row.vector_D is not None
        }
        lacking = sorted({row.sha256 for row in rows} - pictures.keys())
        columns = ["sha256", "width_px", "height_px", VECTOR]
        for condition in id_conditions(lacking, "sha256"):
            with reading(self._table.address):
                found = self._table.lance.to_lance().to_table(columns=columns, filter=condition)
            vectors_BD = found[VECTOR].combine_chunks().flatten().to_numpy().reshape(found.num_rows, -1)
            described = zip(*(found[name].to_pylist() for name in columns[:3]), strict=True)
            for vector_D, (sha256, width_px, height_px) in zip(vectors_BD, described, strict=True):
                pictures[sha256] = _Picture(width_px, height_px, vector_D)
        return pictures

    def _arrow(self, rows: Sequence[EmbeddingRow], pictures: Mapping[str, _Picture]) -> pa.Table:
        """Rows as the table's schema wants them."""
        schema = self._table.schema
        described = [pictures[row.sha256] for row in rows]
        columns = []
        for field in schema:
            if field.name == VECTOR:
                flat = pa.array(np.concatenate([picture.vector_D for picture in described]))
                column: pa.Array = pa.FixedSizeListArray.from_arrays(flat, self._table.spec.dim)
            elif field.name in ("width_px", "height_px"):
                column = pa.array([getattr(picture, field.name) for picture in described], field.type)
            elif field.name in OWN_COLUMNS:
                column = pa.array([getattr(row, field.name) for row in rows], field.type)
            else:
                column = _cast([row.fields.get(field.name) for row in rows], field)
            columns.append(column)
        return pa.Table.from_arrays(columns, schema=schema)


def _cast(values: list[Any], field: pa.Field) -> pa.Array:
    try:
        return pa.array(values, field.type)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise TableError(
            f"The metadata column {field.name} has values that are no {field.type}: {error}.",
            remedy="Correct the metadata file.",
        ) from error

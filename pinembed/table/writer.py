"""TableWriter: rows to an embedding table in whole commits, new ones appended and changed ones merged."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pinembed.errors import TableError
from pinembed.nouns.failure import Failure
from pinembed.nouns.measures import ImageMeasures
from pinembed.table.embedding_table import EmbeddingTable, id_conditions, reading
from pinembed.table.quality_tables import MeasureTable
from pinembed.table.schema import IMAGE_VECTOR, OWN_COLUMNS, VECTOR
from pinembed.table.side_tables import FailureTable
from pinembed.table.whole import committing

NUMPY_DTYPES = {"fp16": np.float16, "fp32": np.float32}
Vector = NDArray[np.floating[Any]]
"""As the table stores it."""
Content = tuple[int, int, Vector]
"""What a content gives, whatever item it belongs to: width_px, height_px and its vector."""
Fuse = Callable[[Sequence[Mapping[str, Any]], NDArray[np.float32]], NDArray[np.float32]]
"""Metadata of N items and their image embeddings (N, D) to item vectors (N, D)."""


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
        vector_D: of the image, float32 of norm 1; None takes that of a stored row with the same content.
        is_new: the table holds no row of this id.
        measures: of the content; None where it was not measured now.
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
    measures: ImageMeasures | None = None


class TableWriter:
    """Collects rows and failures and commits them by rows or seconds; call `flush` at the end.

    Args:
        table: to write to; the caller holds its run lock.
        failures: of the same table.
        commit_rows: at most this many rows wait for a commit.
        commit_s: at most this long.
        measures: of the same table; not needed where no row brings any.
        fuse: makes item vectors; wanted where the table's encoder fuses. It sees image embeddings as they are stored,
            so that an item's vector depends on content and metadata alone, not on the run that met the content first.
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
        self._fusion = table.spec.fusion
        self._fuse = fuse
        if (self._fusion is None) != (fuse is None):
            raise ValueError("a table needs a way to fuse exactly where its encoder does")
        self._table = table
        self._dtype = NUMPY_DTYPES[table.dtype]
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
        contents = self._contents(rows)
        halves = ([row for row in rows if row.is_new], [row for row in rows if not row.is_new])
        new, changed = (self._arrow(half, contents) if half else None for half in halves)
        with committing(self._table.address, self._table.dataset):
            if new is not None:
                self._table.dataset.insert(new)
            if changed is not None:
                merge = self._table.dataset.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
                merge.execute(changed)

    def _contents(self, rows: Sequence[EmbeddingRow]) -> dict[str, Content]:
        """Size and vector by content: those of these rows, and out of the table what they lack."""
        contents: dict[str, Content] = {
            row.sha256: (row.width_px, row.height_px, row.vector_D.astype(self._dtype))
            for row in rows
            if row.vector_D is not None
        }
        lacking = sorted({row.sha256 for row in rows} - contents.keys())
        content_vector = VECTOR if self._fusion is None else IMAGE_VECTOR
        columns = ["sha256", "width_px", "height_px", content_vector]
        for condition in id_conditions(lacking, "sha256"):
            with reading(self._table.address):
                found = self._table.dataset.to_table(columns=columns, filter=condition)
            vectors_BD = _matrix(found, content_vector)
            described = zip(*(found[name].to_pylist() for name in columns[:3]), strict=True)
            for vector_D, (sha256, width_px, height_px) in zip(vectors_BD, described, strict=True):
                contents[sha256] = (width_px, height_px, vector_D)
        return contents

    def _arrow(self, rows: Sequence[EmbeddingRow], contents: Mapping[str, Content]) -> pa.Table:
        """Rows as the table's schema wants them."""
        schema = self._table.schema
        widths_px, heights_px, vectors_D = zip(*(contents[row.sha256] for row in rows), strict=True)
        sizes_px = {"width_px": widths_px, "height_px": heights_px}
        dim = self._table.spec.dim
        vectors = self._vectors(rows, np.stack(vectors_D))
        columns = []
        for field in schema:
            if field.name in vectors:
                column: pa.Array = pa.FixedSizeListArray.from_arrays(pa.array(vectors[field.name].ravel()), dim)
            elif field.name in sizes_px:
                column = pa.array(sizes_px[field.name], field.type)
            elif field.name in OWN_COLUMNS:
                column = pa.array([getattr(row, field.name) for row in rows], field.type)
            else:
                column = _cast([row.fields.get(field.name) for row in rows], field)
            columns.append(column)
        return pa.Table.from_arrays(columns, schema=schema)

    def _vectors(self, rows: Sequence[EmbeddingRow], image_ND: Vector) -> dict[str, Vector]:
        """The table's vector columns."""
        if self._fuse is None:
            return {VECTOR: image_ND}
        item_ND = np.empty_like(image_ND)
        known = self._known_items([row for row in rows if not row.is_new and row.vector_D is None])
        wanted = [index for index, row in enumerate(rows) if row.id not in known]
        if wanted:
            fields = [rows[index].fields for index in wanted]
            item_ND[wanted] = self._fuse(fields, image_ND[wanted].astype(np.float32)).astype(self._dtype)
        for index, row in enumerate(rows):
            if row.id in known:
                item_ND[index] = known[row.id]
        return {IMAGE_VECTOR: image_ND, VECTOR: item_ND}

    def _known_items(self, rows: Sequence[EmbeddingRow]) -> dict[str, Vector]:
        """Vectors of stored items whose content and fused texts are what they were: a new price changes nothing."""
        assert self._fusion is not None
        by_id = {row.id: row for row in rows}
        names = [name for name in self._fusion.names if name in self._table.schema.names]
        known = {}
        for condition in id_conditions(sorted(by_id)):
            with reading(self._table.address):
                found = self._table.dataset.to_table(columns=["id", "sha256", *names, VECTOR], filter=condition)
            stored = zip(found["id"].to_pylist(), found["sha256"].to_pylist(), _matrix(found, VECTOR), strict=True)
            texts = {name: found[name].to_pylist() for name in names}
            for index, (item_id, sha256, vector_D) in enumerate(stored):
                row = by_id[item_id]
                is_same = all(texts[name][index] == row.fields.get(name) for name in names)
                if sha256 == row.sha256 and is_same:
                    known[item_id] = vector_D
        return known


def _matrix(found: pa.Table, column: str) -> Vector:
    flat: Vector = found[column].combine_chunks().flatten().to_numpy()
    return flat.reshape(-1, found.schema.field(column).type.list_size)


def _cast(values: list[Any], field: pa.Field) -> pa.Array:
    try:
        return pa.array(values, field.type)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise TableError(
            f"The metadata column {field.name} has values that are no {field.type}: {error}.",
            remedy="Correct the metadata file.",
        ) from error

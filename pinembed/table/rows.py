"""Rows to store, and how they become Arrow as the schema of a table wants them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pinembed.nouns.measures import ImageMeasures
from pinembed.table.embedding_table import EmbeddingTable, id_conditions, reading
from pinembed.table.schema import IMAGE_VECTOR, OWN_COLUMNS, VECTOR, column_of

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
        fields: metadata columns, `split` among them.
        is_new: the table holds no row of this id.
        width_px: of the upright picture; not used where `vector_D` is None. `height_px` alike.
        vector_D: of the image, float32 of norm 1; None takes that of a stored row with the same content.
        measures: of the content; None where it was not measured now.
    """

    id: str
    folder: str
    file_name: str
    sha256: str
    size_bytes: int
    mtime_ns: int
    fields: Mapping[str, Any]
    is_new: bool
    width_px: int = 0
    height_px: int = 0
    vector_D: NDArray[np.float32] | None = None
    measures: ImageMeasures | None = None


class ArrowRows:
    """Makes Arrow tables of rows.

    Args:
        table: that they are for.
        fuse: makes item vectors; wanted where the table's encoder fuses. It sees image embeddings as they are stored,
            so that an item's vector depends on content and metadata alone, not on the run that met the content first.
    """

    def __init__(self, table: EmbeddingTable, fuse: Fuse | None) -> None:
        self._fusion = table.spec.fusion
        self._fuse = fuse
        if (self._fusion is None) != (fuse is None):
            raise ValueError("a table needs a way to fuse exactly where its encoder does")
        self._table = table
        self._dtype = NUMPY_DTYPES[table.dtype]

    def brought(self, rows: Iterable[EmbeddingRow]) -> dict[str, Content]:
        """Size and vector of the contents that these rows bring, by sha256."""
        return {
            row.sha256: (row.width_px, row.height_px, row.vector_D.astype(self._dtype))
            for row in rows
            if row.vector_D is not None
        }

    def stored(self, sha256s: Iterable[str]) -> dict[str, Content]:
        """Size and vector of contents out of the table."""
        contents: dict[str, Content] = {}
        content_vector = VECTOR if self._fusion is None else IMAGE_VECTOR
        columns = ["sha256", "width_px", "height_px", content_vector]
        for condition in id_conditions(sorted(sha256s), "sha256"):
            with reading(self._table.address):
                found = self._table.dataset.to_table(columns=columns, filter=condition)
            vectors_BD = _matrix(found, content_vector)
            described = zip(*(found[name].to_pylist() for name in columns[:3]), strict=True)
            for vector_D, (sha256, width_px, height_px) in zip(vectors_BD, described, strict=True):
                contents[sha256] = (width_px, height_px, vector_D)
        return contents

    def arrow(self, rows: Sequence[EmbeddingRow], contents: Mapping[str, Content]) -> pa.Table:
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
                column = column_of([row.fields.get(field.name) for row in rows], field)
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

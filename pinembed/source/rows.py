"""Rows on their way from a table into files: (ids, embeddings) pairs, checked before a byte is written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pinembed.errors import NonFiniteEmbeddingError, SourceError

if TYPE_CHECKING:
    import pyarrow as pa

Floats = NDArray[np.floating[Any]]
"""float16 or float32."""
Rows = tuple[Sequence[str], Floats]
# by length in bytes: the type of the bit patterns, all bits but the sign, and the smallest pattern that is not finite
_PATTERNS = {2: (np.uint16, 0x7FFF, 0x7C00), 4: (np.uint32, 0x7FFFFFFF, 0x7F800000)}
_SHOWN = 5


def rows_of_batch(batch: pa.RecordBatch) -> Rows:
    """The columns `id` and `vector` of a table's batch, without a copy of the vectors."""
    vector = batch.column("vector")
    floats = vector.flatten().to_numpy(zero_copy_only=False)
    return batch.column("id").to_pylist(), floats.reshape(-1, vector.type.list_size)


def refuse_no_rows(count: int) -> None:
    """Let only a table with items pass.

    Raises:
        SourceError: there are none.
    """
    if not count:
        raise SourceError(
            "There are no rows to export; wanted at least one item.",
            remedy="Encode a folder of images first: pinembed encode IMAGES --table TABLE --encoder ENCODER",
        )


def checked_rows(batches: Iterable[Rows], *, dim: int, dtype: str, count: int) -> Iterator[Rows]:
    """Pass on what may stand in a source; stop at anything else.

    Args:
        batches: ids and (n, D) embeddings.
        dim: D.
        dtype: `float16` or `float32`.
        count: rows that have to come in all.

    Raises:
        SourceError: another shape or type, or another number of rows than announced.
        NonFiniteEmbeddingError: a row holds NaN or inf; its id is named.
    """
    seen = 0
    for ids, embedding_ND in batches:
        if embedding_ND.dtype != dtype or embedding_ND.shape != (len(ids), dim):
            raise SourceError(
                f"Rows came as {embedding_ND.dtype} of shape {embedding_ND.shape}; "
                f"wanted {dtype} of shape ({len(ids)}, {dim}).",
                remedy=f"Give one {dtype} embedding of the encoder's dim for each id.",
            )
        refuse_non_finite(ids, embedding_ND)
        seen += len(ids)
        if seen > count:
            break
        yield ids, np.ascontiguousarray(embedding_ND)
    if seen != count:
        more = " or more" if seen > count else ""
        raise SourceError(
            f"{seen}{more} rows came, but {count} were announced: the table changed while it was read.",
            remedy="Run the export again when no other run writes to the table.",
        )


def non_finite_rows(embedding_ND: Floats) -> NDArray[np.intp]:
    """Numbers of the rows that hold NaN or inf: without the sign these are the largest bit patterns of all."""
    kind, no_sign, infinity = _PATTERNS[embedding_ND.itemsize]
    magnitude_ND = embedding_ND.view(kind) & kind(no_sign)
    if int(magnitude_ND.max(initial=0)) < infinity:  # several times faster than isfinite, and nearly always the end
        return np.empty(0, np.intp)
    return np.flatnonzero((magnitude_ND >= infinity).any(axis=1))


def refuse_non_finite(ids: Sequence[str], embedding_ND: Floats) -> None:
    """Let only finite embeddings pass.

    Raises:
        NonFiniteEmbeddingError: names the items.
    """
    rows = non_finite_rows(embedding_ND)
    if len(rows):
        raise NonFiniteEmbeddingError(
            f"{len(rows)} embedding(s) hold NaN or inf: item(s) {shown_ids([ids[row] for row in rows.tolist()])}.",
            remedy="Encode these items again with another backend or device; a source holds only finite numbers.",
        )


def shown_ids(ids: Sequence[str]) -> str:
    """The first few ids for a message."""
    more = f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else ""
    return ", ".join(repr(item_id) for item_id in ids[:_SHOWN]) + more

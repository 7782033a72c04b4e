"""Keeps a table in order over the years: compaction, clean-up and the index."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pyarrow as pa
from lance import LanceDataset

from pinembed.table.address import TableAddress
from pinembed.table.embedding_table import REFINE_FACTOR, EmbeddingTable, writing
from pinembed.table.schema import VECTOR

COMPACT_FROM_FRAGMENTS = 16
SMALL_FRAGMENT_ROWS = 100_000
ROWS_PER_FRAGMENT = 1 << 20
KEPT_FOR = timedelta(days=1)  # a reader that began on an older version can finish
INDEX_FROM_ROWS = 200_000  # below, an exact search takes less than a tenth of a second
UNINDEXED_SHARE = 5  # the index is built anew when more than one row in five is not in it
DIM_MULTIPLE = 8  # IVF_RQ packs one bit for each float
SAMPLE = 50
RECALL_K = 10
INDEX_NAME = f"{VECTOR}_idx"


def tidy(table: EmbeddingTable) -> bool:
    """Join small fragments, and drop versions older than a day that no tag keeps.

    Returns:
        Whether there was anything to join.

    Raises:
        TableError: the table cannot be written.
    """
    return compact(table.address, table.dataset)


def compact(address: TableAddress, dataset: LanceDataset) -> bool:
    """As `tidy`, for any Lance dataset.

    Raises:
        TableError: the table cannot be written.
    """
    with writing(address):
        small = dataset.stats.dataset_stats(max_rows_per_group=SMALL_FRAGMENT_ROWS)["num_small_files"]
        if small < COMPACT_FROM_FRAGMENTS:
            return False
        dataset.optimize.compact_files(target_rows_per_fragment=ROWS_PER_FRAGMENT)
        dataset.cleanup_old_versions(older_than=KEPT_FOR, error_if_tagged_old_versions=False)
        dataset.checkout_latest()
    return True


def index_if_large(table: EmbeddingTable, *, from_rows: int = INDEX_FROM_ROWS) -> float | None:
    """Build an IVF_RQ index where exact search has become slow, or where too much was added since.

    Args:
        table: to search in.
        from_rows: rows from which on an index is worth it.

    Returns:
        recall@10 of the index against exact search on rows of the table; None when none was built, also because D is
        no multiple of 8.

    Raises:
        TableError: the table cannot be written.
    """
    rows = table.count_rows()
    if rows < from_rows or table.spec.dim % DIM_MULTIPLE or _unindexed_rows(table, rows) * UNINDEXED_SHARE <= rows:
        return None
    from lancedb.index import IvfRq

    with writing(table.address):
        table.lance.create_index(VECTOR, config=IvfRq(distance_type="cosine"), name=INDEX_NAME, replace=True)
        table.dataset.checkout_latest()
    return recall_of_index(table, _sample(table, rows))


def recall_of_index(table: EmbeddingTable, vectors: Sequence[Sequence[float]]) -> float:
    """Share of the 10 exact nearest rows that the index finds, over these queries."""
    found = wanted = 0
    for vector in vectors:
        query = table.lance.search(list(vector), vector_column_name=VECTOR).distance_type("cosine").limit(RECALL_K)
        indexed = _ids(query.refine_factor(REFINE_FACTOR).to_arrow())
        query = table.lance.search(list(vector), vector_column_name=VECTOR).distance_type("cosine").limit(RECALL_K)
        exact = _ids(query.bypass_vector_index().to_arrow())
        found += len(indexed & exact)
        wanted += len(exact)
    return found / wanted if wanted else 1.0


def _unindexed_rows(table: EmbeddingTable, rows: int) -> int:
    if all(index.name != INDEX_NAME for index in table.dataset.describe_indices()):
        return rows
    return int(table.dataset.stats.index_stats(INDEX_NAME)["num_unindexed_rows"])


def _sample(table: EmbeddingTable, rows: int) -> list[list[float]]:
    indices = list(range(0, rows, max(1, rows // SAMPLE)))[:SAMPLE]
    taken = table.dataset.take(indices, columns=[VECTOR])
    return [[float(value) for value in vector] for vector in taken[VECTOR].to_pylist()]


def _ids(found: pa.Table) -> set[str]:
    return set(found["id"].to_pylist())

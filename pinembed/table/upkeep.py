"""Keeps a table in order over the years: compaction, clean-up and the index, whose recall is measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from lance import LanceDataset

from pinembed.table.address import TableAddress
from pinembed.table.embedding_table import REFINE_FACTOR, EmbeddingTable, writing
from pinembed.table.schema import VECTOR
from pinembed.table.whole import committing

COMPACT_FROM_FRAGMENTS = 16
SMALL_FRAGMENT_ROWS = 100_000
ROWS_PER_FRAGMENT = 1 << 20
KEPT_FOR = timedelta(days=1)  # a reader that began on an older version can finish
INDEX_FROM_ROWS = 200_000  # below, an exact search takes less than a tenth of a second
UNINDEXED_SHARE = 5  # the index gets a segment when more than one row in five is not in it
MOST_SEGMENTS = 16  # each is searched by every query
LEAST_RECALL = 0.8
DIM_MULTIPLE = 8  # IVF_RQ packs one bit for each float
SAMPLE = 50
RECALL_K = 10
INDEX_NAME = f"{VECTOR}_idx"


def compact(address: TableAddress, dataset: LanceDataset) -> bool:
    """Join small fragments of a table, and drop versions older than a day that no tag keeps.

    Returns:
        Whether there was anything to join.

    Raises:
        TableError: the table cannot be written.
    """
    with committing(address, dataset):
        small = dataset.stats.dataset_stats(max_rows_per_group=SMALL_FRAGMENT_ROWS)["num_small_files"]
        if small < COMPACT_FROM_FRAGMENTS:
            return False
        dataset.optimize.compact_files(target_rows_per_fragment=ROWS_PER_FRAGMENT)
    with writing(address):  # once the joined files are known to be whole
        dataset.cleanup_old_versions(older_than=KEPT_FOR, error_if_tagged_old_versions=False)
        dataset.checkout_latest()
    return True


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexState:
    """What became of a table's index.

    Attributes:
        recall: recall@10 against exact search, on rows of the table.
        segments: that it consists of.
        is_kept: False where it found too little and was dropped, so that search is exact.
    """

    recall: float
    segments: int
    is_kept: bool


def index_if_large(table: EmbeddingTable, *, from_rows: int = INDEX_FROM_ROWS) -> IndexState | None:
    """Build an IVF_RQ index where exact search has become slow; later, index what was added as one more segment.

    What is there is neither trained again nor merged: merging segments lost most of the recall without an error in one
    version of Lance (https://github.com/lance-format/lance/issues/7731). Where there are MOST_SEGMENTS, or they
    find less than LEAST_RECALL, all is built anew; an index that finds less even then is dropped.

    Args:
        table: to search in.
        from_rows: rows from which on an index is worth it.

    Returns:
        what became of it; None where nothing was due, also because D is no multiple of 8.

    Raises:
        TableError: the table cannot be written.
    """
    rows = table.count_rows()
    if rows < from_rows or table.spec.dim % DIM_MULTIPLE or _unindexed_rows(table, rows) * UNINDEXED_SHARE <= rows:
        return None
    queries = _sample(table, rows)
    if 0 < _segments(table) < MOST_SEGMENTS:
        with writing(table.address):
            table.dataset.optimize.optimize_indices(num_indices_to_merge=0, index_names=[INDEX_NAME])
        recall = recall_of_index(table, queries)
        if recall >= LEAST_RECALL:
            return IndexState(recall=recall, segments=_segments(table), is_kept=True)
    return _build(table, queries)


def _build(table: EmbeddingTable, queries: Sequence[Sequence[float]]) -> IndexState:
    from lancedb.index import IvfRq

    with writing(table.address):
        table.lance.checkout_latest()
        table.lance.create_index(VECTOR, config=IvfRq(distance_type="cosine"), name=INDEX_NAME, replace=True)
        table.dataset.checkout_latest()
    recall = recall_of_index(table, queries)
    is_kept = recall >= LEAST_RECALL
    if not is_kept:
        with writing(table.address):
            table.dataset.drop_index(INDEX_NAME)
    return IndexState(recall=recall, segments=_segments(table), is_kept=is_kept)


def recall_of_index(table: EmbeddingTable, vectors: Sequence[Sequence[float]]) -> float:
    """Share of the 10 exact nearest rows that the index of the latest version finds, over these queries."""
    table.lance.checkout_latest()

    def query(vector: Sequence[float]) -> Any:
        return table.lance.search(list(vector), vector_column_name=VECTOR).distance_type("cosine").limit(RECALL_K)

    found = wanted = 0
    for vector in vectors:
        indexed = _ids(query(vector).refine_factor(REFINE_FACTOR))
        exact = _ids(query(vector).bypass_vector_index())
        found += len(indexed & exact)
        wanted += len(exact)
    return found / wanted if wanted else 1.0


def _segments(table: EmbeddingTable) -> int:
    """Of the index; 0 where there is none."""
    if all(index.name != INDEX_NAME for index in table.dataset.describe_indices()):
        return 0
    return int(table.dataset.stats.index_stats(INDEX_NAME)["num_indices"])


def _unindexed_rows(table: EmbeddingTable, rows: int) -> int:
    if not _segments(table):
        return rows
    return int(table.dataset.stats.index_stats(INDEX_NAME)["num_unindexed_rows"])


def _sample(table: EmbeddingTable, rows: int) -> list[list[float]]:
    indices = list(range(0, rows, max(1, rows // SAMPLE)))[:SAMPLE]
    taken = table.dataset.take(indices, columns=[VECTOR])
    return [[float(value) for value in vector] for vector in taken[VECTOR].to_pylist()]


def _ids(query: Any) -> set[str]:
    return set(query.to_arrow()["id"].to_pylist())

"""Receipts into the table: the one committer of a run, and what it does with the receipts of runs that were killed.

Every step may be done twice and comes out the same: failures and measures go by their keys, an append looks before it
commits, changed rows go by their ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
from lance.file import LanceFileReader
from lance.fragment import FragmentMetadata

from pinembed.catalogue.candidates import NOT_FOUND, IdIndex
from pinembed.encoding.shards.epoch import Epochs
from pinembed.encoding.shards.receipt import Receipt
from pinembed.encoding.shards.writer import table_identity
from pinembed.table.append import append_fragments, files_in
from pinembed.table.embedding_table import LANCE_ERRORS, EmbeddingTable
from pinembed.table.lock import fence
from pinembed.table.quality_tables import MeasureTable
from pinembed.table.side_tables import FailureTable, Tables
from pinembed.table.whole import committing, cut_file_of


def adopt_left_over(tables: Tables) -> int:
    """Close the epochs that no run has closed: what their workers have encoded becomes rows, once.

    The caller holds the run lock. A fence first lets fail what a run that was thought dead may still commit. Then a
    receipt counts only where none of its rows is in the table: under the name of its files, or, as after a compaction,
    under its ids. Of a receipt that does not count nothing is taken; its images are planned again.

    Returns:
        rows that came into the table.

    Raises:
        TableError: the table or the receipts cannot be read or written.
    """
    epochs, table = Epochs(tables.address), tables.embeddings
    rows = 0
    if table is not None and epochs.left_open:
        fence(table.address)
        tables.catch_up()
        for epoch in epochs.left_open:
            fresh = _not_in_table(table, list(epochs.receipts(epoch)))
            commit(table, tables.failures, fresh, epoch=epoch)
            rows += sum(fragment.physical_rows for receipt in fresh for fragment in receipt.added)
    epochs.close()
    return rows


def commit(table: EmbeddingTable, failures: FailureTable, receipts: Sequence[Receipt], *, epoch: int) -> None:
    """Take in receipts of which nothing is in the table: their new rows in one version, after all that goes by keys.

    Args:
        table: to append to; the caller holds its run lock.
        failures: of the table.
        receipts: of one epoch.
        epoch: its number.

    Raises:
        TableError: a table cannot be written.
    """
    failures.record(failure for receipt in receipts for failure in receipt.failures)
    measured = [rows for receipt in receipts if (rows := receipt.measured()) is not None]
    if measured:
        MeasureTable(table.address).upsert_rows(_each_once(pa.concat_tables(measured)))
    fragments = [fragment for receipt in receipts for fragment in receipt.added]
    if fragments:
        numbers = ", ".join(str(receipt.number) for receipt in receipts)
        append_fragments(table, fragments, f"pinembed encode: epoch {epoch}, shards {numbers}")


def merge_changed(table: EmbeddingTable, receipts: Iterable[Receipt]) -> None:
    """Let the changed rows of receipts take the place of the stored ones; rows that are gone stay so.

    Raises:
        TableError: the table cannot be read or written.
    """
    for receipt in receipts:
        for fragment in receipt.changed:
            rows = _rows_of(table, fragment).cast(table.schema)
            with committing(table.address, table.dataset):
                table.dataset.merge_insert("id").when_matched_update_all().execute(rows)


def _not_in_table(table: EmbeddingTable, receipts: Sequence[Receipt]) -> list[Receipt]:
    """Receipts that fit the table, whose files are whole, and of whose rows it has none."""
    identity, files = table_identity(table), files_in(table.dataset)
    fitting = [
        receipt
        for receipt in receipts
        if receipt.table == identity
        and files.isdisjoint(receipt.files)
        and not cut_file_of(table.address, receipt.added)
    ]
    found = [(receipt, ids) for receipt in fitting if (ids := _ids_of(table, receipt)) is not None]
    if not found:
        return []
    owners = np.repeat(np.arange(len(found)), [len(ids) for _, ids in found])
    index = IdIndex(pa.concat_arrays([ids for _, ids in found]))
    is_stored = np.zeros(len(found), dtype=bool)
    for batch in table.batches(["id"]):
        places = index.find(batch["id"])
        is_stored[owners[places[places != NOT_FOUND]]] = True
    return [receipt for (receipt, _), stored in zip(found, is_stored, strict=True) if not stored]


def _ids_of(table: EmbeddingTable, receipt: Receipt) -> pa.LargeStringArray | None:
    """Ids of a receipt's new rows; None where its files are gone."""
    try:
        columns = [_rows_of(table, fragment, ["id"])["id"] for fragment in receipt.added]
    except LANCE_ERRORS:
        return None
    ids = [chunk for column in columns for chunk in column.cast(pa.large_string()).chunks]
    return pa.concat_arrays(ids) if ids else pa.array([], pa.large_string())


def _rows_of(table: EmbeddingTable, fragment: FragmentMetadata, columns: list[str] | None = None) -> pa.Table:
    """Rows of a fragment that is in no version."""
    [file] = fragment.files
    path = f"{table.dataset.uri}/data/{file.path}"
    return LanceFileReader(path, storage_options=table.address.storage_options, columns=columns).read_all().to_table()


def _each_once(measures: pa.Table) -> pa.Table:
    """The first record of each content: two workers may have met it."""
    _, first = np.unique(measures["sha256"].to_numpy(zero_copy_only=False).astype(str), return_index=True)
    return measures.take(np.sort(first))

"""New rows into a table in two steps, fragments and their commit: each once, also where a commit's answer is lost."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
from lance import LanceDataset, LanceOperation
from lance import dataset as open_dataset
from lance.commit import CommitConflictError
from lance.fragment import FragmentMetadata, write_fragments

from pinembed.table.embedding_table import LANCE_ERRORS, EmbeddingTable, writing
from pinembed.table.whole import cut_file_of, end_lost

ATTEMPTS = 5


def write_rows(table: EmbeddingTable, rows: pa.Table) -> tuple[FragmentMetadata, ...]:
    """Rows as fragments beside the table's own, which no version names and so nobody sees.

    Raises:
        TableError: they cannot be written, or were cut short.
    """
    with writing(table.address):
        fragments = tuple(write_fragments(rows, table.dataset))
    if cut := cut_file_of(table.address, fragments):
        raise end_lost(table.address, cut)
    return fragments


def append_fragments(table: EmbeddingTable, fragments: Sequence[FragmentMetadata], message: str) -> None:
    """Commit fragments in one version; the table then stands at that version, and at none that came after it.

    Lance itself never commits them a second time (`max_retries=0`). Where a commit fails, the versions since then tell
    whether it came through all the same: a store's client that repeats a request whose answer was lost meets its own
    version, and takes it for another writer's.

    Args:
        table: to append to; the caller holds its run lock.
        fragments: of `write_rows` for this table, in no version yet.
        message: that the version keeps for people.

    Raises:
        TableError: they could not be committed, or another run has taken the table over.
    """
    with writing(table.address):
        for attempt in range(ATTEMPTS):
            if _commit(table, fragments, message, is_last=attempt == ATTEMPTS - 1):
                return


def files_in(dataset: LanceDataset) -> set[str]:
    """Names of the data files that a version of a dataset consists of."""
    return {file.path for fragment in dataset.get_fragments() for file in fragment.metadata.files}


def _commit(table: EmbeddingTable, fragments: Sequence[FragmentMetadata], message: str, *, is_last: bool) -> bool:
    """Whether the fragments are in the table now; False where another writer's version was in the way."""
    try:
        table.dataset = LanceDataset.commit(
            table.dataset,
            LanceOperation.Append(list(fragments)),
            read_version=table.dataset.version,
            max_retries=0,
            commit_message=message,
        )
    except LANCE_ERRORS as error:
        committed = _version_with(table, fragments)
        if committed is not None:
            table.dataset = committed
            return True
        if is_last or not (isinstance(error, CommitConflictError) and error.retryable):
            raise
        return False
    return True


def _version_with(table: EmbeddingTable, fragments: Sequence[FragmentMetadata]) -> LanceDataset | None:
    """The first version after the table's that has these fragments; None where none has."""
    wanted = {file.path for fragment in fragments for file in fragment.files}
    try:
        latest = open_dataset(table.dataset.uri, storage_options=table.address.storage_options).version
        for version in range(table.dataset.version + 1, latest + 1):
            found = open_dataset(table.dataset.uri, version=version, storage_options=table.address.storage_options)
            if wanted <= files_in(found):
                return found
    except LANCE_ERRORS:
        return None
    return None

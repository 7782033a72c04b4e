"""Commits whose files are shorter than Lance wrote down: on a full disk it can lose a file's end without an error.

Seen with pylance 14.0.2 where the last write of a file of a few kilobytes did not fit.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lance import LanceDataset

from pinembed.errors import TableError
from pinembed.table.address import TableAddress
from pinembed.table.embedding_table import writing


@contextmanager
def committing(address: TableAddress, dataset: LanceDataset) -> Iterator[None]:
    """As `writing`, around commits to a dataset: those whose files were cut short are taken back.

    Raises:
        TableError: as for `writing`, or a file was cut short.
    """
    before = dataset.version
    with writing(address):
        yield
    cut = cut_file(address, dataset)
    if cut:
        with writing(address):
            older = dataset.checkout_version(before)
            older.restore()
            dataset.checkout_latest()
        raise TableError(
            f"Table {address} cannot be written: the end of {cut} was lost, as on a full disk.",
            remedy="Check free disk space, then run the same command again; what was committed is whole.",
        )


def cut_file(address: TableAddress, dataset: LanceDataset) -> str:
    """Name of a data file that is shorter than the dataset knows it; empty where none is."""
    if address.folder is None:
        return ""
    for fragment in dataset.get_fragments():
        for file in fragment.metadata.files:
            path = address.folder / "data" / file.path
            if file.file_size_bytes and not (path.is_file() and path.stat().st_size == file.file_size_bytes):
                return str(path)
    return ""

"""Commits whose files are shorter than Lance wrote down: on a full disk it can lose a file's end without an error.

Seen with pylance 14.0.2 where the last write of a file of a few kilobytes did not fit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from lance import LanceDataset
from lance.fragment import FragmentMetadata

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
        raise end_lost(address, cut)


def end_lost(address: TableAddress, cut: str) -> TableError:
    """The error that says that a file was cut short."""
    return TableError(
        f"Table {address} cannot be written: the end of {cut} was lost, as on a full disk.",
        remedy="Check free disk space, then run the same command again; what was committed is whole.",
    )


def cut_file(address: TableAddress, dataset: LanceDataset) -> str:
    """Name of a data file that is shorter than the dataset knows it; empty where none is."""
    return cut_file_of(address, (fragment.metadata for fragment in dataset.get_fragments()))


def cut_file_of(address: TableAddress, fragments: Iterable[FragmentMetadata]) -> str:
    """As `cut_file`, of fragments that may be in no version."""
    if address.folder is None:
        return ""
    for fragment in fragments:
        for file in fragment.files:
            path = address.folder / "data" / file.path
            if file.file_size_bytes and not (path.is_file() and path.stat().st_size == file.file_size_bytes):
                return str(path)
    return ""

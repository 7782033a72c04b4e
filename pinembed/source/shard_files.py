"""The shards of a source, open for reading by position.

Vectors are read with `pread`, not mapped: the page cache serves both, but mapped pages count as the process's own
memory (64 KiB a touched row), and a file cut short while it is mapped kills the process instead of raising an error.

Legend: D floats of one embedding, M rows asked for at once.
"""

from __future__ import annotations

import itertools
import os
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pinembed.errors import SourceError
from pinembed.nouns.manifest import Manifest, ManifestFile
from pinembed.source.rows import Floats
from pinembed.source.tensor_file import Tensor, tensor_offsets

EMBEDDINGS = "embeddings"
TENSOR_DTYPES = {"float16": "F16", "float32": "F32"}


def shard_name(number: int) -> str:
    """File name of the shard with this number."""
    return f"embeddings-{number:05d}.safetensors"


def shard_tensors(rows: int, dim: int, dtype: str) -> dict[str, Tensor]:
    """What one shard holds."""
    return {EMBEDDINGS: Tensor(dtype=TENSOR_DTYPES[dtype], shape=(rows, dim))}


def pages_of(descriptor: int, shard: ManifestFile, manifest: Manifest, *, file: str) -> Sequence[tuple[int, int]]:
    """The runs of rows of an open shard, each with its first byte and its rows.

    Raises:
        SourceError: the shard has no header of its rows.
    """
    if shard.pages:
        return shard.pages
    wanted = shard_tensors(shard.rows, manifest.dim, manifest.dtype)
    return ((tensor_offsets(descriptor, wanted, file=file)[EMBEDDINGS], shard.rows),)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Page:
    """Rows that follow one another in an open file."""

    descriptor: int
    file: str
    begin: int
    rows: int


class ShardFiles:
    """All shards of a source.

    They are opened at once and stay open: a folder that is replaced meanwhile goes on giving the rows that its manifest
    told of.

    Args:
        folder: for messages.

    Raises:
        SourceError: a shard is missing, has another size or header, or there are more than the process may open.
    """

    def __init__(self, folder: Path, folder_descriptor: int, manifest: Manifest) -> None:
        self._folder, self._dim = folder, manifest.dim
        self._dtype, self._row_bytes = np.dtype(manifest.dtype), manifest.row_bytes
        self._descriptors: list[int] = []
        self.close = weakref.finalize(self, _close_all, self._descriptors)
        self._pages: list[_Page] = []
        for shard in manifest.shards:
            self._descriptors.append(open_listed(folder, folder_descriptor, shard))
            descriptor = self._descriptors[-1]
            for begin, rows in pages_of(descriptor, shard, manifest, file=str(folder / shard.file)):
                self._pages.append(_Page(descriptor=descriptor, file=shard.file, begin=begin, rows=rows))
            _expect_random_reads(descriptor)
        self._first_rows = np.cumsum([0, *(page.rows for page in self._pages)])

    def take(self, row_M: NDArray[np.int64]) -> Floats:
        """Rows by number, in the order asked.

        Args:
            row_M: 0 <= row < N.

        Returns:
            (M, D).

        Raises:
            SourceError: a shard got shorter since it was opened.
        """
        embedding_MD = np.empty((len(row_M), self._dim), self._dtype)
        into = embedding_MD.view(np.uint8).reshape(-1).data
        row_bytes = self._row_bytes
        page_M = np.searchsorted(self._first_rows, row_M, side="right") - 1
        offset_M = (row_M - self._first_rows[page_M]) * row_bytes
        for first, last in _runs(row_M, page_M):
            page = self._pages[int(page_M[first])]
            self._read(page, int(offset_M[first]), into[first * row_bytes : last * row_bytes])
        return embedding_MD

    def runs(self, rows_per_run: int) -> Iterator[Floats]:
        """All rows in order, (up to rows_per_run, D) at a time; a run never spans two pages.

        Raises:
            SourceError: as for `take`.
        """
        for page in self._pages:
            for start in range(0, page.rows, rows_per_run):
                run_RD = np.empty((min(rows_per_run, page.rows - start), self._dim), self._dtype)
                into = run_RD.view(np.uint8).reshape(-1).data
                self._read(page, start * self._row_bytes, into)
                yield run_RD

    def _read(self, page: _Page, offset: int, into: memoryview) -> None:
        position, wanted = page.begin + offset, len(into)
        done = 0
        while done < wanted:
            try:
                n = os.preadv(page.descriptor, [into[done:]], position + done)
            except OSError as error:
                raise self._unreadable(page, str(error.strerror)) from error
            if not n:
                raise self._unreadable(page, f"it ends before byte {position + wanted}; it was cut short meanwhile")
            done += n

    def _unreadable(self, page: _Page, what: str) -> SourceError:
        return SourceError(
            f"{self._folder / page.file} cannot be read: {what}.",
            remedy="Check the disk, then run `pinembed verify DIR`.",
        )


def open_listed(folder: Path, folder_descriptor: int, entry: ManifestFile) -> int:
    """Open a file that the manifest names, if it has the length that the manifest says.

    Raises:
        SourceError: missing, unreadable, no plain file, another length, or too many open files.
    """
    path = folder / entry.file
    try:
        descriptor = os.open(entry.file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder_descriptor)
    except FileNotFoundError as error:
        raise SourceError(
            f"{path} is missing; the manifest names it.", remedy="Copy the whole folder, or export the table again."
        ) from error
    except OSError as error:
        raise SourceError(
            f"{path} cannot be opened: {error.strerror}.",
            remedy="Check the permissions; for too many open files raise `ulimit -n` or export with larger shards.",
        ) from error
    size_bytes = os.fstat(descriptor).st_size
    if size_bytes != entry.size_bytes:
        os.close(descriptor)
        raise SourceError(
            f"{path} has {size_bytes} bytes; the manifest says {entry.size_bytes}.",
            remedy="Copy the file again, or export the table again; `pinembed verify DIR` lists all that is wrong.",
        )
    return descriptor


def _runs(row_M: NDArray[np.int64], page_M: NDArray[np.intp]) -> Iterator[tuple[int, int]]:
    """Where rows that lie one behind the other in a file begin and end: one read each."""
    if len(row_M):
        breaks = np.flatnonzero((np.diff(row_M) != 1) | (np.diff(page_M) != 0)) + 1
        yield from itertools.pairwise([0, *breaks.tolist(), len(row_M)])


def _close_all(descriptors: list[int]) -> None:
    while descriptors:
        os.close(descriptors.pop())


def _expect_random_reads(descriptor: int) -> None:
    """Without this a cold gather reads 128 KiB for each row of 1 KiB."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)

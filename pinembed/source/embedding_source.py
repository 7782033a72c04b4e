"""EmbeddingSource: the exported, read-only folder that the trimmed model reads by item id.

Legend: N items, D floats of one embedding, M ids asked for at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from pinembed.errors import SourceError, UnknownItemError
from pinembed.generation.reading import Held, hold
from pinembed.generation.record import SOURCE
from pinembed.nouns.encoder_spec import EncoderSpec
from pinembed.nouns.manifest import SOURCE_FORMAT, Manifest, ManifestFile
from pinembed.source.id_index import IdIndex, IndexFile
from pinembed.source.manifest_file import folder_descriptor, read_manifest
from pinembed.source.rows import Floats, non_finite_rows, refuse_non_finite, shown_ids
from pinembed.source.shard_files import ShardFiles, open_listed
from pinembed.stores.fetch import local_copy

ROWS_PER_RUN = 8192


class EmbeddingSource:
    """Embeddings by item id, out of a folder that `pinembed export` wrote.

    Opening reads the manifest and the headers; vectors stay on the disk until they are asked for. Reads are safe from
    several threads; a copy that goes to another process (pickled, or by fork) reads the same files.

    Attributes:
        ids: all ids in row order, read when they are asked for; `len`, index, slice, `in` and iteration work.
        held: the generation that it lies in, which stays as long as this source lives; None outside of a home.
    """

    def __init__(
        self, folder: Path, manifest: Manifest, ids: IdIndex, shards: ShardFiles, *, held: Held | None = None
    ) -> None:
        self.folder = folder
        self.held = held
        self.manifest = manifest
        self.ids = ids
        self._shards = shards

    @classmethod
    def open(cls, folder: str | Path, *, generation: int | None = None) -> EmbeddingSource:
        """Open a folder for reading; lengths, headers and the manifest's checksum are checked, contents are not.

        Args:
            folder: that `export` wrote, or a home of generations. What lies at an address in an object store is fetched
                into the cache folder once: vectors are mapped, and each lookup would be a request.
            generation: of the home; None for the one in use.

        Raises:
            GenerationError, UsageError: as for `hold`.
            SourceError: no such folder, another format or version, a file that is missing, cut short or no
                safetensors file, or an edited manifest.
        """
        held = hold(folder, generation=generation)
        folder = local_copy(folder) if held is None else held.part(SOURCE)
        with folder_descriptor(folder) as descriptor:
            manifest = read_manifest(folder, descriptor)
            if manifest.format != SOURCE_FORMAT:
                raise SourceError(
                    f"{folder} holds a {manifest.format} export; wanted {SOURCE_FORMAT}.",
                    remedy="Make one with: pinembed export --table TABLE --out DIR",
                )
            ids = IdIndex([_index_file(folder, descriptor, entry) for entry in manifest.index])
            return cls(folder, manifest, ids, ShardFiles(folder, descriptor, manifest), held=held)

    @property
    def spec(self) -> EncoderSpec:
        """Identity of the encoder that made every embedding."""
        return self.manifest.encoder

    @property
    def dim(self) -> int:
        """D, floats of one embedding."""
        return self.manifest.dim

    @property
    def dtype(self) -> str:
        """Of a stored float, `float16` or `float32`."""
        return self.manifest.dtype

    def __len__(self) -> int:
        return self.manifest.count

    def __contains__(self, item_id: object) -> bool:
        return item_id in self.ids

    def get(self, ids: Sequence[str]) -> Floats:
        """Embeddings of items, in the order asked; an id may occur several times.

        Returns:
            (M, D), of `dtype`.

        Raises:
            UnknownItemError: names every id that is not there; `find` goes on without an error.
            NonFiniteEmbeddingError: an embedding holds NaN or inf.
            SourceError: the folder was damaged since it was opened.
        """
        row_M = self.find(ids)
        if (row_M < 0).any():
            unknown = list(dict.fromkeys(ids[position] for position in np.flatnonzero(row_M < 0).tolist()))
            raise UnknownItemError(
                f"{self.folder} holds no item {shown_ids(unknown)} among its {len(self)} items.",
                remedy="Check the ids; items that are new have to be encoded and exported first.",
            )
        embedding_MD = self._shards.take(row_M)
        refuse_non_finite(ids, embedding_MD)
        return embedding_MD

    def find(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """Row numbers of items, -1 for those that are not there.

        Returns:
            (M,) int64, for `rows`.
        """
        if isinstance(ids, str):
            raise TypeError(f"wanted a list of ids; write [{ids!r}]")
        return self.ids.rows_of(ids)

    def rows(self, row_M: NDArray[np.int64]) -> Floats:
        """Embeddings by row number, in the order asked.

        Returns:
            (M, D), of `dtype`.

        Raises:
            IndexError: there is no such row.
            NonFiniteEmbeddingError, SourceError: as for `get`.
        """
        row_M = np.asarray(row_M, np.int64)
        if len(row_M) and not (0 <= int(row_M.min()) <= int(row_M.max()) < len(self)):
            raise IndexError(f"rows go from 0 to {len(self) - 1}")
        embedding_MD = self._shards.take(row_M)
        if len(non_finite_rows(embedding_MD)):
            refuse_non_finite([self.ids[row] for row in row_M.tolist()], embedding_MD)
        return embedding_MD

    def batches(self, batch_rows: int = ROWS_PER_RUN) -> Iterator[tuple[list[str], Floats]]:
        """All ids and embeddings in row order.

        Args:
            batch_rows: bound on memory; a batch has that many rows or, at the end of a shard, fewer.

        Raises:
            NonFiniteEmbeddingError, SourceError: as for `get`.
        """
        row = 0
        for embedding_MD in self._shards.runs(batch_rows):
            ids = self.ids[row : row + len(embedding_MD)]
            refuse_non_finite(ids, embedding_MD)
            yield ids, embedding_MD
            row += len(embedding_MD)

    def stored(self, row_M: NDArray[np.int64]) -> Floats:
        """As `rows`, of rows that are there, finite or not."""
        return self._shards.take(row_M)

    def close(self) -> None:
        """Give the files back; happens by itself when the last reference goes."""
        self._shards.close()

    def __enter__(self) -> EmbeddingSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Callable[[Path], EmbeddingSource], tuple[Path]]:
        return EmbeddingSource.open, (self.folder,)

    def __repr__(self) -> str:
        return f"EmbeddingSource({str(self.folder)!r}: {len(self)} x {self.dim}, encoder {self.spec.fingerprint})"


def _index_file(folder: Path, folder_descriptor: int, entry: ManifestFile) -> IndexFile:
    descriptor = open_listed(folder, folder_descriptor, entry)
    try:
        return IndexFile(descriptor, count=entry.rows, file=str(folder / entry.file))
    finally:
        os.close(descriptor)

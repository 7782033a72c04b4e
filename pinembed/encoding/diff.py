"""The candidates beside the rows of the table, which stream by in batches and are not kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pinembed.catalogue.candidates import NOT_FOUND, UNKNOWN_SIZE, Indices
from pinembed.catalogue.parts import InputParts, Inputs
from pinembed.encoding.folders import Absence, Folders, absent_link, is_of
from pinembed.nouns.item import FileRange, ParquetCell
from pinembed.stores.address import Place, parse_place
from pinembed.table.embedding_table import EmbeddingTable
from pinembed.table.schema import OWN_COLUMNS

Digests = NDArray[np.uint8]
"""(N, 32): a sha256 each."""
SHA256_BYTES = 32


def digests_of(sha256: list[str]) -> Digests:
    """Hexadecimal hashes in bytes."""
    return np.frombuffer(bytes.fromhex("".join(sha256)), dtype=np.uint8).reshape(-1, SHA256_BYTES)


class ContentHashes:
    """The contents that lasting rows hold, 40 bytes each.

    Args:
        parts: sizes and hashes.
    """

    def __init__(self, parts: list[tuple[NDArray[np.int64], Digests]]) -> None:
        size_bytes = np.concatenate([sizes for sizes, _ in parts]) if parts else np.empty(0, dtype=np.int64)
        order = np.argsort(size_bytes, kind="stable")
        self._size_bytes = size_bytes[order]
        digests = np.concatenate([digests for _, digests in parts]) if parts else np.empty((0, SHA256_BYTES), np.uint8)
        self._digests: Digests = digests[order]

    def of_size(self, size_bytes: int) -> list[str]:
        """The hashes of all contents of this size, each once."""
        first, end = np.searchsorted(self._size_bytes, [size_bytes, size_bytes + 1])
        return sorted({digest.tobytes().hex() for digest in self._digests[first:end]})

    def of_sizes(self, sizes_bytes: NDArray[np.int64]) -> ContentHashes:
        """Those of all contents of these sizes, which are sorted."""
        first, end = (np.searchsorted(self._size_bytes, sizes_bytes, side=side) for side in ("left", "right"))
        places = [np.arange(start, stop) for start, stop in zip(first, end, strict=True) if start < stop]
        at = np.concatenate(places) if places else np.empty(0, dtype=np.int64)
        return ContentHashes([(self._size_bytes[at], self._digests[at])])

    def has(self, sha256: str, size_bytes: int) -> bool:
        """Whether a row holds this content."""
        first, end = np.searchsorted(self._size_bytes, [size_bytes, size_bytes + 1])
        wanted = np.frombuffer(bytes.fromhex(sha256), dtype=np.uint8)
        return bool((self._digests[first:end] == wanted).all(axis=1).any())


FILE_COLUMNS = ("id", "folder", "file_name", "sha256", "size_bytes", "mtime_ns")
NEW, SAME, REWRITE, OTHER, TAKEN = range(5)  # what a candidate is to the table


class StoredItems:
    """Contents of the rows of some candidates, by the candidates' indices.

    Args:
        parts: places, sizes and hashes, in any order.
    """

    def __init__(self, parts: Sequence[tuple[Indices, NDArray[np.int64], Digests]] = ()) -> None:
        none = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, SHA256_BYTES), np.uint8))
        indices, sizes, digests = (np.concatenate(column) for column in zip(none, *parts, strict=True))
        order = np.argsort(indices)
        self._indices, self._size_bytes, self._digests = indices[order], sizes[order], digests[order]

    def has(self, indices: Indices) -> NDArray[np.bool_]:
        """Which of the candidates have a row here."""
        return np.isin(indices, self._indices, assume_unique=True)

    def part(self, indices: Indices) -> StoredItems:
        """Those of some candidates, which are sorted, by their ranks among these."""
        first, end = np.searchsorted(self._indices, [indices[0], indices[-1] + 1]) if len(indices) else (0, 0)
        at = first + np.flatnonzero(np.isin(self._indices[first:end], indices, assume_unique=True))
        ranks = np.searchsorted(indices, self._indices[at])
        return StoredItems([(ranks, self._size_bytes[at], self._digests[at])])

    def of(self, index: int) -> tuple[str, int] | None:
        """sha256 and size_bytes of what is stored of a candidate; None where nothing is."""
        rank = int(np.searchsorted(self._indices, index))
        if rank == len(self._indices) or self._indices[rank] != index:
            return None
        return self._digests[rank].tobytes().hex(), int(self._size_bytes[rank])


@dataclass(frozen=True, kw_only=True)
class TableDiff:
    """How the candidates stand to the table.

    Attributes:
        unchanged: candidates that it has as they are.
        rewrite: indices of those whose metadata is another one, of the same file.
        load: indices of those that are new or whose file is another one.
        stored: rows of the candidates in `rewrite` and `load`.
        rows: of the table.
        gone: ids of rows whose files are gone, sorted; empty where nobody looks for them.
        taken: files of other folders that have a candidate's id, by the candidate's index.
        unsure: the same where the other folder is not there; the row is the candidate's only if its content is.
        spared: rows that nobody can call gone, by what is not there.
    """

    unchanged: int
    rewrite: Indices
    load: Indices
    stored: StoredItems
    rows: int
    gone: list[str]
    taken: Mapping[int, Place]
    unsure: Mapping[int, Place]
    spared: Mapping[Absence, int]


def compare(inputs: Inputs, table: EmbeddingTable | None, folders: Folders, *, whole: InputParts | None) -> TableDiff:
    """Stream the table past the candidates.

    Args:
        inputs: with the candidates.
        table: None where there is none yet.
        folders: of the table's rows.
        whole: all parts of the inputs, where it is to be told which rows have no file any more in any of them.
    """
    candidates = inputs.candidates
    states = np.full(len(candidates), NEW, dtype=np.uint8)
    stored: list[tuple[Indices, NDArray[np.int64], Digests]] = []
    gone: list[str] = []
    taken: dict[int, Place] = {}
    unsure: dict[int, Place] = {}
    spared: Counter[Absence] = Counter()
    rows = 0
    columns = [] if table is None else [name for name in table.schema.names if name not in OWN_COLUMNS]
    for batch in [] if table is None else table.batches([*FILE_COLUMNS, *columns]):
        rows += len(batch)
        indices = candidates.find(batch["id"])
        is_here = indices != NOT_FOUND
        ours, at = batch.filter(pa.array(is_here)), indices[is_here]
        elsewhere = _tell_holders(ours, inputs, at, folders, taken, unsure)
        states[at] = _states(ours, inputs, at, columns, elsewhere)
        states[[index for index in at.tolist() if index in taken]] = TAKEN
        kept = states[at] != SAME
        if kept.any():
            held = ours.select(["size_bytes", "sha256"]).filter(pa.array(kept))
            stored.append((at[kept], held["size_bytes"].to_numpy(), digests_of(held["sha256"].to_pylist())))
        if whole is not None and not is_here.all():
            others = batch.filter(pa.array(~is_here))
            gone += _gone(others.filter(pa.array(~whole.hold(others["id"]))), whole, folders, spared)
    return TableDiff(
        unchanged=int((states == SAME).sum()),
        rewrite=np.flatnonzero(states == REWRITE),
        load=np.flatnonzero((states == NEW) | (states == OTHER)),
        stored=StoredItems(stored),
        rows=rows,
        gone=sorted(gone),
        taken=taken,
        unsure=unsure,
        spared=spared,
    )


def stored_content_hashes(inputs: Inputs, table: EmbeddingTable | None, load: Indices) -> ContentHashes:
    """Contents that may be those of files to be read, without those of rows that are read again.

    Args:
        inputs: with the candidates.
        table: None where there is none yet.
        load: indices of the candidates whose file is read.
    """
    if table is None or not len(load):
        return ContentHashes([])
    is_read = np.zeros(len(inputs.candidates) + 1, dtype=bool)  # the last one is where NOT_FOUND leads
    is_read[load] = True
    sizes = np.unique(inputs.candidates.size_bytes[load])
    any_size = sizes[0] == UNKNOWN_SIZE  # only reading tells which
    parts = []
    for batch in table.batches(["id", "sha256", "size_bytes"]):
        size_bytes = batch["size_bytes"].to_numpy()
        wanted = np.flatnonzero(any_size | np.isin(size_bytes, sizes))
        if len(wanted):
            lasting = wanted[~is_read[inputs.candidates.find(batch["id"].take(pa.array(wanted)))]]
            parts.append((size_bytes[lasting], digests_of(batch["sha256"].take(pa.array(lasting)).to_pylist())))
    return ContentHashes(parts)


def _states(
    rows: pa.RecordBatch, inputs: Inputs, indices: Indices, columns: Sequence[str], elsewhere: Sequence[int]
) -> NDArray[np.uint8]:
    """What each of these rows' candidates is to the table.

    Name, size and time tell a file only within the folder that the row came from, and where the row's own path leads to
    the very file, as the candidates in `elsewhere` do; for others its content has to.
    """
    candidates = inputs.candidates
    size_bytes = candidates.size_bytes[indices]
    is_same = (
        ((size_bytes == UNKNOWN_SIZE) | (size_bytes == rows["size_bytes"].to_numpy()))
        & (candidates.mtime_ns[indices] == rows["mtime_ns"].to_numpy())
        & (
            _mask(pc.equal(candidates.names.take(indices), rows["file_name"].cast(pa.large_string())))
            & _mask(pc.equal(rows["folder"], inputs.folder))
            | np.isin(indices, list(elsewhere))
        )
    )
    states = np.where(is_same, SAME, OTHER).astype(np.uint8)
    here = np.flatnonzero(states == SAME)
    states[here[_differing(rows.select(list(columns)).take(pa.array(here)), candidates.fields, indices[here])]] = (
        REWRITE
    )
    return states


def _tell_holders(
    rows: pa.RecordBatch,
    inputs: Inputs,
    indices: Indices,
    folders: Folders,
    taken: dict[int, Place],
    unsure: dict[int, Place],
) -> list[int]:
    """Sort out the candidates whose id a row of another folder has; those whose file is the row's own are returned."""
    own = []
    elsewhere = np.flatnonzero(~_mask(pc.is_in(rows["folder"], pa.array(inputs.folders, pa.string()))))
    named = zip(*(rows[name].take(pa.array(elsewhere)).to_pylist() for name in ("folder", "file_name")), strict=True)
    images = (image for _, image in inputs.candidates.located(indices[elsewhere]))
    for index, (folder, file_name), image in zip(indices[elsewhere].tolist(), named, images, strict=True):
        if folders.absence(folder) or absent_link(folder, file_name):
            unsure[index] = parse_place(folder) / file_name
        elif is_of(folder, file_name, image):
            if not isinstance(image, FileRange | ParquetCell) or file_name.endswith(
                str(image).removeprefix(str(image.path))
            ):
                own.append(index)
        elif folders.may_hold(folder, file_name):
            taken[index] = parse_place(folder) / file_name
    return own


def _mask(equal: pa.BooleanArray) -> NDArray[np.bool_]:
    mask: NDArray[np.bool_] = equal.fill_null(False).to_numpy(zero_copy_only=False)
    return mask


def _differing(rows: pa.RecordBatch, fields: pa.Table | None, indices: Indices) -> list[int]:
    """Numbers of the rows whose metadata is not what the candidates at these indices have."""
    if not len(indices):
        return []
    taken = {} if fields is None else dict(zip(fields.column_names, fields.take(indices).columns, strict=True))
    stored = dict(zip(rows.schema.names, rows.columns, strict=True))
    nothing = pa.nulls(len(indices))
    pairs = ((stored.get(name, nothing), taken.get(name, nothing)) for name in {**stored, **taken})
    return sorted({index for there, here in pairs for index in _differing_indices(there.to_pylist(), here.to_pylist())})


def _differing_indices(there: Sequence[Any], here: Sequence[Any]) -> set[int]:
    if there == here:
        return set()
    pairs = zip(there, here, strict=True)
    # repr: NaN equals NaN here
    return {index for index, (old, new) in enumerate(pairs) if old != new and repr(old) != repr(new)}


def _gone(rows: pa.RecordBatch, inputs: InputParts, folders: Folders, spared: Counter[Absence]) -> list[str]:
    """Ids of those rows, which are none of these inputs' items, whose file is nowhere else either."""
    gone = []
    for item_id, folder, file_name in zip(
        *(rows[name].to_pylist() for name in ("id", "folder", "file_name")), strict=True
    ):
        absence = _absence(inputs, folders, folder, file_name)
        if absence is not None:
            spared[absence] += 1
        elif (folder in inputs.folders and inputs.would_have_seen(file_name)) or not folders.may_hold(
            folder, file_name
        ):
            gone.append(item_id)
    return gone


def _absence(inputs: InputParts, folders: Folders, folder: str, file_name: str) -> Absence | None:
    """Why nobody can call a row's file gone; a folder that these inputs were before is, whatever is in its place."""
    is_former = folder in inputs.folders and folder != inputs.folder
    return None if is_former else folders.absence(folder) or absent_link(folder, file_name)

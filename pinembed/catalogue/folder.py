"""A folder of images, or the files of it that a list names, joined with its metadata: candidates in columns."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pinembed.catalogue.candidates import NOT_FOUND, Candidates, IdIndex, Indices, TextColumn
from pinembed.catalogue.files import ListedFiles, ScannedFile, scan_images
from pinembed.catalogue.metadata import (
    RESERVED,
    SPLIT_FOLDERS,
    metadata_tables,
    no_image_in,
    refuse_repeated_ids,
    require_folder,
    split_of,
)
from pinembed.nouns.candidate import Fault

SPLIT = "split"
_ROWS_AT_ONCE = 1 << 14


@dataclass(frozen=True, kw_only=True)
class FolderScan:
    """What a folder holds.

    Attributes:
        candidates: those of metadata rows by file name, then the files that no row names: a row's id comes first.
        faults: rows without a file, and names that are no text.
        files_without_row: how many; 0 where there is no metadata.
    """

    candidates: Candidates
    faults: list[Fault]
    files_without_row: int


@dataclass(frozen=True, kw_only=True)
class _Files:
    """Files by name."""

    names: pa.LargeStringArray
    size_bytes: NDArray[np.int64]
    mtime_ns: NDArray[np.int64]


def scan_folder(root: Path, *, metadata: Path | None, listed: ListedFiles | None) -> FolderScan:
    """List the images and join them with their metadata; without metadata every image file is an item.

    Args:
        root: the folder.
        metadata: a metadata file elsewhere; its `file_name`s are relative to `root`.
        listed: the only files that count, instead of all images of the folder; other metadata rows do not matter then.

    Raises:
        DataError: no such folder, no image in it, unreadable metadata, no `file_name` column, an id that occurs twice.
    """
    require_folder(root)
    files, faults = _sorted(scan_images(root) if listed is None else listed.files.values())
    tables = metadata_tables(root, metadata)
    if not (len(files.names) or faults) and listed is None:
        raise no_image_in(root)
    if not tables:
        every = np.arange(len(files.names))
        splits = _with_splits(pa.table({}), pa.nulls(len(every), pa.string()), files.names)
        candidates = _candidates(root, files, every, files.names, splits)
        return FolderScan(candidates=candidates, faults=faults, files_without_row=0)
    rows = pa.concat_tables([table for _, table in tables], promote_options="permissive").combine_chunks()
    indices = IdIndex(files.names).find(rows["file_name"].combine_chunks())
    candidates, files_without_row = _joined(root, files, rows, indices, tables[0][0])
    if listed is None:
        lacking = rows["file_name"].combine_chunks().take(np.flatnonzero(indices == NOT_FOUND))
        words = "is in the metadata, but not in the folder"
        faults += [Fault(file_name=name, reason="missing_file", words=words) for name in sorted(lacking.to_pylist())]
    return FolderScan(candidates=candidates, faults=faults, files_without_row=files_without_row)


def _sorted(scanned: Iterable[ScannedFile]) -> tuple[_Files, list[Fault]]:
    """The files by name; those whose names are no text are faults."""
    names, size_bytes, mtime_ns = TextColumn(), array("q"), array("q")
    faults = []
    for file in scanned:
        if is_text(file.file_name):
            names.append(file.file_name)
            size_bytes.append(file.size_bytes)
            mtime_ns.append(file.mtime_ns)
        else:
            faults.append(name_fault(file.file_name, file.size_bytes, file.mtime_ns))
    unsorted = names.to_arrow()
    order = pc.sort_indices(unsorted).to_numpy()
    sizes, times = (np.frombuffer(column, dtype=np.int64)[order] for column in (size_bytes, mtime_ns))
    files = _Files(names=unsorted.take(order), size_bytes=sizes, mtime_ns=times)
    return files, sorted(faults, key=lambda fault: fault.file_name)


def is_text(name: str) -> bool:
    """Whether a name can be stored; one whose bytes are no UTF-8, as the file system gives it, cannot."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def name_fault(file_name: str, size_bytes: int, mtime_ns: int) -> Fault:
    """Of a file whose name is no text."""
    words = "has a name that is not UTF-8"
    return Fault(file_name=file_name, reason="name_not_utf8", words=words, size_bytes=size_bytes, mtime_ns=mtime_ns)


def _joined(root: Path, files: _Files, table: pa.Table, indices: Indices, metadata: Path) -> tuple[Candidates, int]:
    """Candidates of the rows that have a file, by name, and of the files that have no row; and how many these are."""
    row_names = table["file_name"].combine_chunks().cast(pa.large_string())
    row_ids = row_names
    if "id" in table.column_names:
        row_ids = pc.coalesce(table["id"].combine_chunks().cast(pa.large_string()), row_names)
    refuse_repeated_ids(
        metadata,
        [row_ids[first].as_py() for first in sorted({first for _, first in IdIndex(row_ids).repeated()})],
        has_ids="id" in table.column_names,
    )
    found = np.flatnonzero(indices != NOT_FOUND)
    found = found[pc.sort_indices(row_names.take(found)).to_numpy()]
    has_row = np.zeros(len(files.names), dtype=bool)
    has_row[indices[found]] = True
    without_row = np.flatnonzero(~has_row)
    ids = pa.concat_arrays([row_ids.take(found), files.names.take(without_row)])
    given = table[SPLIT].combine_chunks() if SPLIT in table.column_names else pa.nulls(len(table), pa.string())
    columns = {name: table[name].combine_chunks().take(found) for name in table.column_names if name not in RESERVED}
    rows = _with_splits(pa.table(columns), given.take(found), row_names.take(found))
    absent = pa.table([pa.nulls(len(without_row), field.type) for field in rows.schema], names=rows.schema.names)
    fields = pa.concat_tables([rows, absent]).combine_chunks()
    order = np.concatenate([indices[found], without_row])
    return _candidates(root, files, order, ids, fields), len(without_row)


def _with_splits(rows: pa.Table, given: pa.Array, names: pa.Array) -> pa.Table:
    """The rows with a column of splits where there are any: as given, else as the folder at the top is called."""
    parts = []
    for start in range(0, len(names), _ROWS_AT_ONCE):
        both = (column.slice(start, _ROWS_AT_ONCE).to_pylist() for column in (given, names))
        splits = [
            split_of(name) if split is None else SPLIT_FOLDERS.get(split, split)
            for split, name in zip(*both, strict=True)
        ]
        parts.append(pa.array(splits, pa.string()))
    column = pa.chunked_array(parts, pa.string()).combine_chunks()
    if column.null_count == len(column):
        return rows
    return rows.append_column(SPLIT, column) if rows.num_columns else pa.table({SPLIT: column})


def _candidates(root: Path, files: _Files, indices: Indices, ids: pa.LargeStringArray, fields: pa.Table) -> Candidates:
    names = files.names.take(indices)
    return Candidates(
        names=names,
        ids=names if ids is files.names else ids,
        size_bytes=files.size_bytes[indices],
        mtime_ns=files.mtime_ns[indices],
        fields=fields if fields.num_columns else None,
        images=root,
    )

"""A folder of images, or the files of it that a list names, joined with its metadata: Hugging Face's ImageFolder.

A folder holds `metadata.csv`, `.jsonl` or `.parquet` with `file_name` and any other columns, at its top or in each
split folder; or no metadata at all. `id` and `split` columns are optional. Where a file has no split by them, the
folders at the top do, `train`, `validation` and `test` in the words of split_words.py.
The join is made once, in columns. encode takes these; `read_catalogue` shows the other commands its rows as Items.
Convention: https://huggingface.co/docs/datasets/image_dataset#imagefolder
"""

from __future__ import annotations

import posixpath
import unicodedata
from array import array
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pinembed.catalogue.beside import Beside
from pinembed.catalogue.candidates import (
    NOT_FOUND,
    Candidates,
    IdIndex,
    Indices,
    TextColumn,
    as_text,
    is_text,
    name_failure,
)
from pinembed.catalogue.files import ListedFiles, ScannedFile, no_image_in
from pinembed.catalogue.listing import FolderListing, Listing
from pinembed.catalogue.metadata import ITEM_COLUMNS, METADATA_NAMES, SPLIT, read_metadata, read_of
from pinembed.catalogue.names import shown
from pinembed.catalogue.split_words import split_of
from pinembed.errors import DataError
from pinembed.nouns.failure import Failure
from pinembed.nouns.item import Candidate, Catalogue, Item
from pinembed.nouns.progress import SILENT, Progress
from pinembed.stores.address import Place

_ROWS_AT_ONCE = 1 << 14


@dataclass(frozen=True, kw_only=True)
class FolderScan:
    """What a folder holds.

    Attributes:
        candidates: those of metadata rows by file name, then the files that no row names: a row's id comes first.
        failures: rows without a file, and names that are no text.
        metadata: the metadata file, or the first of several; None for a bare folder.
        files_without_row: how many of the candidates no row names; 0 where there is no metadata.
        notes: sentences about metadata that was left out.
        unread: sentences about files beside the images that say something of them and are not read.
    """

    candidates: Candidates
    failures: list[Failure]
    metadata: Place | None
    files_without_row: int
    notes: tuple[str, ...]
    unread: tuple[str, ...]


def read_catalogue(root: Path, *, metadata: Path | None = None, progress: Progress = SILENT) -> Catalogue:
    """A catalogue in which every metadata row has its file and every file has its row.

    Args:
        root: the DATA folder.
        metadata: a metadata file elsewhere; its `file_name`s are relative to `root`.
        progress: told what is not read.

    Raises:
        DataError: the folder is missing, empty or without metadata, or rows and files do not match.
    """
    scan = scan_folder(root, metadata=metadata)
    if not isinstance(scan.metadata, Path):
        raise DataError(
            f"{root} has no metadata; wanted one of {', '.join(METADATA_NAMES)}.",
            remedy="Write a metadata.csv with a file_name column and at least one column of text.",
        )
    if scan.notes:
        raise DataError(scan.notes[0], remedy="Mend the rows; what is learned from needs all of them.")
    _refuse_mismatch(root, scan, scan.metadata)
    for sentence in scan.unread:
        progress.say(sentence)
    items = tuple(_item(root, candidate) for candidate in scan.candidates)
    fields = scan.candidates.fields
    schema = pa.schema([] if fields is None else [field for field in fields.schema if field.name != SPLIT])
    return Catalogue(root=root, items=items, schema=schema, metadata=scan.metadata)


def _refuse_mismatch(root: Path, scan: FolderScan, metadata: Place) -> None:
    lacking = [failure.file_name for failure in scan.failures if failure.reason == "missing_file"]
    if lacking:
        raise DataError(
            f"{metadata} names {len(lacking)} file(s) that {root} does not hold: {shown(lacking)}.",
            remedy="Bring the files back or take the rows out.",
        )
    rows = len(scan.candidates) - scan.files_without_row
    unnamed = [as_text(failure.file_name) for failure in scan.failures]
    without_row = [*scan.candidates.names[rows:].to_pylist(), *unnamed]
    if without_row:
        raise DataError(
            f"{root} holds {len(without_row)} image(s) without a row in {metadata}: {shown(without_row)}.",
            remedy="Add the rows or move the images away.",
        )


def _item(root: Path, candidate: Candidate) -> Item:
    return Item(
        id=candidate.id,
        file_name=candidate.file_name,
        path=root / candidate.file_name,
        fields={name: value for name, value in candidate.fields.items() if name != SPLIT},
        split=candidate.fields.get(SPLIT),
    )


def scan_folder(
    root: Path | Listing,
    *,
    metadata: Path | None = None,
    listed: ListedFiles | None = None,
    texts: Collection[str] = (),
) -> FolderScan:
    """List the images and join them with their metadata; without metadata every image file is an item.

    Args:
        root: the folder, or what lies in it.
        metadata: a metadata file elsewhere; its `file_name`s are relative to `root`.
        listed: the only files that count, instead of all images of the folder; other metadata rows do not matter then.
        texts: metadata columns whose types are not to be guessed; out of a CSV they come as text.

    Raises:
        DataError: no such folder, no image in it, unreadable metadata, no `file_name` column, an id that occurs twice.
    """
    listing = FolderListing(root) if isinstance(root, Path) else root
    beside = Beside()
    scanned = listing.files(beside) if listed is None else listed.files.values()
    files, failures = _sorted(listing.root, scanned)
    if listed is not None:
        folders = {parent.as_posix() for name in listed.files for parent in PurePosixPath(name).parents}
        names = (f"{folder}/{name}".removeprefix("./") for folder in folders for name in METADATA_NAMES)
        beside.metadata += [name for name in names if listing.holds(name)]
    if metadata is not None:  # which says that no other is wanted
        beside = replace(beside, metadata=[], other_metadata=[])
    unread = tuple(map(as_text, beside.unread(str(listing.root))))
    notes: list[str] = []
    with listing.with_files(read_of(beside.metadata)) as folder:
        found = read_metadata(folder, metadata, beside.metadata, notes, texts=texts)
    if found is None and not (len(files) or failures) and listed is None:
        raise no_image_in(listing.root, unread)
    if found is None:
        bare = replace(files, fields=_with_splits({}, pa.nulls(len(files), pa.string()), files.names))
        return FolderScan(
            candidates=bare, failures=failures, metadata=None, files_without_row=0, notes=(), unread=unread
        )
    brought, table = found
    path = listing.root / brought.relative_to(folder).as_posix() if brought.is_relative_to(folder) else brought
    rows = table.combine_chunks()
    candidates, lacking, files_without_row = _joined(files, rows, path, listing if listed is None else None)
    if listed is None:
        failures += [
            Failure(file_name=name, reason="missing_file", message=f"{name} is in the metadata, but not in the folder.")
            for name in lacking
            if not listing.came_later(_cleaned(name))
        ]
    return FolderScan(
        candidates=candidates,
        failures=failures,
        metadata=path,
        files_without_row=files_without_row,
        notes=tuple(notes),
        unread=unread,
    )


def _sorted(root: Place, scanned: Iterable[ScannedFile]) -> tuple[Candidates, list[Failure]]:
    """The files by name, each its own item; those whose names are no text are failures."""
    names, size_bytes, mtime_ns = TextColumn(), array("q"), array("q")
    failures = []
    for file in scanned:
        if is_text(file.file_name):
            names.append(file.file_name)
            size_bytes.append(file.size_bytes)
            mtime_ns.append(file.mtime_ns)
        else:
            failures.append(name_failure(file.file_name, file.size_bytes, file.mtime_ns))
    unsorted = names.to_arrow()
    order = pc.sort_indices(unsorted).to_numpy()
    sizes, times = (np.frombuffer(column, dtype=np.int64)[order] for column in (size_bytes, mtime_ns))
    ordered = unsorted.take(order)
    files = Candidates(names=ordered, ids=ordered, size_bytes=sizes, mtime_ns=times, fields=None, images=root)
    return files, sorted(failures, key=lambda failure: failure.file_name)


def _joined(
    files: Candidates, rows: pa.Table, metadata: Place, listing: Listing | None
) -> tuple[Candidates, list[str], int]:
    """Rows and files side by side.

    Args:
        files: by name.
        rows: of the metadata.
        metadata: its file.
        listing: of the folder, where all of its files count, so that a row without one is lost; None where a list
            names them.

    Returns:
        candidates of the rows that have a file, by name, and then of the files that have no row; the names of the rows
        that have no file, sorted; how many files have no row.
    """
    row_names = rows["file_name"].combine_chunks().cast(pa.large_string())
    row_ids = _row_ids(rows, row_names, metadata)
    files, indices = _files_of_rows(files, row_names, listing)
    if listing is not None and len(rows) and (indices == NOT_FOUND).all():
        raise DataError(
            f"{metadata} names {len(rows)} file(s) of which {files.images} holds none; the first is {row_names[0]}.",
            remedy="Write file_name as the image's path relative to the folder.",
        )
    found = np.flatnonzero(indices != NOT_FOUND)
    if row_ids is row_names:
        _refuse_repeated(metadata, "file_name", files.names.take(indices[found]))  # in two spellings
    found = found[pc.sort_indices(row_names.take(found)).to_numpy()]
    without_row = np.delete(np.arange(len(files)), indices[found])
    order = np.concatenate([indices[found], without_row])
    names = files.names.take(order)
    # a null for each file without a row, of which `take` makes a row of nulls
    row_of = pa.array(np.concatenate([found, np.zeros_like(without_row)]), mask=np.arange(len(order)) >= len(found))
    columns = {name: rows[name].combine_chunks().take(row_of) for name in rows.column_names if name not in ITEM_COLUMNS}
    given = rows[SPLIT].combine_chunks() if SPLIT in rows.column_names else pa.nulls(len(rows), pa.string())
    candidates = replace(
        files,
        names=names,
        ids=names if row_ids is row_names else pc.coalesce(row_ids.take(row_of), names),
        size_bytes=files.size_bytes[order],
        mtime_ns=files.mtime_ns[order],
        fields=_with_splits(columns, given.take(row_of), names),
    )
    lacking = row_names.take(np.flatnonzero(indices == NOT_FOUND)).to_pylist()
    return candidates, sorted(lacking), len(without_row)


def _files_of_rows(
    files: Candidates, names: pa.LargeStringArray, listing: Listing | None
) -> tuple[Candidates, Indices]:
    """The file of each row, however its name is spelled, and the files with those that only the rows led to."""
    index = IdIndex(files.names)
    indices = index.find(names)
    _find_by_other_spellings(files.names, index, names, indices)
    if listing is None:
        return files, indices
    is_lost = indices == NOT_FOUND
    lost = [_cleaned(name) for name in names.filter(pa.array(is_lost)).to_pylist()]
    present = [name for name in dict.fromkeys(lost) if not listing.came_later(name)]
    unscanned = [found for name in present if (found := listing.find(name)) is not None]
    if not unscanned:
        return files, indices
    sizes = np.array([file.size_bytes for file in unscanned], np.int64)
    times = np.array([file.mtime_ns for file in unscanned], np.int64)
    extra = pa.array([file.file_name for file in unscanned], pa.large_string())
    every = pa.concat_arrays([files.names, extra])
    sizes, times = np.concatenate([files.size_bytes, sizes]), np.concatenate([files.mtime_ns, times])
    files = replace(files, names=every, ids=every, size_bytes=sizes, mtime_ns=times)
    indices[is_lost] = IdIndex(every).find(pa.array(lost, pa.large_string()))
    return files, indices


def _find_by_other_spellings(
    files: pa.LargeStringArray, index: IdIndex, names: pa.LargeStringArray, indices: Indices
) -> None:
    """Fill in the files of names that spell them otherwise: `./a.png`, backslashes, composed or decomposed accents."""
    lost = np.flatnonzero(indices == NOT_FOUND)
    if not len(lost):
        return
    cleaned = [_cleaned(name) for name in names.take(lost).to_pylist()]
    indices[lost] = index.find(pa.array(cleaned, pa.large_string()))
    still = [(at, name) for at, name in zip(lost.tolist(), cleaned, strict=True) if indices[at] == NOT_FOUND]
    if any(not name.isascii() for _, name in still):
        composed = {unicodedata.normalize("NFC", name): at for at, name in enumerate(files.to_pylist())}
        for at, name in still:
            indices[at] = composed.get(unicodedata.normalize("NFC", name), NOT_FOUND)


def _cleaned(name: str) -> str:
    return posixpath.normpath(name.replace("\\", "/"))


def _row_ids(rows: pa.Table, names: pa.LargeStringArray, metadata: Place) -> pa.LargeStringArray:
    """The id of each row, which is its file name where it has none.

    Raises:
        DataError: several rows have the same.
    """
    column = "id" if "id" in rows.column_names else "file_name"
    ids = names if column == "file_name" else pc.coalesce(rows[column].combine_chunks().cast(pa.large_string()), names)
    _refuse_repeated(metadata, column, ids)
    return ids


def _refuse_repeated(metadata: Place, column: str, ids: pa.LargeStringArray) -> None:
    repeated = [ids[first].as_py() for first in sorted({first for _, first in IdIndex(ids).repeated()})]
    if repeated:
        raise DataError(
            f"{metadata} holds {len(repeated)} {column}(s) more than once: {shown(repeated)}.",
            remedy=f"Give each item a {column} of its own; put what several items share into another column.",
        )


def _with_splits(columns: dict[str, pa.Array], given: pa.Array, names: pa.Array) -> pa.Table | None:
    """A table of the columns and, where any file has a split, of the splits; None where that leaves no column."""
    parts = []
    for start in range(0, len(names), _ROWS_AT_ONCE):
        both = (column.slice(start, _ROWS_AT_ONCE).to_pylist() for column in (names, given))
        parts.append(pa.array(map(split_of, *both), pa.string()))
    splits = pa.chunked_array(parts, pa.string()).combine_chunks()
    if splits.null_count < len(splits):
        columns = {**columns, SPLIT: splits}
    return pa.table(columns) if columns else None

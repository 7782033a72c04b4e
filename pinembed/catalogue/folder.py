"""A folder of images, or the files of it that a list names, joined with its metadata: Hugging Face's ImageFolder.

A folder holds `metadata.csv`, `.jsonl` or `.parquet` with `file_name` and any other columns, at its top or in each
split folder; or no metadata at all. `id` and `split` columns are optional. Where a file has no split by them, the
folders at the top do, `train`, `validation` and `test` in the words of split_words.py.
The join is made once, in columns. encode takes these; `read_catalogue` shows the other commands its rows as Items.
Convention: https://huggingface.co/docs/datasets/image_dataset#imagefolder
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import pyarrow as pa

from pinembed.catalogue.beside import Beside
from pinembed.catalogue.candidates import Candidates, as_text
from pinembed.catalogue.file_chunks import FileChunk, chunks_of, with_splits
from pinembed.catalogue.file_rows import FileRows, cleaned
from pinembed.catalogue.files import ListedFiles, no_image_in
from pinembed.catalogue.listing import FolderListing, Listing
from pinembed.catalogue.metadata import METADATA_NAMES, SPLIT, read_metadata, read_of
from pinembed.catalogue.names import shown
from pinembed.errors import DataError
from pinembed.nouns.failure import Failure
from pinembed.nouns.item import Candidate, Catalogue, Item
from pinembed.nouns.progress import SILENT, Progress
from pinembed.stores.address import Place


@dataclass(frozen=True, kw_only=True)
class FolderScan:
    """What a folder holds, or a part of it; the first part alone has the failures, the count and the sentences of all.

    Attributes:
        candidates: those of metadata rows by file name, then the files that no row names: a row's id comes first.
        failures: rows without a file, and names that are no text.
        metadata: the metadata file, or the first of several; None for a bare folder.
        files_without_row: how many of the candidates no row names; 0 where there is no metadata.
        notes: sentences about metadata that was left out.
        unread: sentences about files beside the images that say something of them and are not read.
        taken: names of the files that have the ids of some candidates, by the candidate's index; where both are in one
            part it may lack.
        has_more: another part follows.
    """

    candidates: Candidates = field(default_factory=Candidates.none)
    failures: list[Failure] = field(default_factory=list)
    metadata: Place | None = None
    files_without_row: int = 0
    notes: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    taken: Mapping[int, str] = field(default_factory=dict)
    has_more: bool = False


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
    [scan] = scan_in_parts(root, metadata=metadata, listed=listed, texts=texts)
    return scan


def scan_in_parts(
    root: Path | Listing,
    *,
    metadata: Path | None = None,
    listed: ListedFiles | None = None,
    texts: Collection[str] = (),
    most: int = sys.maxsize,
) -> Iterator[FolderScan]:
    """As `scan_folder`, in parts where there are more than `most` files; those of a list come in one.

    Raises:
        DataError: as `scan_folder`, or there is no room for several parts in the folder for temporary files.
    """
    listing = FolderListing(root) if isinstance(root, Path) else root
    beside = Beside()
    scanned = listing.files(beside) if listed is None else listed.files.values()
    chunks, failures = chunks_of(listing.root, scanned, most=most if listed is None else sys.maxsize)
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
    if found is None and not (any(chunk.count for chunk in chunks) or failures) and listed is None:
        raise no_image_in(listing.root, unread)
    told = FolderScan(failures=failures, notes=tuple(notes), unread=unread)
    if found is None:
        return _parts(told, _bare(chunks), len(chunks))
    brought, table = found
    path = listing.root / brought.relative_to(folder).as_posix() if brought.is_relative_to(folder) else brought
    rows = FileRows(chunks, table.combine_chunks(), path, listing if listed is None else None)
    lacking = [
        Failure(file_name=name, reason="missing_file", message=f"{name} is in the metadata, but not in the folder.")
        for name in (rows.lacking() if listed is None else ())
        if not listing.came_later(cleaned(name))
    ]
    told = replace(told, failures=[*failures, *lacking], metadata=path, files_without_row=rows.files_without_row)
    parts = _parts(told, rows.part, len(chunks))
    # one at once, so that nothing holds the rows and the files beside what is made of them
    return iter([*parts]) if len(chunks) == 1 else parts


def _parts(
    told: FolderScan, part: Callable[[int], tuple[Candidates, dict[int, str]]], count: int
) -> Iterator[FolderScan]:
    """The parts of a scan.

    Args:
        told: what is told of all parts, with the first of them.
        part: makes the candidates of one, with the holders of ids that others have.
        count: of parts.
    """
    for number in range(count):
        candidates, taken = part(number)
        scan = replace(
            told if number == 0 else FolderScan(metadata=told.metadata),
            candidates=candidates,
            taken=taken,
            has_more=number + 1 < count,
        )
        del candidates
        yield scan
        del scan  # while the next one is made


def _bare(chunks: Sequence[FileChunk]) -> Callable[[int], tuple[Candidates, dict[int, str]]]:
    """What makes the parts where there is no metadata."""
    always = any(chunk.has_split for chunk in chunks)

    def part(number: int) -> tuple[Candidates, dict[int, str]]:
        files = chunks[number].load()
        fields = with_splits({}, pa.nulls(len(files), pa.string()), files.names, always=always)
        return replace(files, fields=fields), {}

    return part

"""What is there to encode: the items of the IMAGES folder with their files, and what cannot be an item."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from pinembed.catalogue.metadata import CatalogueScan, scan_catalogue
from pinembed.catalogue.scan import ScannedFile
from pinembed.nouns.item import FieldValue, Item
from pinembed.table.failures import Failure


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """One item and its file.

    Attributes:
        item: id and metadata.
        file: as the scan saw it.
        fields: what the table stores of the item's metadata.
    """

    item: Item
    file: ScannedFile
    fields: dict[str, FieldValue]


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Everything that one scan found.

    Attributes:
        folder: IMAGES, absolute; links in its path are kept, as a mount's name is what stays.
        candidates: sorted by file name.
        schema: metadata columns that the table needs.
        failures: what cannot be read at all: rows without a file, names that are no text, ids that are taken.
        files_without_row: number of images that the metadata does not name.
    """

    folder: str
    candidates: tuple[Candidate, ...]
    schema: pa.Schema
    failures: tuple[Failure, ...]
    files_without_row: int


def find_inputs(images: Path, metadata: Path | None) -> Inputs:
    """List the folder, read its metadata and join them.

    Raises:
        DataError: no such folder, no image in it, unreadable metadata, an id that occurs twice.
    """
    folder = os.path.abspath(images)  # noqa: PTH100  (resolve() would follow the mount's links)
    scan = scan_catalogue(images, metadata=metadata)
    items = scan.catalogue.items
    schema = scan.catalogue.schema
    has_splits = bool(scan.catalogue.splits)
    if has_splits:
        schema = schema.append(pa.field("split", pa.string()))
    candidates: list[Candidate] = []
    failures = [
        _failure(folder, name, "missing_file", "is in the metadata, but not in the folder")
        for name in scan.rows_without_file
    ]
    ids: set[str] = set()
    for item in (*items, *_items_without_row(scan)):  # a row's id comes before a file's name
        file = scan.files[item.file_name]
        if not _is_text(item.file_name):
            failures.append(_failure(folder, item.file_name, "name_not_utf8", "has a name that is not UTF-8", file))
        elif item.id in ids:
            failures.append(
                _failure(folder, item.file_name, "id_taken", "has the id of another item as its name", file)
            )
        else:
            ids.add(item.id)
            fields = {**item.fields, "split": item.split} if has_splits else dict(item.fields)
            candidates.append(Candidate(item=item, file=file, fields=fields))
    return Inputs(
        folder=folder,
        candidates=tuple(candidates),
        schema=schema,
        failures=tuple(failures),
        files_without_row=len(scan.files_without_row),
    )


def _items_without_row(scan: CatalogueScan) -> list[Item]:
    return [Item(id=name, file_name=name, path=scan.files[name].path) for name in scan.files_without_row]


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:  # the file system's bytes are no UTF-8; Arrow could not store them
        return False
    return True


def _failure(folder: str, file_name: str, reason: str, words: str, file: ScannedFile | None = None) -> Failure:
    shown = os.fsencode(file_name).decode("utf-8", "backslashreplace")
    return Failure(
        id=shown,
        folder=folder,
        file_name=shown,
        size_bytes=file.size_bytes if file else 0,
        mtime_ns=file.mtime_ns if file else 0,
        reason=reason,
        message=f"{shown} {words}.",
    )

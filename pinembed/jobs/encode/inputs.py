"""What is there to encode: the items of a folder, a list, tars or Parquet files, and what cannot be an item."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from pinembed.catalogue.listed import ListedFiles, listed_files
from pinembed.catalogue.metadata import CatalogueScan, scan_catalogue
from pinembed.catalogue.parquet_shards import scan_parquets
from pinembed.catalogue.scan import scan_images
from pinembed.catalogue.shards import PARQUET, TAR, Shard, ShardScan, refuse_nothing, shard_kind, shards_of_folder
from pinembed.catalogue.tar_shards import scan_tars
from pinembed.errors import DataError, UsageError
from pinembed.nouns.candidate import Candidate, Fault
from pinembed.nouns.item import Item
from pinembed.table.failures import Failure
from pinembed.table.schema import OWN_COLUMNS

TAKEN_PREFIX = "source_"


@dataclass(frozen=True, kw_only=True, slots=True)
class InputChoice:
    """What the user named.

    Attributes:
        images: a folder, a tar or a Parquet file.
        metadata: metadata file; None takes the folder's own where there is one.
        files_from: list of the files to take; None takes all.
        null_separated: the list's names end in NUL instead of a line break.
        image_column: column of the images in Parquet; None looks for it.
    """

    images: Path
    metadata: Path | None = None
    files_from: Path | None = None
    null_separated: bool = False
    image_column: str | None = None


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Everything that one scan found.

    Attributes:
        folder: that all file names are relative to, absolute; links in its path are kept, as a mount's name is what
            stays.
        candidates: sorted by file name, those in tars and Parquet files by file and then as they lie there.
        schema: metadata columns that the table needs.
        failures: what cannot be read at all: rows without a file, names that are no text, ids that are taken.
        notes: sentences for a person.
        seen: beginnings of the file names that the scan would have met, where their file is still there; "" is all.
        unsure: beginnings of file names of which it cannot say that.
        disk: that the folder lay on, as the system numbers it.
    """

    folder: str
    candidates: tuple[Candidate, ...]
    schema: pa.Schema
    failures: tuple[Failure, ...]
    notes: tuple[str, ...] = ()
    seen: tuple[str, ...] = ("",)
    unsure: tuple[str, ...] = ()
    disk: int

    def check_presence(self) -> None:
        """Tell a lost disk from a lost file.

        Raises:
            DataError: the folder is gone, or another disk lies in its place, as where a mount was.
        """
        try:
            is_there = os.stat(self.folder).st_dev == self.disk  # noqa: PTH116
        except OSError:
            is_there = False
        if not is_there:
            raise DataError(
                f"{self.folder} is not there any more; it went away during the run.",
                remedy="Bring the disk back and run the same command again; what was encoded so far is stored.",
            )

    def would_have_seen(self, file_name: str) -> bool:
        """Whether a file of this folder that the scan did not meet is gone."""
        below = f"{file_name}/"  # so that a tar itself is among what was seen of it
        return below.startswith(self.seen) and not below.startswith(self.unsure)


def find_inputs(choice: InputChoice) -> Inputs:
    """List the images, read their metadata and join them.

    Raises:
        DataError: no such folder, no image in it, unreadable metadata, an id that occurs twice.
        UsageError: options that do not go with this kind of inputs.
    """
    if choice.null_separated and choice.files_from is None:
        raise UsageError("--null says how --files-from is separated; there is none.", remedy="Give --files-from LIST.")
    kind = shard_kind(choice.images)
    if kind is not None:
        file = Shard(path=choice.images, file_name=choice.images.name)
        return _from_shards(choice, kind, [file], folder=_absolute(choice.images.parent), seen=(f"{file.file_name}/",))
    shards = {} if choice.files_from is not None or _holds_pictures(choice.images) else shards_of_folder(choice.images)
    if not shards:
        return _from_folder(choice)
    if len(shards) > 1:
        raise DataError(
            f"{choice.images} holds {len(shards[TAR])} tar and {len(shards[PARQUET])} Parquet file(s).",
            remedy="Give a folder with one kind of them, or one of the files.",
        )
    [(kind, files)] = shards.items()
    return _from_shards(choice, kind, files, folder=_absolute(choice.images), seen=("",))


def _holds_pictures(folder: Path) -> bool:
    """Whether a folder is one of image files; what has no suffix may as well be a note beside tars."""
    return not folder.is_dir() or any("." in scanned.path.name for scanned in scan_images(folder))


def _absolute(path: Path) -> str:
    return os.path.abspath(path)  # noqa: PTH100  (resolve() would follow the mount's links)


def _disk(folder: str) -> int:
    try:
        return os.stat(folder).st_dev  # noqa: PTH116
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror or error}.", remedy="Check the disk.") from error


def _from_folder(choice: InputChoice) -> Inputs:
    if choice.image_column is not None:
        raise _needless("--image-column", choice.images, "Parquet files")
    folder = _absolute(choice.images)
    listed = None
    if choice.files_from is not None:
        listed = listed_files(choice.images, choice.files_from, separator=b"\0" if choice.null_separated else b"\n")
    scan = scan_catalogue(choice.images, metadata=choice.metadata, listed=listed.files if listed else None)
    schema = scan.catalogue.schema
    has_splits = bool(scan.catalogue.splits)
    if has_splits:
        schema = schema.append(pa.field("split", pa.string()))
    missing = [
        Fault(file_name=name, reason="missing_file", words="is in the metadata, but not in the folder")
        for name in scan.rows_without_file
    ]
    candidates, faults = _told_apart(_candidates(scan, with_splits=has_splits))
    return Inputs(
        folder=folder,
        disk=_disk(folder),
        candidates=candidates,
        schema=schema,
        failures=_failures(folder, [*(listed.faults if listed else ()), *missing, *faults]),
        notes=_notes(scan, listed),
        seen=("",) if listed is None else (),
    )


def _from_shards(
    choice: InputChoice, kind: str, shards: Sequence[Shard], *, folder: str, seen: tuple[str, ...]
) -> Inputs:
    what = f"{kind} files"
    if choice.metadata is not None:
        raise _needless("--metadata", choice.images, "a folder of images", f"{what} bring their own metadata")
    if choice.files_from is not None:
        raise _needless("--files-from", choice.images, "a folder of images", "a list names files, not what is in them")
    if choice.image_column is not None and kind != PARQUET:
        raise _needless("--image-column", choice.images, "Parquet files")
    scan = scan_tars(shards) if kind == TAR else scan_parquets(shards, choice.image_column)
    refuse_nothing(scan, choice.images, shards)
    notes = [*scan.notes, *_free_names(scan)]
    candidates, faults = _told_apart(scan.candidates)
    return Inputs(
        folder=folder,
        disk=_disk(folder),
        candidates=candidates,
        schema=scan.schema,
        failures=_failures(folder, [*scan.faults, *faults]),
        notes=tuple(notes),
        seen=seen,
        unsure=tuple(f"{name}/" for name in scan.damaged),
    )


def _needless(option: str, images: Path, wanted: str, reason: str = "") -> UsageError:
    return UsageError(
        f"{option} goes with {wanted}; {images} is something else" + (f", and {reason}." if reason else "."),
        remedy=f"Leave {option} out.",
    )


def _candidates(scan: CatalogueScan, *, with_splits: bool) -> Iterable[Candidate]:
    """The folder's items, those of metadata rows first: a row's id comes before a file's name."""
    rows = scan.catalogue.items
    for item in (
        *rows,
        *(Item(id=name, file_name=name, path=scan.files[name].path) for name in scan.files_without_row),
    ):
        file = scan.files[item.file_name]
        yield Candidate(
            id=item.id,
            file_name=item.file_name,
            image=file.path,
            size_bytes=file.size_bytes,
            mtime_ns=file.mtime_ns,
            fields={**item.fields, "split": item.split} if with_splits else dict(item.fields),
        )


def _told_apart(candidates: Iterable[Candidate]) -> tuple[tuple[Candidate, ...], list[Fault]]:
    """The candidates that can be items; names that are no text, and ids that an earlier one has, cannot."""
    kept: dict[str, Candidate] = {}
    faults = []
    for candidate in candidates:
        if not (_is_text(candidate.file_name) and _is_text(candidate.id)):
            faults.append(_fault(candidate, "name_not_utf8", "has a name that is not UTF-8"))
        elif candidate.id in kept:
            other = kept[candidate.id].file_name
            faults.append(_fault(candidate, "id_taken", f"has the id {candidate.id}, which {other} has"))
        else:
            kept[candidate.id] = candidate
    return tuple(kept.values()), faults


def _fault(candidate: Candidate, reason: str, words: str) -> Fault:
    size_bytes = candidate.size_bytes or 0
    return Fault(
        file_name=candidate.file_name, reason=reason, words=words, size_bytes=size_bytes, mtime_ns=candidate.mtime_ns
    )


def _failures(folder: str, faults: Iterable[Fault]) -> tuple[Failure, ...]:
    """Faults as the failures table keeps them, by the name of the file."""
    failures = []
    for fault in faults:
        shown = os.fsencode(fault.file_name).decode("utf-8", "backslashreplace")
        failures.append(
            Failure(
                id=shown,
                folder=folder,
                file_name=shown,
                size_bytes=fault.size_bytes,
                mtime_ns=fault.mtime_ns,
                reason=fault.reason,
                message=f"{shown} {fault.words}.",
            )
        )
    return tuple(failures)


def _free_names(scan: ShardScan) -> Iterable[str]:
    """Rename metadata columns whose names the table cannot give away; img2dataset's tars have a sha256, for one."""
    names: dict[str, str] = {}
    for name in scan.schema.names:
        free = name.replace(".", "_") or "column"
        while free in OWN_COLUMNS or free in names.values():
            free = f"{TAKEN_PREFIX}{free}"
        names[name] = free
    renamed = {old: new for old, new in names.items() if old != new}
    if not renamed:
        return
    scan.schema = pa.schema([field.with_name(names[field.name]) for field in scan.schema])
    scan.candidates = [
        dataclasses.replace(candidate, fields={names[name]: value for name, value in candidate.fields.items()})
        for candidate in scan.candidates
    ]
    for old, new in renamed.items():
        yield f"The metadata's {old!r} is stored as {new}; the table cannot have a metadata column of that name."


def _notes(scan: CatalogueScan, listed: ListedFiles | None) -> tuple[str, ...]:
    notes = []
    if listed is not None and listed.repeated:
        notes.append(
            f"{listed.repeated} name(s) in the list stand for a file that it has named before; it counts once."
        )
    if scan.files_without_row:
        notes.append(
            f"{len(scan.files_without_row)} image(s) have no row in the metadata; "
            "they are encoded under their file names, with empty columns."
        )
    return tuple(notes)


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:  # the file system's bytes are no UTF-8; Arrow could not store them
        return False
    return True

"""What is there to encode: the items of a folder, a list, tars or Parquet files, and what cannot be an item."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import pyarrow as pa
import pyarrow.compute as pc

from pinembed.catalogue.candidates import Candidates, as_text, is_text
from pinembed.catalogue.files import ListedFiles, listed_files, scan_images
from pinembed.catalogue.folder import FolderScan, scan_in_parts
from pinembed.catalogue.frozen import found_once
from pinembed.catalogue.listing import (
    FolderListing,
    Listing,
    StoreListing,
    has_braces,
    listed_objects,
    shards_in_braces,
)
from pinembed.catalogue.metadata import METADATA_NAMES
from pinembed.catalogue.names import shown
from pinembed.catalogue.parquet_shards import are_records_of_tars, scan_parquets
from pinembed.catalogue.parts import InputParts, Inputs, without_taken
from pinembed.catalogue.shards import (
    PARQUET,
    TAR,
    Shard,
    ShardScan,
    fit_metadata,
    packed_below,
    refuse_nothing,
    shard_kind,
    shards_of_folder,
)
from pinembed.catalogue.tar_shards import scan_tars
from pinembed.errors import DataError, UsageError
from pinembed.machine import disk_of
from pinembed.nouns.failure import Failure
from pinembed.settings.encoding import EncodeSettings
from pinembed.stores.address import Address, Place, absolute_place, is_address, parse_place
from pinembed.stores.objects import is_prefix, look_at
from pinembed.table.columns import as_stated
from pinembed.table.schema import metadata_fields


def find_inputs(settings: EncodeSettings, *, texts: Collection[str] = ()) -> InputParts:
    """List the images, read their metadata and join them.

    They come in parts of `settings.plan_images` images; those that a list names come in one.

    Args:
        settings: what was asked for.
        texts: metadata columns that the table holds as text, so that a CSV's text for them is taken as it is written.

    Raises:
        DataError: no such folder, no image in it, unreadable metadata, an id that occurs twice.
        UsageError: options that do not go with this kind of inputs.
    """
    if settings.null_separated and settings.files_from is None:
        raise UsageError("--null says how --files-from is separated; there is none.", remedy="Give --files-from LIST.")
    stated = settings.column_types
    parts = _found(settings, {*texts, *stated})
    return parts.changed(functools.partial(_stated, stated)) if stated else parts


def _stated(stated: Mapping[str, str], inputs: Inputs) -> Inputs:
    fields, notes = as_stated(inputs.candidates.fields, stated)
    return dataclasses.replace(
        inputs,
        candidates=dataclasses.replace(inputs.candidates, fields=fields),
        schema=inputs.schema if fields is None else fields.schema,
        notes=(*inputs.notes, *notes),
    )


def _found(settings: EncodeSettings, texts: Collection[str]) -> InputParts:
    place = parse_place(settings.images)
    if isinstance(place, Address):
        return _found_in_store(settings, place, texts)
    kind = shard_kind(settings.images) if settings.images.is_file() else None
    if kind is not None:
        file = Shard(path=settings.images, file_name=settings.images.name)
        return _from_shards(
            settings, kind, [file], folder=_absolute(settings.images.parent), seen=(f"{file.file_name}/",)
        )
    images, is_listed = settings.images, settings.files_from is not None
    shards = found_once(
        images, ("shards", is_listed), lambda: {} if is_listed or _holds_pictures(images) else shards_of_folder(images)
    )
    if not shards:
        return _from_folder(settings, texts, FolderListing(images))
    return _from_shards(settings, *_one_kind(images, shards), folder=_absolute(images), seen=("",))


def _found_in_store(settings: EncodeSettings, place: Address, texts: Collection[str]) -> InputParts:
    """As `_found`, of the object at an address, those that its braces name, or those below it."""
    if has_braces(place.key):
        root, files = shards_in_braces(place)
        kind = shard_kind(files[0].path)
        if kind is not None and all(shard_kind(shard.path) == kind for shard in files):
            seen = tuple(f"{shard.file_name}/" for shard in files)
            return _from_shards(settings, kind, files, folder=str(root), seen=seen)
        raise DataError(f"{place} names files of several kinds; wanted tars or Parquet files.", remedy="Name one kind.")
    kind = shard_kind(place)
    if kind is not None and (object_there := look_at(place)) is not None:
        file = Shard(path=place, file_name=place.name, found=object_there)
        return _from_shards(settings, kind, [file], folder=str(place.parent), seen=(f"{file.file_name}/",))
    listing = StoreListing(place)
    shards = {} if settings.files_from is not None or listing.holds_pictures else listing.shards()
    if not shards:
        return _from_folder(settings, texts, listing)
    kind, files = _one_kind(place, shards)
    return _from_shards(settings, kind, files, folder=str(place), seen=("",), listing=listing)


def _one_kind(images: Place, shards: dict[str, list[Shard]]) -> tuple[str, list[Shard]]:
    """The kind of the files in a folder, and they.

    Raises:
        DataError: there are two kinds.
    """
    if len(shards) > 1 and are_records_of_tars(shards[PARQUET], shards[TAR]):
        return TAR, shards[TAR]
    if len(shards) > 1:
        raise DataError(
            f"{images} holds {len(shards[TAR])} tar and {len(shards[PARQUET])} Parquet file(s).",
            remedy="Give a folder with one kind of them, or one of the files.",
        )
    [found] = shards.items()
    return found


def _holds_pictures(folder: Path) -> bool:
    """Whether a folder is one of image files; what has no suffix may as well be a note beside tars."""
    return not folder.is_dir() or any("." in scanned.path.name for scanned in scan_images(folder))


def _absolute(path: Path) -> str:
    folder = absolute_place(path)
    if not is_text(folder):
        raise DataError(
            f"{as_text(folder)} is no UTF-8, in which the table keeps where its rows are from.",
            remedy="Rename the folder, or give a link to it.",
        )
    return folder


def _disk(folder: str) -> int:
    if is_address(folder):
        return 0
    try:
        return disk_of(folder)
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror or error}.", remedy="Check the disk.") from error


def _from_folder(settings: EncodeSettings, texts: Collection[str], listing: Listing) -> InputParts:
    """The items of a folder of image files; where they are frozen, as the first scan found them."""
    asked = dataclasses.replace(settings, table="any/table", encoder="any", dry_run=False, measure=False)
    key = (repr(asked), frozenset(texts))
    found = found_once(settings.images, key, lambda: InputParts(_scanned(settings, texts, listing)))
    return found.changed(functools.partial(_without_late, listing.came_later))


def _without_late(came_later: Callable[[str], bool], inputs: Inputs) -> Inputs:
    """Without failures of files that were missing at the first look; what has come since is the next run's."""
    missing = {failure.file_name for failure in inputs.failures if failure.reason == "missing_file"}
    came = {name for name in missing if came_later(name)}
    lasting = tuple(failure for failure in inputs.failures if failure.file_name not in came)
    return dataclasses.replace(inputs, failures=lasting)


def _scanned(settings: EncodeSettings, texts: Collection[str], listing: Listing) -> Iterator[Inputs]:
    if settings.image_column is not None:
        raise _needless("--image-column", settings.images, "Parquet files")
    folder = _absolute(settings.images)
    listed = None
    if settings.files_from is not None:
        separator = b"\0" if settings.null_separated else b"\n"
        if isinstance(listing, StoreListing):
            listed = listed_objects(listing, settings.files_from, separator=separator)
        else:
            listed = listed_files(settings.images, settings.files_from, separator=separator)
    found: Inputs | None = None
    scans = scan_in_parts(listing, metadata=settings.metadata, listed=listed, texts=texts, most=settings.plan_images)
    for scan in scans:
        found = found or _empty(settings, folder, seen=("",) if listed is None else ())
        yield _of_scan(settings, scan, found, listed)
        del scan  # while the next one is made


def _empty(settings: EncodeSettings, folder: str, *, seen: tuple[str, ...]) -> Inputs:
    """What all parts of the inputs have."""
    return Inputs(
        folder=folder,
        disk=_disk(folder),
        folders=_folders(settings, folder),
        candidates=Candidates.none(),
        schema=pa.schema([]),
        failures=(),
        seen=seen,
    )


def _of_scan(settings: EncodeSettings, scan: FolderScan, found: Inputs, listed: ListedFiles | None) -> Inputs:
    """`found` with what a scan of image files found."""
    candidates = _with_prefix(settings, scan.candidates)
    schema = pa.schema([]) if candidates.fields is None else candidates.fields.schema
    metadata_fields(schema)  # a name that no column can have is refused before anything is made
    part = dataclasses.replace(
        found,
        candidates=candidates,
        schema=schema,
        failures=_stored(found.folder, [*(listed.failures if listed else ()), *scan.failures]),
        notes=_notes(scan, listed),
        has_more=scan.has_more,
    )
    return _without_repeated(part, scan.taken)


def _from_shards(
    settings: EncodeSettings,
    kind: str,
    shards: Sequence[Shard],
    *,
    folder: str,
    seen: tuple[str, ...],
    listing: StoreListing | None = None,
) -> InputParts:
    what = f"{kind} files"
    if settings.metadata is not None:
        raise _needless("--metadata", settings.images, "a folder of images", f"{what} bring their own metadata")
    if settings.files_from is not None:
        raise _needless(
            "--files-from", settings.images, "a folder of images", "a list names files, not what is in them"
        )
    if settings.image_column is not None and kind != PARQUET:
        raise _needless("--image-column", settings.images, "Parquet files")
    now = tuple(shard.status() for shard in shards)
    first = found_once(settings.images, "statuses", lambda: now)
    statuses = [*zip(shards, first, now, strict=True)]
    whole = [shard for shard, was, status in statuses if status == was]
    changed = [shard for shard, was, status in statuses if status != was]
    found = _empty(settings, folder, seen=seen)

    def parts() -> Iterator[Inputs]:
        is_first = True
        for scan, has_more in _scans(settings, kind, whole):
            notes = []
            if is_first:
                for shard in changed:
                    words = "changed since this run first looked at it; it belongs to the next"
                    scan.give_up(shard, "changed_while_read", words)
                refuse_nothing(scan, parse_place(settings.images), shards)
                notes = list(_left_out(settings, folder, f"{kind} files", listing))
            scan.notes += fit_metadata(scan)
            part = dataclasses.replace(
                found,
                has_more=has_more,
                candidates=_with_prefix(settings, scan.candidates),
                schema=scan.schema,
                failures=_stored(folder, [*scan.failures, *scan.unnamed]),
                notes=(*scan.notes, *notes),
                unsure=tuple(f"{name}/" for name in scan.damaged),
            )
            del scan  # while the next one is made
            is_first = False
            yield _without_repeated(part)
            del part

    # where the files are frozen, what the first scan found as long as none changes
    key = (kind, settings.image_column, settings.id_prefix, settings.moved_from, settings.plan_images, now)
    return found_once(settings.images, key, lambda: InputParts(parts()))


def _scans(settings: EncodeSettings, kind: str, shards: Sequence[Shard]) -> Iterator[tuple[ShardScan, bool]]:
    """What the files hold, in one scan at least, and with each whether another one follows."""
    while True:
        if kind == TAR:
            scan = scan_tars(shards, most=settings.plan_images)
        else:
            scan = scan_parquets(shards, settings.image_column, most=settings.plan_images)
        shards = shards[scan.shards :]
        yield scan, bool(shards)
        del scan
        if not shards:
            return


def _left_out(settings: EncodeSettings, folder: str, what: str, listing: StoreListing | None) -> Iterator[str]:
    """Sentences about what lies beside tars or Parquet files and is not read."""
    if ignored := [name for name in METADATA_NAMES if _holds(folder, name, listing)]:
        yield f"{', '.join(ignored)} in {folder}: not read; {what} bring their own metadata."
    if packed := packed_below(settings.images) if listing is None else listing.packed():
        yield f"{as_text(shown(packed))} in {folder}: packed, and not read; unpack it to a .tar."


def _holds(folder: str, name: str, listing: StoreListing | None) -> bool:
    return Path(folder, name).is_file() if listing is None else listing.holds(name)


def _folders(settings: EncodeSettings, folder: str) -> tuple[str, ...]:
    if settings.moved_from is None or _absolute(settings.moved_from) == folder:
        return (folder,)
    former = parse_place(settings.moved_from)
    is_there = is_prefix(former) if isinstance(former, Address) else former.is_dir() and any(former.iterdir())
    if is_there:
        raise UsageError(
            f"--moved-from {settings.moved_from} is still there, with files in it; wanted a folder that is gone.",
            remedy="Leave --moved-from out; rows of that folder keep their ids.",
        )
    return (folder, _absolute(settings.moved_from))


def _with_prefix(settings: EncodeSettings, candidates: Candidates) -> Candidates:
    if not settings.id_prefix:
        return candidates
    prefix, nothing = (pa.scalar(text, pa.large_string()) for text in (settings.id_prefix, ""))
    return dataclasses.replace(candidates, ids=pc.binary_join_element_wise(prefix, candidates.ids, nothing))


def _without_repeated(inputs: Inputs, taken: Mapping[int, str] = MappingProxyType({})) -> Inputs:
    """The inputs without items whose id an earlier one has, or a file that `taken` names by the item's index."""
    names = inputs.candidates.names
    repeated = {index: names[first].as_py() for index, first in inputs.candidates.repeated()}
    return without_taken(inputs, {**repeated, **taken})


def _stored(folder: str, failures: Iterable[Failure]) -> tuple[Failure, ...]:
    """Failures as the failures table keeps them: as text, under the name of the file where there is no item."""
    return tuple(
        dataclasses.replace(
            failure,
            id=as_text(failure.id or failure.file_name),
            folder=folder,
            file_name=as_text(failure.file_name),
            message=as_text(failure.message),
        )
        for failure in failures
    )


def _needless(option: str, images: Path, wanted: str, reason: str = "") -> UsageError:
    return UsageError(
        f"{option} goes with {wanted}; {images} is something else" + (f", and {reason}." if reason else "."),
        remedy=f"Leave {option} out.",
    )


def _notes(scan: FolderScan, listed: ListedFiles | None) -> tuple[str, ...]:
    notes = [*scan.notes, *scan.unread]
    if listed is not None and not (listed.files or listed.failures):
        notes.append("The list names no file; there is nothing to do.")
    if listed is not None and listed.repeated:
        notes.append(
            f"{listed.repeated} name(s) in the list stand for a file that it has named before; it counts once."
        )
    if scan.files_without_row:
        notes.append(
            f"{scan.files_without_row} image(s) have no row in the metadata; "
            "they are encoded under their file names, with empty columns."
        )
    return tuple(notes)

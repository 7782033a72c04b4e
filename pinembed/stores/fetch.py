"""What lies at an address, fetched once into the cache folder and then used as a folder or file of this machine.

A copy is known by the names, sizes and ETags of what the store lists, and is shared by all runs; where the store has
something else by now, that is fetched beside it.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from pinembed.errors import MissingObjectError, OutputError, StoreError
from pinembed.machine import cache_folder
from pinembed.stores.address import Address, parse_place
from pinembed.stores.answers import telling
from pinembed.stores.objects import StoredObject, list_objects, look_at
from pinembed.stores.opening import open_store

FETCHED = "fetched"
AT_ONCE = 16
CHUNK_BYTES = 8 << 20
KEPT_S = 7 * 24 * 3600.0
"""So long a copy that is not of the present objects stays: a run that began with it may go on."""


def local_copy(place: str | Path | Address) -> Path:
    """A path on this machine with what lies at a place; a path is its own.

    Raises:
        MissingObjectError: nothing lies at the address.
        StoreError: it cannot be listed or read.
        OutputError: the cache folder cannot be written.
    """
    address = parse_place(place)
    if isinstance(address, Path):
        return address
    objects = _objects_at(address)
    if not objects:
        raise MissingObjectError(f"There is nothing at {address}.", remedy="Check the address.")
    of_address = cache_folder() / FETCHED / hashlib.sha256(str(address).encode()).hexdigest()[:16]
    listed = "\n".join(f"{found.address} {found.size_bytes} {found.e_tag}" for found in objects)
    kept = of_address / hashlib.sha256(listed.encode()).hexdigest()[:16]
    copy = kept / (address.name or address.container)
    try:
        if not kept.is_dir():
            _fetch(address, objects, kept, copy.name)
            _forget_old(of_address, kept)
        os.utime(kept)  # in use
    except OSError as error:
        raise OutputError(
            f"{address} cannot be kept in the cache folder {cache_folder()}: {error.strerror or error}.",
            remedy="Free disk space, or give another folder as PINEMBED_CACHE.",
        ) from error
    return copy


def is_fetched(folder: Path) -> bool:
    """Whether a folder holds a copy of what lies at an address."""
    return folder.is_relative_to(cache_folder().absolute() / FETCHED)


def _objects_at(address: Address) -> list[StoredObject]:
    """The object itself, or all that lie below; sorted."""
    found = look_at(address) if address.key else None
    if found is not None:
        return [found]
    listed = sorted(list_objects(address), key=lambda found: found.address)
    folders = {parent for found in listed for parent in found.address.parents}
    return [found for found in listed if found.address not in folders]  # a mark of a folder is no file


def _fetch(address: Address, objects: Sequence[StoredObject], kept: Path, name: str) -> None:
    """Bring all objects, whole or not at all; who comes second throws its own away."""
    partial = kept.with_name(f".{kept.name}.partial-{secrets.token_hex(4)}")
    try:
        targets = [partial / name / found.address.relative_to(address) for found in objects]
        for folder in {target.parent for target in targets}:
            folder.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(max_workers=AT_ONCE) as threads:
            list(threads.map(_download, objects, targets))
        with suppress(FileExistsError, OSError):
            partial.rename(kept)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    if not kept.is_dir():
        raise OSError(None, f"{kept} could not be made")


def _download(found: StoredObject, target: Path) -> None:
    store = open_store(found.address)
    size_bytes = 0
    with telling(found.address), target.open("wb") as file:
        options = {"if_match": found.e_tag} if found.e_tag else {}
        for chunk in store.get(found.address.key, options=options).stream(min_chunk_size=CHUNK_BYTES):
            size_bytes += file.write(chunk)
    if size_bytes != found.size_bytes:
        raise StoreError(
            f"{found.address} came with {size_bytes} bytes; the store lists {found.size_bytes}.",
            remedy="Run the same command again.",
        )


def _forget_old(of_address: Path, present: Path) -> None:
    for other in of_address.iterdir():
        with suppress(OSError):
            if other != present and time.time() - other.stat().st_mtime > KEPT_S:
                shutil.rmtree(other, ignore_errors=True)

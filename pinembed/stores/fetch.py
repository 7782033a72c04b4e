"""What lies at an address, fetched once into the cache folder and then used as a folder or file of this machine.

A copy is known by the names, sizes and ETags of what the store lists, and is shared by all runs; where the store has
something else by now, a second copy is made beside it, of which only what is new is fetched.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Sequence
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
LISTED = ".pinembed-listed.json"
AT_ONCE = 16
CHUNK_BYTES = 8 << 20
KEPT_DAYS = 30
"""So long a copy stays that no run has begun with."""
ROOM = "Free disk space, or give another folder as PINEMBED_CACHE."
MB = 1e6
_tell: list[Callable[[str], None]] = []


def tell_fetches(say: Callable[[str], None]) -> None:
    """Say who is told, from here on, what is fetched; by default nobody is."""
    _tell[:] = [say]


def local_copy(place: str | Path | Address) -> Path:
    """A path on this machine with what lies at a place; a path is its own.

    Raises:
        MissingObjectError: nothing lies at the address.
        StoreError: it cannot be listed or read.
        OutputError: the cache folder cannot be written, or has no room for it.
    """
    address = parse_place(place)
    if isinstance(address, Path):
        return address
    objects = _objects_at(address)
    if not objects:
        raise MissingObjectError(f"There is nothing at {address}.", remedy="Check the address.")
    of_address = cache_folder() / FETCHED / hashlib.sha256(str(address).encode()).hexdigest()[:16]
    kept = of_address / hashlib.sha256("\n".join(map(_line, objects)).encode()).hexdigest()[:16]
    copy = kept / (address.name or address.container)
    try:
        if not kept.is_dir():
            _forget_unused()
            _fetch(address, objects, kept, copy.name)
        os.utime(kept)  # in use
    except OSError as error:
        raise OutputError(
            f"{address} cannot be kept in the cache folder {cache_folder()}: {error.strerror or error}.",
            remedy=ROOM,
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


def _line(found: StoredObject) -> str:
    """What tells an object from any other, where the store has ETags."""
    return f"{found.address} {found.size_bytes} {found.e_tag}"


def _fetch(address: Address, objects: Sequence[StoredObject], kept: Path, name: str) -> None:
    """Bring all objects, whole or not at all; who comes second throws its own away."""
    partial = kept.with_name(f".{kept.name}.partial-{secrets.token_hex(4)}")
    try:
        paths = {found: Path(name, found.address.relative_to(address)) for found in objects}
        for folder in {path.parent for path in paths.values()}:
            (partial / folder).mkdir(parents=True, exist_ok=True)
        held = _held(kept.parent)
        new = [found for found in objects if not _linked(held.get(_line(found)), partial / paths[found])]
        _tell_and_check(address, objects, new, partial)
        with ThreadPoolExecutor(max_workers=AT_ONCE) as threads:
            list(threads.map(_download, new, (partial / paths[found] for found in new)))
        listed = {_line(found): path.as_posix() for found, path in paths.items() if found.e_tag}
        (partial / LISTED).write_text(json.dumps(listed), encoding="utf-8")
        with suppress(FileExistsError, OSError):
            partial.rename(kept)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    if not kept.is_dir():
        raise OSError(None, f"{kept} could not be made")


def _held(of_address: Path) -> dict[str, Path]:
    """The files of the copies that are there, by what the store listed of them."""
    held: dict[str, Path] = {}
    for listed in of_address.glob(f"*/{LISTED}"):
        with suppress(OSError, ValueError):
            paths = json.loads(listed.read_text(encoding="utf-8"))
            held |= {line: listed.parent / path for line, path in paths.items()}
    return held


def _linked(held: Path | None, target: Path) -> bool:
    """Whether a file that is there already now also has its place in the new copy."""
    if held is None:
        return False
    try:
        target.hardlink_to(held)
    except OSError:
        return False
    return True


def _tell_and_check(address: Address, objects: Sequence[StoredObject], new: Sequence[StoredObject], into: Path) -> None:
    wanted_mb = sum(found.size_bytes for found in new) / MB
    free_mb = shutil.disk_usage(into).free / MB
    if wanted_mb > free_mb:
        raise OutputError(
            f"{address} needs {wanted_mb:,.0f} MB in the cache folder {cache_folder()}, which has {free_mb:,.0f} free.",
            remedy=ROOM,
        )
    for say in _tell:
        say(
            f"{address}: {len(new):,} of {len(objects):,} object(s), {wanted_mb:,.1f} MB, are fetched into "
            f"{cache_folder() / FETCHED} and kept there until {KEPT_DAYS} days after their last use."
        )


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


def _forget_unused() -> None:
    """Remove the copies of any address that no run has begun with for long."""
    for copy in (cache_folder() / FETCHED).glob("*/*"):
        with suppress(OSError):
            if time.time() - copy.stat().st_mtime > KEPT_DAYS * 24 * 3600:
                shutil.rmtree(copy, ignore_errors=True)

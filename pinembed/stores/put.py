"""A folder or file of this machine put up to an address, in an order in which nobody takes a half for the whole."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pinembed.errors import OutputExistsError, StoreError
from pinembed.stores.address import Address
from pinembed.stores.objects import is_prefix, list_objects, look_at, put_object, read_object, remove_object

AT_ONCE = 8
MANIFESTS = ("manifest.json", "open_clip_config.json", "config.json", "pinembed.json")
"""Without which a folder is none of ours; put up last, in this order, and taken away first."""
MARKER = MANIFESTS[-1]


def check_prefix(address: Address, *, overwrite: bool) -> None:
    """Fail early where `put_folder` would refuse.

    Raises:
        OutputExistsError: something lies there that may not be replaced.
        StoreError: the store cannot be asked.
    """
    if not is_prefix(address):
        return
    if not overwrite:
        raise OutputExistsError(
            f"{address} holds objects; wanted a prefix that is empty.",
            remedy="Give another --out, or --overwrite to replace what pinembed wrote there.",
        )
    if look_at(address / MARKER) is None:
        raise OutputExistsError(
            f"{address} holds objects that pinembed did not write; there is no {MARKER}.",
            remedy="Give another --out; only what pinembed wrote is replaced.",
        )
    strange = sorted({found.address.relative_to(address) for found in list_objects(address)} - {*_written(address)})
    if strange:
        raise OutputExistsError(
            f"{address} holds {len(strange)} object(s) that pinembed did not write, such as {strange[0]}.",
            remedy="Move them away or give another --out.",
        )


def put_folder(folder: Path, address: Address, *, overwrite: bool = False) -> None:
    """Put up a folder that pinembed wrote: manifests last, and what was there before goes without them.

    Args:
        folder: with its marker `pinembed.json`.
        address: of the prefix.
        overwrite: replace what pinembed wrote there.

    Raises:
        OutputExistsError: as for `check_prefix`.
        StoreError: it cannot be written.
    """
    check_prefix(address, overwrite=overwrite)
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    before = _written(address)
    for name in (*MANIFESTS[:-1], MARKER):
        if name in before and name != MARKER:
            remove_object(address / name)
    if before:  # as long as the new one is on its way, all of both is ours
        put_object(address / MARKER, json.dumps({"files": sorted({*before, *names} - {MARKER})}).encode())
    with ThreadPoolExecutor(max_workers=AT_ONCE) as threads:
        list(threads.map(lambda name: put_object(address / name, folder / name), _without_manifests(names)))
    for name in _without_manifests(sorted({*before} - {*names})):
        remove_object(address / name)
    for name in MANIFESTS:
        if name in names:
            put_object(address / name, folder / name)


def _without_manifests(names: Sequence[str]) -> list[str]:
    return [name for name in names if name not in MANIFESTS]


def _written(address: Address) -> list[str]:
    """What stands in the list of a folder that pinembed wrote, the list with it; nothing where there is none."""
    if look_at(address / MARKER) is None:
        return []
    content, _ = read_object(address / MARKER)
    try:
        return [*json.loads(content)["files"], MARKER]
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{address / MARKER} is damaged.", remedy="Give another --out.") from error

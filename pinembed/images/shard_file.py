"""Tar and Parquet files opened where they lie, on this machine or in a store, with the mark of their content."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pinembed.errors import MissingObjectError
from pinembed.machine import mtime_ns_of
from pinembed.stores.address import Address, Place
from pinembed.stores.objects import StoredObject, look_at
from pinembed.stores.ranged import RangedFile, open_tar

PARQUET_BLOCK_BYTES = 8 << 20


@contextmanager
def opened_tar(shard: Place, found: StoredObject | None = None) -> Iterator[tuple[tarfile.TarFile, int, str]]:
    """A tar for its headers; when it last changed, or the stamp of the object; and the object's ETag.

    Args:
        shard: the tar.
        found: what the store told of it; without, it is asked.

    Raises:
        OSError: the file cannot be read.
        StoreError: the object cannot be.
        tarfile.TarError: it is no tar.
    """
    if isinstance(shard, Path):
        mtime_ns = mtime_ns_of(shard.stat())
        with tarfile.open(shard, "r:") as tar:
            yield tar, mtime_ns, ""
        return
    found = found or _present(shard)
    with open_tar(found) as file:
        try:
            with tarfile.open(fileobj=file, mode="r:") as tar:
                yield tar, found.stamp, found.e_tag
        finally:
            file.keep()


def opened_parquet(shard: Place, found: StoredObject | None = None) -> tuple[Path | RangedFile, int, str]:
    """What pyarrow opens; when it last changed, or the stamp of the object; and the object's ETag.

    Raises:
        OSError: the file cannot be read.
        StoreError: the object cannot be.
    """
    if isinstance(shard, Path):
        return shard, mtime_ns_of(shard.stat()), ""
    found = found or _present(shard)
    return RangedFile(found, block_bytes=PARQUET_BLOCK_BYTES), found.stamp, found.e_tag


def _present(shard: Address) -> StoredObject:
    found = look_at(shard)
    if found is None:
        raise MissingObjectError(f"{shard} is not there.", remedy="Bring it back.")
    return found

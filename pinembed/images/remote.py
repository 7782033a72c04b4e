"""Images in object stores to bytes, one at a time: whole objects, members of tars, values of Parquet columns."""

from __future__ import annotations

from pinembed.errors import ImageError, MissingObjectError, ObjectChangedError, StoreError
from pinembed.nouns.item import FileRange, Locator, ParquetCell
from pinembed.stores.address import Address
from pinembed.stores.objects import read_object, read_range


def is_remote(image: Locator) -> bool:
    """Whether an object store has to be asked for an image."""
    return isinstance(image, Address) or (
        isinstance(image, FileRange | ParquetCell) and isinstance(image.path, Address)
    )


def read_remote(image: Address | FileRange) -> tuple[bytes, int]:
    """All bytes of an image that is an object or lies in a tar, and the stamp of the object that holds it.

    Raises:
        StoreError: it is gone, has changed since it was listed, or cannot be read.
    """
    if isinstance(image, Address):
        content, found = read_object(image)
        return content, found.stamp
    assert isinstance(image.path, Address)
    return read_range(image.path, image.offset, image.size_bytes, e_tag=image.e_tag), image.mtime_ns


def image_error(image: Locator, error: StoreError) -> ImageError:
    """What a store says about an image, in the reasons of files."""
    if isinstance(error, MissingObjectError):
        return ImageError(f"{image} is missing.", remedy="Bring the object back.", reason="missing_file")
    if isinstance(error, ObjectChangedError):
        return ImageError(
            f"{image} changed while it was read.",
            remedy="Run again once nothing writes to it any more.",
            reason="changed_while_read",
        )
    return ImageError(f"{image} cannot be read: {error.message}", remedy=error.remedy, reason="unreadable")

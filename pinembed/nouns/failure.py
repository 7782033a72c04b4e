"""Failure: one image without an embedding, and why."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """One image without an embedding.

    Attributes:
        id: of the item.
        folder: the IMAGES folder.
        file_name: relative to `folder`; bytes that are no UTF-8 are written as backslash and number.
        size_bytes: of the file as the scan saw it.
        mtime_ns: of the file as the scan saw it.
        reason: short class of the failure.
        message: a sentence for people.
    """

    id: str
    folder: str
    file_name: str
    size_bytes: int
    mtime_ns: int
    reason: str
    message: str

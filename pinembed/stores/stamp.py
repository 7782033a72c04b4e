"""An ETag as a number, for the place where a file's time of change stands."""

from __future__ import annotations

import hashlib


def stamp_of(e_tag: str) -> int:
    """A number below 0 for an ETag, of 63 bits: another one where the object is another one.

    Files keep nanoseconds since 1970 in that place. What a store says of an object's time changes with each copy, and
    is no mark of its content.
    """
    return -1 - (int.from_bytes(hashlib.sha256(e_tag.encode()).digest()[:8], "big") >> 1)

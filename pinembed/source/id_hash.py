"""The 64-bit hash under which an id is filed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

HASH_BYTES = 8


def hash_ids(ids_utf8: Iterable[bytes]) -> NDArray[np.uint64]:
    """The first 8 bytes of SHA-256, as a big-endian number.

    SHA-256 stands in every language's library, and nobody can craft ids that meet in one hash.

    Args:
        ids_utf8: ids as UTF-8 bytes.

    Returns:
        (N,) uint64.
    """
    sha256 = hashlib.sha256
    digests = b"".join([sha256(id_utf8).digest()[:HASH_BYTES] for id_utf8 in ids_utf8])
    return np.frombuffer(digests, dtype=">u8").astype(np.uint64)


def encode_id(item_id: str) -> bytes:
    """UTF-8 bytes; a string that has none (a lone surrogate) gets bytes that no stored id can have."""
    return item_id.encode("utf-8", "surrogatepass")

"""Contents by their sha256, in columns: what the table holds, and what the run has met."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Digests = NDArray[np.uint8]
"""(N, 32): a sha256 each."""
SHA256_BYTES = 32


def digests_of(sha256: list[str]) -> Digests:
    """Hexadecimal hashes in bytes."""
    return np.frombuffer(bytes.fromhex("".join(sha256)), dtype=np.uint8).reshape(-1, SHA256_BYTES)


class StoredContents:
    """The contents that lasting rows hold, 40 bytes each.

    Args:
        parts: sizes and hashes.
    """

    def __init__(self, parts: list[tuple[NDArray[np.int64], Digests]]) -> None:
        size_bytes = np.concatenate([sizes for sizes, _ in parts]) if parts else np.empty(0, dtype=np.int64)
        order = np.argsort(size_bytes, kind="stable")
        self._size_bytes = size_bytes[order]
        digests = np.concatenate([digests for _, digests in parts]) if parts else np.empty((0, SHA256_BYTES), np.uint8)
        self._digests: Digests = digests[order]

    def of_size(self, size_bytes: int) -> list[str]:
        """The hashes of all contents of this size, each once."""
        first, end = np.searchsorted(self._size_bytes, [size_bytes, size_bytes + 1])
        return sorted({digest.tobytes().hex() for digest in self._digests[first:end]})

    def has(self, sha256: str, size_bytes: int) -> bool:
        """Whether a row holds this content."""
        first, end = np.searchsorted(self._size_bytes, [size_bytes, size_bytes + 1])
        wanted = np.frombuffer(bytes.fromhex(sha256), dtype=np.uint8)
        return bool((self._digests[first:end] == wanted).all(axis=1).any())


class DigestSet:
    """The hashes that were met, in 32 bytes each: by half of their bits, which for chance is as good as all.

    Args:
        at_most: that will be added.
    """

    def __init__(self, at_most: int) -> None:
        slots = 1 << max(4, (2 * at_most).bit_length())
        self._slots = np.zeros((slots, 2), dtype=np.uint64)

    def __contains__(self, sha256: str) -> bool:
        return bool(self._slots[self._slot_of(sha256)].any())

    def add(self, sha256: str) -> None:
        """Remember a hash."""
        self._slots[self._slot_of(sha256)] = _halves(sha256)

    def _slot_of(self, sha256: str) -> int:
        """Where it is, or the free slot where it would be."""
        high, low = _halves(sha256)
        slot = high % len(self._slots)
        while self._slots[slot].tolist() not in ([high, low], [0, 0]):
            slot = (slot + 1) % len(self._slots)
        return slot


def _halves(sha256: str) -> tuple[int, int]:
    return int(sha256[:16], 16), int(sha256[16:32], 16)

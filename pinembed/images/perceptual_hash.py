"""Perceptual hashes: what copies of a picture have in common, also re-encoded or resized ones.

The hashes of a DATA folder are kept in the cache folder between runs, some 300 bytes an image, in one file for each
DATA folder. A hash holds as long as the file has its size and its time of change. All of it may be deleted at any time;
what is damaged, or was made by other versions, counts as not there.

Shape legend: N pictures, H hash bits.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pinembed.errors import OutputError
from pinembed.images.decode import decode_image
from pinembed.images.read import read_file
from pinembed.machine import cache_folder, mtime_ns_of
from pinembed.outfolder import whole_file

HASHED_AT_PX = 64
GRID = 8
FORMAT = 1
KEPT_BYTES = 1 << 30
DIGEST_BYTES = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class PerceptualHash:
    """What is kept of a picture to find its copies.

    Attributes:
        bits_H: bool; the 64 bits of its perceptual hash.
        colour: uint8 (8, 8, 3); mean colours of a coarse grid.
    """

    bits_H: NDArray[np.bool_]
    colour: NDArray[np.uint8]


def perceptual_hash(picture: Image.Image) -> PerceptualHash:
    """Describe an upright RGB picture; 64 pixels a side are enough.

    Source: ImageHash's phash, after Zauner 2010, Implementation and benchmarking of perceptual image hash functions.
    """
    grid = picture.resize((GRID, GRID), Image.Resampling.BOX)
    return PerceptualHash(bits_H=imagehash.phash(picture).hash.ravel(), colour=np.asarray(grid, dtype=np.uint8))


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageHash:
    """What is kept of an image file.

    Attributes:
        perceptual_hash: of the picture in it.
        sha256: of its bytes.
        size_bytes: its length.
        mtime_ns: its last change, nanoseconds since 1970.
    """

    perceptual_hash: PerceptualHash
    sha256: bytes
    size_bytes: int
    mtime_ns: int

    def holds_for(self, path: Path) -> bool:
        """The file has neither another size nor another time of change by now."""
        try:
            now = path.stat()
        except OSError:
            return False
        return (now.st_size, mtime_ns_of(now)) == (self.size_bytes, self.mtime_ns)


def hash_image(path: Path) -> ImageHash:
    """Read and decode a file.

    Raises:
        ImageError: it cannot be read or decoded.
    """
    content, mtime_ns = read_file(path)
    picture = decode_image(content, name=str(path), at_least_px=HASHED_AT_PX)
    return ImageHash(
        perceptual_hash=perceptual_hash(picture),
        sha256=hashlib.sha256(content).digest(),
        size_bytes=len(content),
        mtime_ns=mtime_ns,
    )


def recall_hashes(root: Path) -> dict[str, ImageHash]:
    """What was remembered of a DATA folder, by file name; empty where there is nothing of use."""
    try:
        stored = _path(root).read_bytes()
    except OSError:
        return {}
    digest, content = stored[:DIGEST_BYTES], stored[DIGEST_BYTES:]
    if hashlib.sha256(content).digest() != digest:  # cut short, or damaged on the disk
        return {}
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        if str(arrays["made_by"]) != _made_by(root):
            return {}
        bits_NH = np.unpackbits(arrays["bits"], axis=1).astype(np.bool_)
        colour_N, sha256_N = arrays["colour"], arrays["sha256"]
        names = arrays["names"].tobytes().decode("utf-8", "surrogateescape").split("\0")
        numbers = zip(arrays["size_bytes"].tolist(), arrays["mtime_ns"].tolist(), strict=True)
    return {
        name: ImageHash(
            perceptual_hash=PerceptualHash(bits_H=bits_NH[row], colour=colour_N[row]),
            sha256=sha256_N[row].tobytes(),
            size_bytes=size_bytes,
            mtime_ns=mtime_ns,
        )
        for row, (name, (size_bytes, mtime_ns)) in enumerate(zip(names, numbers, strict=True))
    }


def remember_hashes(root: Path, hashes: Mapping[str, ImageHash]) -> None:
    """Take the place of what was remembered of a DATA folder.

    Best effort: where the cache cannot be written, the next run hashes again. Of two runs at once the later one stays.

    Args:
        root: the folder.
        hashes: by file name; at least one.
    """
    content = _packed(root, hashes)
    path = _path(root)
    with suppress(OSError, OutputError):
        with whole_file(path) as file:
            file.write_bytes(hashlib.sha256(content).digest() + content)
        _forget_oldest(path)


def _packed(root: Path, hashes: Mapping[str, ImageHash]) -> bytes:
    file = io.BytesIO()
    found = list(hashes.values())
    names = "\0".join(hashes).encode("utf-8", "surrogateescape")  # a name may be bytes that are no UTF-8
    np.savez(
        file,
        made_by=np.array(_made_by(root)),
        names=np.frombuffer(names, dtype=np.uint8),
        bits=np.packbits(np.stack([image_hash.perceptual_hash.bits_H for image_hash in found]), axis=1),
        colour=np.stack([image_hash.perceptual_hash.colour for image_hash in found]).reshape(-1, GRID, GRID, 3),
        sha256=np.frombuffer(b"".join(image_hash.sha256 for image_hash in found), dtype=np.uint8).reshape(
            len(found), -1
        ),
        size_bytes=np.array([image_hash.size_bytes for image_hash in found], dtype=np.int64),
        mtime_ns=np.array([image_hash.mtime_ns for image_hash in found], dtype=np.int64),
    )
    return file.getvalue()


def _forget_oldest(newest: Path) -> None:
    """Keep KEPT_BYTES of all DATA folders together, and the newest whatever its size."""
    others = sorted(
        ((entry.stat().st_mtime_ns, entry.stat().st_size, entry) for entry in newest.parent.iterdir()), reverse=True
    )
    kept_bytes = newest.stat().st_size
    for _, size_bytes, entry in others:
        kept_bytes += size_bytes if entry != newest else 0
        if entry != newest and kept_bytes > KEPT_BYTES:
            entry.unlink(missing_ok=True)


def _path(root: Path) -> Path:
    return cache_folder() / "hashes" / f"{hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:16]}.hashes"


def _made_by(root: Path) -> str:
    """All that a look depends on beside the file; the folder, too, for two of them may share a short hash."""
    made_by = [f"{package} {version(package)}" for package in ("imagehash", "pillow")]
    index = os.fsencode(root.resolve()).hex()
    return f"format {FORMAT}, {', '.join(made_by)}, {HASHED_AT_PX} px, {GRID} x {GRID}, {index}"

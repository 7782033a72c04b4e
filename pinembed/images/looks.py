"""A coarse look at an image file, and the looks at a DATA folder that are kept in the cache folder between runs.

Some 300 bytes an image, in one file for each DATA folder. A look holds as long as the file has its size and its time of
change. All of it may be deleted at any time; what is damaged, or was made by other versions, counts as not there.
"""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from pinembed.images.decode import decode_image
from pinembed.images.likeness import GRID, LOOKED_AT_PX, Likeness, likeness
from pinembed.images.read import read_file
from pinembed.machine import cache_folder

FORMAT = 1
KEPT_BYTES = 1 << 30
DIGEST_BYTES = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """What is kept of an image file.

    Attributes:
        likeness: of the picture in it.
        sha256: of its bytes.
        size_bytes: its length.
        mtime_ns: its last change, nanoseconds since 1970.
    """

    likeness: Likeness
    sha256: bytes
    size_bytes: int
    mtime_ns: int

    def holds_for(self, path: Path) -> bool:
        """The file has neither another size nor another time of change by now."""
        try:
            now = path.stat()
        except OSError:
            return False
        return (now.st_size, now.st_mtime_ns) == (self.size_bytes, self.mtime_ns)


def look_at(path: Path) -> Look:
    """Read and decode a file.

    Raises:
        ImageError: it cannot be read or decoded.
    """
    read = read_file(path)
    picture = decode_image(read.content, name=str(path), at_least_px=LOOKED_AT_PX)
    return Look(
        likeness=likeness(picture),
        sha256=hashlib.sha256(read.content).digest(),
        size_bytes=len(read.content),
        mtime_ns=read.mtime_ns,
    )


def recall_looks(root: Path) -> dict[str, Look]:
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
        name: Look(
            likeness=Likeness(bits_H=bits_NH[row], colour=colour_N[row]),
            sha256=sha256_N[row].tobytes(),
            size_bytes=size_bytes,
            mtime_ns=mtime_ns,
        )
        for row, (name, (size_bytes, mtime_ns)) in enumerate(zip(names, numbers, strict=True))
    }


def remember_looks(root: Path, looks: Mapping[str, Look]) -> None:
    """Take the place of what was remembered of a DATA folder.

    Best effort: where the cache cannot be written, the next run looks again. Of two runs at once the later one stays.

    Args:
        root: the folder.
        looks: by file name; at least one.
    """
    content = _packed(root, looks)
    path = _path(root)
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, partial = tempfile.mkstemp(dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(hashlib.sha256(content).digest() + content)
            Path(partial).replace(path)
        finally:
            Path(partial).unlink(missing_ok=True)
        _forget_oldest(path)


def _packed(root: Path, looks: Mapping[str, Look]) -> bytes:
    file = io.BytesIO()
    found = list(looks.values())
    names = "\0".join(looks).encode("utf-8", "surrogateescape")  # a name may be bytes that are no UTF-8
    np.savez(
        file,
        made_by=np.array(_made_by(root)),
        names=np.frombuffer(names, dtype=np.uint8),
        bits=np.packbits(np.stack([look.likeness.bits_H for look in found]), axis=1),
        colour=np.stack([look.likeness.colour for look in found]).reshape(-1, GRID, GRID, 3),
        sha256=np.frombuffer(b"".join(look.sha256 for look in found), dtype=np.uint8).reshape(len(found), -1),
        size_bytes=np.array([look.size_bytes for look in found], dtype=np.int64),
        mtime_ns=np.array([look.mtime_ns for look in found], dtype=np.int64),
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
    return cache_folder() / "looks" / f"{hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:16]}.looks"


def _made_by(root: Path) -> str:
    """All that a look depends on beside the file; the folder, too, for two of them may share a short hash."""
    made_by = [f"{package} {version(package)}" for package in ("imagehash", "pillow")]
    place = os.fsencode(root.resolve()).hex()
    return f"format {FORMAT}, {', '.join(made_by)}, {LOOKED_AT_PX} px, {GRID} x {GRID}, {place}"

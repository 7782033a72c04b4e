"""Which files of a folder are candidates for images; nothing is opened here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

IMAGE_SUFFIXES = frozenset(
    "apng avif bmp dib gif heic heif jfif jpe jpeg jpg jp2 pbm pgm png pnm ppm tga tif tiff webp".split()
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ScannedFile:
    """One candidate.

    Attributes:
        file_name: path relative to the scanned folder, with forward slashes.
        path: the file.
        size_bytes: as the file system tells.
        mtime_ns: last change, nanoseconds since 1970.
    """

    file_name: str
    path: Path
    size_bytes: int
    mtime_ns: int


def scan_images(root: Path) -> Iterator[ScannedFile]:
    """Every regular file below `root` with the suffix of an image or without a suffix, in no particular order.

    Links to files are followed, links to folders are not, so loops cannot happen. Hidden files and folders, devices,
    sockets and FIFOs are passed over.
    """
    pending = [(str(root), "")]
    while pending:
        folder, prefix = pending.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    pending.append((entry.path, f"{prefix}{entry.name}/"))
                elif _is_candidate(entry):
                    stat = entry.stat()
                    yield ScannedFile(
                        file_name=prefix + entry.name,
                        path=Path(entry.path),
                        size_bytes=stat.st_size,
                        mtime_ns=stat.st_mtime_ns,
                    )


def _is_candidate(entry: os.DirEntry[str]) -> bool:
    _, dot, suffix = entry.name.rpartition(".")
    return (not dot or suffix.lower() in IMAGE_SUFFIXES) and entry.is_file()

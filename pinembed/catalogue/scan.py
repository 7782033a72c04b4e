"""Which files of a folder are candidates for images; nothing is opened here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pinembed.errors import DataError

IMAGE_SUFFIXES = frozenset(
    {
        *("jpg", "jpeg", "jpe", "jfif", "png", "apng", "webp", "gif", "avif", "heic", "heif", "bmp", "dib"),
        *("tif", "tiff", "jp2", "tga", "pbm", "pgm", "ppm", "pnm"),
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ScannedFile:
    """One candidate.

    Attributes:
        file_name: path relative to the scanned folder, with forward slashes.
        path: the file.
        size_bytes: as the file system tells; of the link itself where a link leads nowhere.
        mtime_ns: last change, nanoseconds since 1970.
    """

    file_name: str
    path: Path
    size_bytes: int
    mtime_ns: int


def scan_images(root: Path) -> Iterator[ScannedFile]:
    """Every file below `root` with the suffix of an image or without a suffix, in no particular order.

    Links to files are followed, links to folders are not, so loops cannot happen. Hidden files and folders are passed
    over. What bears an image's suffix and is no regular file (a FIFO, a link that leads nowhere) is a candidate too:
    whoever reads it says what is wrong, instead of nobody.

    Raises:
        DataError: a folder cannot be listed; half a listing would look as if files were gone.
    """
    pending = [(str(root), "")]
    while pending:
        folder, prefix = pending.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        pending.append((entry.path, f"{prefix}{entry.name}/"))
                    elif _is_candidate(entry):
                        yield _scanned(entry, prefix)
        except OSError as error:
            raise DataError(
                f"The folder {folder} cannot be listed: {error.strerror or error}.",
                remedy="Check its permissions and that the disk is there, then run again.",
            ) from error


def _scanned(entry: os.DirEntry[str], prefix: str) -> ScannedFile:
    try:
        status = entry.stat()
    except OSError:  # a link that leads nowhere or round in a circle, or a file that was removed a moment ago
        status = None
    return ScannedFile(
        file_name=prefix + entry.name,
        path=Path(entry.path),
        size_bytes=status.st_size if status else 0,
        mtime_ns=status.st_mtime_ns if status else 0,
    )


def _is_candidate(entry: os.DirEntry[str]) -> bool:
    _, dot, suffix = entry.name.rpartition(".")
    if dot:
        return suffix.lower() in IMAGE_SUFFIXES and not (entry.is_symlink() and os.path.isdir(entry.path))  # noqa: PTH112
    return _is_regular(entry)


def _is_regular(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False

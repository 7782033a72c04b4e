"""The files of a folder as a run of several steps first saw them: what comes meanwhile belongs to the next run."""

from __future__ import annotations

import copy
import dataclasses
import os
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from pinembed.catalogue.beside import Beside
from pinembed.catalogue.files import ScannedFile, scan_images
from pinembed.catalogue.names import has_image_suffix


class _FirstLook:
    """What the first look at a folder found, in columns: there may be millions of files."""

    def __init__(self, root: Path) -> None:
        self.at_ns = time.time_ns()
        self.beside = Beside()
        self._root = str(root)
        self._names: list[str] = []
        self._sizes, self._times = array("q"), array("q")
        for file in scan_images(root, self.beside):
            self._names.append(file.file_name)
            self._sizes.append(file.size_bytes)
            self._times.append(file.mtime_ns)

    @cached_property
    def names(self) -> frozenset[str]:
        return frozenset(self._names)

    def files(self) -> Iterator[ScannedFile]:
        for name, size_bytes, mtime_ns in zip(self._names, self._sizes, self._times, strict=True):
            yield ScannedFile(root=self._root, file_name=name, size_bytes=size_bytes, mtime_ns=mtime_ns)


_LOOKS: dict[str, _FirstLook | None] = {}  # of this process, by the absolute path of the folder


@contextmanager
def frozen_files(root: Path) -> Iterator[None]:
    """Inside of the block every job of this process finds the files in `root` that the first of them found there.

    Which files there are stays the same; what is in them does not. Files inside of tars and Parquet files are found
    anew each time.
    """
    _LOOKS[_key(root)] = None
    try:
        yield
    finally:
        del _LOOKS[_key(root)]


def files_of(root: Path, beside: Beside) -> Iterator[ScannedFile]:
    """As `scan_images`; the files of the first look where they are frozen.

    Raises:
        DataError: a folder cannot be listed.
    """
    key = _key(root)
    if key not in _LOOKS:
        yield from scan_images(root, beside)
        return
    look = _LOOKS[key] = _LOOKS[key] or _FirstLook(root)
    for found in dataclasses.fields(Beside):
        setattr(beside, found.name, copy.deepcopy(getattr(look.beside, found.name)))
    yield from look.files()


def came_later(root: Path, name: str) -> bool:
    """Whether a file that a metadata row names has come since the files were frozen."""
    look = _LOOKS.get(_key(root))
    if look is None or name in look.names:
        return False
    try:
        changed_ns = (root / name).stat().st_ctime_ns
    except (OSError, ValueError):  # not there, or no name that a file can have
        return False
    # the scan passes over files of other suffixes, whenever they came
    return has_image_suffix(name) or changed_ns > look.at_ns


def _key(root: Path) -> str:
    return os.path.abspath(root)  # noqa: PTH100  (resolve() would follow the mount's links)

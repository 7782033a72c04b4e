"""The files of a folder as a run of several steps first saw them: what comes meanwhile belongs to the next run."""

from __future__ import annotations

import copy
import dataclasses
import os
import time
from array import array
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from pinembed.catalogue.beside import Beside
from pinembed.catalogue.files import ScannedFile, scan_images
from pinembed.catalogue.names import has_image_suffix

Found = TypeVar("Found")


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


class _Frozen:
    """What the jobs of one run have found so far in a folder, or in a tar or Parquet file."""

    def __init__(self) -> None:
        self.look: _FirstLook | None = None
        self.found: dict[Hashable, Any] = {}


_FROZEN: dict[str, _Frozen] = {}  # of this process, by the absolute path


@contextmanager
def frozen_files(root: Path) -> Iterator[None]:
    """Inside of the block every job of this process finds the files in `root` that the first of them found there.

    Which files there are stays the same; what is in them does not, but for what `found_once` keeps.
    """
    _FROZEN[_key(root)] = _Frozen()
    try:
        yield
    finally:
        del _FROZEN[_key(root)]


def found_once(root: Path, key: Hashable, find: Callable[[], Found]) -> Found:
    """What `find` gives; where files are frozen, what it gave to the first who asked with this key."""
    frozen = _FROZEN.get(_key(root))
    if frozen is None:
        return find()
    if key not in frozen.found:
        frozen.found[key] = find()
    found: Found = frozen.found[key]
    return found


def files_of(root: Path, beside: Beside) -> Iterator[ScannedFile]:
    """As `scan_images`; the files of the first look where they are frozen.

    Raises:
        DataError: a folder cannot be listed.
    """
    frozen = _FROZEN.get(_key(root))
    if frozen is None:
        yield from scan_images(root, beside)
        return
    look = frozen.look = frozen.look or _FirstLook(root)
    for found in dataclasses.fields(Beside):
        setattr(beside, found.name, copy.deepcopy(getattr(look.beside, found.name)))
    yield from look.files()


def came_later(root: Path, name: str) -> bool:
    """Whether a file that a metadata row names has come since the files were frozen."""
    frozen = _FROZEN.get(_key(root))
    look = None if frozen is None else frozen.look
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

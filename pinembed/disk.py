"""Files and folders as the disk has them: removed whole, brought to it for certain, exchanged in one step."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

AT_FDCWD, RENAME_EXCHANGE = -100, 2  # from linux/fcntl.h and linux/fs.h


def remove_tree(folder: Path) -> None:
    """Remove a folder, where there is one, also with folders in it that may only be read."""
    for parent, _, _ in os.walk(folder):
        Path(parent).chmod(stat.S_IMODE(Path(parent).stat().st_mode) | stat.S_IRWXU)
    if folder.is_dir():
        shutil.rmtree(folder)


def sync_tree(folder: Path) -> None:
    """Bring files and folder entries to the disk: a rename that survives a power cut must not name empty files.

    A file that has a name in another folder was brought there before.
    """
    for place, _ in own_files(folder):
        sync(place)
    for parent, _, _ in os.walk(folder):
        sync(Path(parent))


def own_files(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """The plain files below a folder that have no name elsewhere, each once, however many names it has there."""
    names_of: dict[tuple[int, int], list[tuple[Path, os.stat_result]]] = {}
    for parent, _, names in os.walk(folder):
        for place in (Path(parent) / name for name in names):
            status = place.lstat()
            if stat.S_ISREG(status.st_mode):
                names_of.setdefault((status.st_dev, status.st_ino), []).append((place, status))
    return (found[0] for found in names_of.values() if len(found) == found[0][1].st_nlink)


def sync(place: Path) -> None:
    """Bring one file, or the entries of one folder, to the disk."""
    opened = os.open(place, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def exchange(one: Path, other: Path) -> bool:
    """Let two files or folders of one file system change their names in one step; False where the system cannot.

    Source: https://man7.org/linux/man-pages/man2/rename.2.html
    """
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:  # macOS, or an old C library
        return False
    names = (ctypes.c_char_p(os.fsencode(one)), ctypes.c_char_p(os.fsencode(other)))
    if renameat2(AT_FDCWD, names[0], AT_FDCWD, names[1], ctypes.c_uint(RENAME_EXCHANGE)) == 0:
        return True
    found = ctypes.get_errno()
    if found in {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP}:  # a kernel or file system without it
        return False
    raise OSError(found, os.strerror(found), str(other))

"""A generation is begun as a clone of the last one, sealed when it is whole, and removed when nobody reads it."""

from __future__ import annotations

import dataclasses
import errno
import fcntl
import json
import os
import secrets
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from pinembed.disk import own_files, remove_tree, sync, sync_tree
from pinembed.generation.home import Home
from pinembed.generation.record import RECORD, Generation, listed
from pinembed.outfolder import locked, try_lock

NO_LINKS = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS, errno.EACCES}
LEFT_BEHIND = ("*.lock", "*.holder.json")  # of runs of encode, which have ended


@dataclass(frozen=True, kw_only=True)
class Clone:
    """What a clone cost.

    Attributes:
        files: that it has.
        copied_bytes: of files that are not linked.
    """

    files: int
    copied_bytes: int


def clone_folder(old: Path, new: Path, *, link: bool = True, least_bytes: int = 0) -> Clone:
    """A folder of the same files under second names, which takes no space; copies where the file system has no links.

    Only files that are never written again may be cloned: Lance's are, and so is everything in a sealed generation.
    What is added to the new folder, or removed from it, does not touch the old one. It appears whole or not at all.

    Args:
        old: the folder.
        new: must not exist.
        link: False copies all files, as those of the user, who may write them again.
        least_bytes: smaller files are copied, so that people can edit them.
    """
    staging = new.with_name(f".{new.name}.cloning")
    shutil.rmtree(staging, ignore_errors=True)
    files = copied_bytes = 0
    for parent, folders, names in os.walk(old):
        there = staging / Path(parent).relative_to(old)
        there.mkdir(parents=True)
        folders.sort()
        for name in sorted(names):
            files += 1
            path = Path(parent) / name
            is_linked = link and path.stat().st_size >= least_bytes
            copied_bytes += (link_or_copy if is_linked else _copy)(path, there / name)
    staging.rename(new)
    return Clone(files=files, copied_bytes=copied_bytes)


def link_or_copy(old: Path, new: Path) -> int:
    """Give a file a second name; returns the bytes that had to be copied instead."""
    try:
        os.link(old, new)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        return _copy(old, new)
    return 0


def _copy(old: Path, new: Path) -> int:
    shutil.copyfile(old, new)
    return new.stat().st_size


def seal(home: Home, record: Generation) -> Generation:
    """Make `next` a generation: its record with the list of its files, on the disk, read-only, renamed.

    The record is written last, so that a folder with one is whole.
    """
    folder = home.next_folder
    for pattern in LEFT_BEHIND:
        for left in folder.rglob(pattern):
            left.unlink()
    sealed = dataclasses.replace(record, files=listed(folder))
    text = json.dumps(sealed.to_json(), indent=1, ensure_ascii=False)
    (folder / RECORD).write_text(text + "\n", encoding="utf-8")
    make_read_only(folder)
    sync_tree(folder)
    folder.rename(home.folder_of(record.number))
    sync(home.folder)
    sync(home.folder_of(record.number).parent)
    return sealed


def reopen(home: Home) -> None:
    """Go on with a `next` whose sealing was killed."""
    folder = home.next_folder
    if (folder / RECORD).exists():
        for parent in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
            parent.chmod(0o755)
        (folder / RECORD).unlink()


def size_of(path: Path) -> int:
    """Bytes of a file or of all files below a folder, whoever else has them by a link; 0 where there is nothing."""
    if path.is_file():
        return path.stat().st_size
    return sum(found.stat().st_size for found in path.rglob("*") if found.is_file()) if path.is_dir() else 0


def own_bytes(folder: Path) -> int:
    """Of the files that no other folder has by a hard link."""
    return sum(status.st_size for _, status in own_files(folder))


def make_read_only(folder: Path) -> None:
    """Take the right to write from everybody; files that another folder has too are as their first one set them."""
    folders = ((Path(parent), Path(parent).stat()) for parent, _, _ in os.walk(folder))
    for place, status in (*own_files(folder), *folders):
        place.chmod(stat.S_IMODE(status.st_mode) & ~0o222)


def prune(home: Home, *, keep: int) -> tuple[list[int], list[int]]:
    """Remove the oldest generations, but never the one that serves, the latest, or one that somebody reads.

    Args:
        home: of the generations.
        keep: how many may stay.

    Returns:
        The numbers that were removed, and those that were spared for their readers.
    """
    _remove_unfinished(home)
    numbers = home.numbers
    removed: list[int] = []
    spared: list[int] = []
    for number in [number for number in numbers[:-1] if number != home.current][: max(0, len(numbers) - keep)]:
        (removed if _remove_unread(home, number) else spared).append(number)
    return removed, spared


def _remove_unread(home: Home, number: int) -> bool:
    folder = home.folder_of(number)
    descriptor = os.open(folder / RECORD, os.O_RDONLY)
    try:
        if not try_lock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB):
            return False
        with locked(home.folder):
            if home.current == number:  # somebody went back to it just now
                return False
            gone = folder.with_name(f".removed-{folder.name}-{secrets.token_hex(4)}")
            folder.chmod(0o755)
            folder.rename(gone)
        remove_tree(gone)
    finally:
        os.close(descriptor)
    return True


def _remove_unfinished(home: Home) -> None:
    """What a kill left of an earlier removal."""
    for left in home.folder_of(0).parent.glob(".removed-*"):
        remove_tree(left)

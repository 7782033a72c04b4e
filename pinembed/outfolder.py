"""Output folders: written beside their place, renamed at the end, and never at the cost of a stranger's file.

Every folder that pinembed writes holds `pinembed.json`, the list of its files. Only what stands in that list is ever
replaced or removed. A folder that is being written is locked (flock on the folder itself), which tells a run that goes
on from one that was killed, whatever its process number and container.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pinembed.disk import exchange, remove_tree, sync_tree
from pinembed.errors import OutputError, OutputExistsError, UsageError
from pinembed.version import __version__

MARKER = "pinembed.json"
PROBE_BYTES = 1 << 16
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def staged_folder(out: Path, *, kind: str, overwrite: bool = False) -> Iterator[Path]:
    """Give an empty folder to fill; rename it to `out` when the block ends well, remove it when it does not.

    Args:
        out: the folder that the user named. Missing or empty: fine. Otherwise see `overwrite`.
        kind: what the folder holds, for people: `encoder`, `embedding source`, ...
        overwrite: replace a folder that pinembed wrote, as long as it holds nothing else.

    Raises:
        OutputExistsError: `out` is a file, exists without `overwrite`, or holds files that pinembed did not write.
        OutputError: the disk is full, or the place cannot be written.
    """
    out = Path(os.path.abspath(out))  # noqa: PTH100  (resolve() would follow a link and replace its target)
    staging = out.with_name(f".{out.name}.partial-{secrets.token_hex(4)}") if out.name else out
    with _os_errors_as_sentences(out, staging):
        with locked(out.parent):
            _remove_abandoned(out)
            check_output(out, overwrite=overwrite)
            out.parent.mkdir(parents=True, exist_ok=True)
            staging.mkdir()
            held = _hold(staging)
        try:
            yield staging
            _write_marker(staging, kind)
            _share_as_folder(staging)
            sync_tree(staging)
            with locked(out.parent):
                _check_free(out, overwrite=overwrite)  # alone: renaming needs no space
                _swap(staging, out)
        finally:
            _discard(staging)
            os.close(held)


@contextmanager
def claimed_folder(out: Path, *, kind: str, overwrite: bool = False) -> Iterator[Path]:
    """Give a folder to work in where things must lie in their final place at once; what is in it at the end is ours.

    Raises:
        OutputExistsError, OutputError: as for `staged_folder`, whose arguments mean the same.
    """
    with _os_errors_as_sentences(out, out):
        check_output(out, overwrite=overwrite)
        remove_tree(out)
        out.mkdir(parents=True)
        try:
            yield out
        finally:
            _write_marker(out, kind)


def check_output(out: Path, *, overwrite: bool) -> None:
    """Fail early, before hours of work, when `staged_folder` would refuse the folder at the end.

    Raises:
        OutputExistsError, OutputError: as for `staged_folder`.
        UsageError: it begins with a home that nobody has.
    """
    refuse_unknown_home(out)
    out = Path(os.path.abspath(out))  # noqa: PTH100  (resolve() would follow a link and replace its target)
    _check_free(out, overwrite=overwrite)
    if os.path.ismount(out):
        raise OutputError(
            f"{out} is the root of a file system of its own, which cannot be replaced as a whole.",
            remedy=f"Give a folder inside of it, such as --out {out / 'new'}.",
        )
    place = _nearest(out)
    with _os_errors_as_sentences(out, place):
        check_writable(place)


@contextmanager
def whole_file(path: Path, *, option: str = "") -> Iterator[Path]:
    """Give a file to write beside its place; it takes its place when the block ends well, and goes when it does not.

    Args:
        path: of the file; its folder is made.
        option: that named it.

    Raises:
        OutputError: it cannot be written, and what stood there stays.
    """
    place = Path(os.path.realpath(path))
    is_special = place.exists() and not place.is_file()  # a terminal or a pipe takes what comes
    partial = place if is_special else place.with_name(f".{place.name}.partial-{secrets.token_hex(4)}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        if not is_special:
            partial.replace(place)
    except OSError as error:
        remedy = "Free disk space, or give another place." if error.errno in FULL else "Give another file name."
        named = f"{option} {path}".lstrip()
        raise OutputError(f"{named} cannot be written: {error.strerror or error}.", remedy=remedy) from error
    finally:
        if not is_special:
            with suppress(OSError):
                partial.unlink(missing_ok=True)


def refuse_unknown_home(place: Path | str) -> None:
    """Let no folder of the name `~nobody` be made where a home was meant.

    Raises:
        UsageError: the place begins with `~`, so that no home was found for it.
    """
    home = str(place).partition("/")[0]
    if home.startswith("~"):
        raise UsageError(f"{place}: {home} is no user's home here.", remedy="Write the path out, from / on.")


def check_space(out: Path, needed_bytes: int) -> None:
    """Fail early where the disk has no room for what is going to be written.

    Raises:
        OutputError: less is free.
    """
    free_bytes = shutil.disk_usage(_nearest(out.absolute())).free
    if free_bytes < needed_bytes:
        raise OutputError(
            f"{out} needs {needed_bytes / 1e6:,.1f} MB; its disk has {free_bytes / 1e6:,.1f} MB free.",
            remedy="Free disk space or give --out on another disk.",
        )


def _nearest(out: Path) -> Path:
    """The folder that exists and will hold the output's."""
    return next((folder for folder in out.parents if folder.exists()), out)


def check_writable(folder: Path) -> None:
    """Make a folder with a small file in this one and remove it: what mode bits say is not all that decides.

    Raises:
        OSError: nothing can be made there, or the disk is full.
    """
    probe = folder / f".pinembed.partial-{secrets.token_hex(4)}"
    probe.mkdir()
    try:
        (probe / "probe").write_bytes(bytes(PROBE_BYTES))
    finally:
        shutil.rmtree(probe, ignore_errors=True)


def check_file(path: Path | None, *, option: str, makes_folder: bool = False) -> None:
    """Fail early where a single file could not be written at the end.

    Args:
        path: an existing file is replaced; None where none is asked for.
        option: that named it.
        makes_folder: whether the writer makes the file's folder.

    Raises:
        UsageError: the place is none for a file.
        OutputError: nothing can be written there.
    """
    if path is None:
        return
    target = path.resolve() if path.is_symlink() else path  # what gets written
    folder = next(place for place in target.parents if place.exists() or not makes_folder)
    if target.is_dir() or not folder.is_dir():
        found = "is a folder" if target.is_dir() else f"lies in {target.parent}, which is no folder"
        raise UsageError(f"{option} {path} {found}; wanted a file to write.", remedy="Give the name of a new file.")
    try:
        check_writable(folder)
        if target.exists():
            target.open("ab").close()
    except OSError as error:
        raise OutputError(
            f"{option} {path} could not be written: {error.strerror}.", remedy="Give a file in another folder."
        ) from error


def _check_free(out: Path, *, overwrite: bool) -> None:
    if not os.path.lexists(out):
        return
    if not out.is_dir() or out.is_symlink():
        raise OutputExistsError(
            f"{out} exists and is not a plain folder; the output needs a folder of its own.",
            remedy="Give another --out.",
        )
    found = sorted(entry.name for entry in out.iterdir())
    if not found:
        return
    if not overwrite:
        raise OutputExistsError(
            f"{out} exists and holds {len(found)} file(s); the output needs a new or empty folder.",
            remedy="Give another --out, or --overwrite to replace a folder that pinembed wrote.",
        )
    marked = _marked_files(out)
    if marked:  # without a marker nothing in there is ours, and a walk might go through half a disk
        found = list(_files_in(out))
    strangers = sorted(set(found) - marked)
    if strangers:
        shown = ", ".join(strangers[:3]) + (" ..." if len(strangers) > 3 else "")
        raise OutputExistsError(
            f"{out} holds {len(strangers)} file(s) that pinembed did not write: {shown}",
            remedy="Move them away or give another --out; pinembed deletes only its own files.",
        )


def _files_in(folder: Path) -> Iterator[str]:
    """Every file, and every link to a folder, as a path relative to `folder`."""
    for parent, folders, names in os.walk(folder):
        links = [name for name in folders if (Path(parent) / name).is_symlink()]
        for name in (*links, *names):
            yield (Path(parent) / name).relative_to(folder).as_posix()


def _marked_files(folder: Path) -> set[str]:
    try:
        marker = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        return {MARKER, *map(str, marker["files"])}
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def _write_marker(folder: Path, kind: str) -> None:
    marker = {"kind": kind, "pinembed": __version__, "files": sorted(_files_in(folder))}
    (folder / MARKER).write_text(json.dumps(marker, indent=1) + "\n", encoding="utf-8")


def _share_as_folder(folder: Path) -> None:
    """Who may read the folder may read its files: safetensors writes them for the owner alone, whatever the umask.

    A file that nobody may write stays so.
    """
    mode = folder.stat().st_mode & 0o666
    for name in _files_in(folder):
        status = (folder / name).lstat()
        # a file of two names belongs to another folder too, which set its mode
        if stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and status.st_mode & stat.S_IWUSR:
            (folder / name).chmod(status.st_mode & 0o777 | mode)


def _discard(folder: Path) -> None:
    """Remove a folder as far as that can be done; what stays is removed by the next run."""
    with suppress(OSError):
        remove_tree(folder)


def _swap(staging: Path, out: Path) -> None:
    """Rename `staging` to `out`; a folder that stood there takes the staging name, to be removed.

    Where the system can exchange two names (Linux on most file systems), whoever looks sees the old folder or the new
    one, and so does who comes after a kill. Elsewhere the name is missing for a moment between two renames, and the
    next run puts the old folder back after a kill there.
    """
    if not os.path.lexists(out):
        staging.rename(out)
    elif not exchange(staging, out):
        _swap_by_two_renames(staging, out)


def _swap_by_two_renames(staging: Path, out: Path) -> None:
    previous = staging.with_name(staging.name.replace(".partial-", ".previous-"))
    out.rename(previous)
    try:
        staging.rename(out)
    except BaseException:  # a signal may come between the two
        previous.rename(out)
        raise
    previous.rename(staging)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One process at a time looks at and renames what lies in the folder; where there are no locks, go on without."""
    try:
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        yield  # it is not there yet, or whoever writes will say what is wrong
        return
    try:
        try_lock(opened, fcntl.LOCK_EX)
        yield
    finally:
        os.close(opened)


def _hold(staging: Path) -> int:
    """Lock a staging folder until the descriptor is closed or the process is gone."""
    opened = os.open(staging, os.O_RDONLY | os.O_DIRECTORY)
    try_lock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return opened


def try_lock(descriptor: int, operation: int) -> bool:
    try:
        fcntl.flock(descriptor, operation)
    except OSError:  # held by another run, or a network file system without locks
        return False
    return True


def _remove_abandoned(out: Path) -> None:
    """Clear what killed runs left beside `out`; a replaced folder whose successor never came is put back."""
    if not out.parent.is_dir():
        return
    beside = sorted(out.parent.iterdir())
    for leftover in (entry for entry in beside if entry.name.startswith(f".{out.name}.partial-")):
        remove_if_abandoned(leftover)
    for previous in (entry for entry in beside if entry.name.startswith(f".{out.name}.previous-")):
        if not os.path.lexists(out):
            with suppress(FileNotFoundError):
                previous.rename(out)
        else:
            shutil.rmtree(previous, ignore_errors=True)


def remove_if_abandoned(staging: Path) -> None:
    """Remove a folder that a run was filling, unless that run goes on."""
    try:
        opened = os.open(staging, os.O_RDONLY)
    except FileNotFoundError:  # its run ended, or another one cleared it, a moment ago
        return
    try:
        if try_lock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB):
            _discard(staging)
    finally:
        os.close(opened)


@contextmanager
def _os_errors_as_sentences(out: Path, staging: Path) -> Iterator[None]:
    """Turn what the system says about this output into an OutputError; errors about other files pass."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise OutputError(
                f"{out} could not be written: {error.strerror or error}.",
                remedy="Free disk space or give --out on another disk; nothing was left behind.",
            ) from error
        place = str(error.filename or "")
        if place == str(out.parent) or place.startswith((str(out), str(staging))) or error.errno == errno.EROFS:
            raise OutputError(
                f"{out} could not be written: {error.strerror}: {place}",
                remedy="Check the path and its permissions, or give another --out.",
            ) from error
        raise

"""Output folders: written beside their place, renamed at the end, and never at the cost of a stranger's file.

Every folder that pinembed writes holds `pinembed.json`, the list of its files. Only what stands in that list is ever
replaced or removed.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pinembed.errors import OutputExistsError
from pinembed.version import __version__

MARKER = "pinembed.json"


@contextmanager
def staged_folder(out: Path, *, kind: str, overwrite: bool = False) -> Iterator[Path]:
    """Give an empty folder to fill; rename it to `out` when the block ends well, remove it when it does not.

    Args:
        out: the folder that the user named. Missing or empty: fine. Otherwise see `overwrite`.
        kind: what the folder holds, for people: `encoder`, `embedding source`, ...
        overwrite: replace a folder that pinembed wrote, as long as it holds nothing else.

    Raises:
        OutputExistsError: `out` is a file, exists without `overwrite`, or holds files that pinembed did not write.
    """
    out = Path(os.path.abspath(out))  # noqa: PTH100  (resolve() would follow a link and replace its target)
    _remove_abandoned(out)
    check_output(out, overwrite=overwrite)
    out.parent.mkdir(parents=True, exist_ok=True)
    staging = out.with_name(f".{out.name}.partial-{os.getpid()}")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir()
    try:
        yield staging
        _write_marker(staging, kind)
        check_output(out, overwrite=overwrite)
        _swap(staging, out)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def check_output(out: Path, *, overwrite: bool) -> None:
    """Fail early, before hours of work, when `staged_folder` would refuse the folder at the end.

    Raises:
        OutputExistsError: as for `staged_folder`.
    """
    if not os.path.lexists(out):
        return
    if not out.is_dir() or out.is_symlink():
        raise OutputExistsError(
            f"{out} exists and is not a plain folder; the output needs a folder of its own.",
            remedy="Give another --out.",
        )
    found = sorted(_files_in(out))
    if not found:
        return
    if not overwrite:
        raise OutputExistsError(
            f"{out} exists and holds {len(found)} file(s); the output needs a new or empty folder.",
            remedy="Give another --out, or --overwrite to replace a folder that pinembed wrote.",
        )
    strangers = sorted(set(found) - _marked_files(out))
    if strangers:
        shown = ", ".join(strangers[:3]) + (" ..." if len(strangers) > 3 else "")
        raise OutputExistsError(
            f"{out} holds {len(strangers)} file(s) that pinembed did not write: {shown}",
            remedy="Move them away or give another --out; pinembed deletes only its own files.",
        )


def _files_in(folder: Path) -> Iterator[str]:
    for parent, _, names in os.walk(folder):
        for name in names:
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


def _swap(staging: Path, out: Path) -> None:
    if not os.path.lexists(out):
        staging.rename(out)
        return
    previous = out.with_name(f".{out.name}.previous-{os.getpid()}")
    out.rename(previous)
    try:
        staging.rename(out)
    except OSError:
        previous.rename(out)
        raise
    shutil.rmtree(previous)


def _remove_abandoned(out: Path) -> None:
    """Clear what killed runs left beside `out`; a replaced folder whose successor never came is put back."""
    for leftover in sorted(out.parent.glob(f".{out.name}.*-*")):
        role, _, pid = leftover.name.removeprefix(f".{out.name}.").rpartition("-")
        if role not in {"partial", "previous"} or not pid.isdigit() or _is_running(int(pid)):
            continue
        if role == "previous" and not os.path.lexists(out):
            leftover.rename(out)
        else:
            shutil.rmtree(leftover, ignore_errors=True)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

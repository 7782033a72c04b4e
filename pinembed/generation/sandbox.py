"""Sandboxes: HOME/sandboxes/NAME is a copy of a generation in which people try things at full size.

It takes no space and serves nobody: `current` only ever names a generation. Files that nobody writes again, which are
the table's, the source's and weights, are linked, and nobody may write them; small ones of encoder and model are copied
and may be edited.
"""

from __future__ import annotations

import dataclasses
import json
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from pinembed.disk import remove_tree
from pinembed.errors import GenerationError, OutputExistsError, UsageError
from pinembed.generation.build import clone_folder, make_read_only
from pinembed.generation.home import Home
from pinembed.generation.reading import hold
from pinembed.generation.record import ENCODER, HASHED_BYTES, MODEL, SANDBOX, SOURCE, TABLE, check_whole
from pinembed.outfolder import locked, remove_if_abandoned, staged_folder
from pinembed.version import __version__

SANDBOXES = "sandboxes"
FORMAT, FORMAT_VERSION = "pinembed-sandbox", 1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Sandbox:
    """What sandbox.json says.

    Attributes:
        generation: number of the one that it is a copy of.
        created_at: ISO 8601 in UTC.
        by: name of the user who made it.
        version: of pinembed.
        fingerprint: of the generation's encoder.
        rows: of the generation's table.
        copied_bytes: of files that the file system could not link.
    """

    generation: int
    created_at: str
    by: str
    version: str
    fingerprint: str
    rows: int
    copied_bytes: int


def folder_of_sandbox(home: Home, name: str) -> Path:
    """Where a sandbox lies, whether it is there or not.

    Raises:
        UsageError: a name that could lead out of the home, or be taken for something else.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name[:80]!r} is no name of a sandbox; wanted at most 64 letters, digits, `-` and `_`, a letter or digit "
            "first.",
            remedy="Give another name, such as new-prompts.",
        )
    return home.folder / SANDBOXES / name


def make_sandbox(home: Home, name: str, *, by: str, generation: int | None = None) -> Sandbox:
    """Copy a generation, the one in use or another, under a name of its own.

    Args:
        home: of the generation.
        name: of the sandbox.
        by: name of the user.
        generation: its number; None for the one in use.

    Raises:
        UsageError: as for `folder_of_sandbox`.
        GenerationError: no such generation, or one that was edited.
        OutputExistsError: there is a sandbox of this name.
        OutputError: it cannot be written.
    """
    folder = folder_of_sandbox(home, name)
    _clear(home)
    held = hold(home.folder, generation=generation)
    assert held is not None  # the home is one
    record = home.read(int(held.folder.name))
    check_whole(held.folder, record)
    try:
        with staged_folder(folder, kind="sandbox") as staging:
            made = Sandbox(
                generation=record.number,
                created_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
                by=by,
                version=__version__,
                fingerprint=record.fingerprint,
                rows=record.rows,
                copied_bytes=_fill(staging, held.folder),
            )
            stored = {"format": FORMAT, "format_version": FORMAT_VERSION, **dataclasses.asdict(made)}
            (staging / SANDBOX).write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
    except OutputExistsError as error:
        raise OutputExistsError(
            f"{home.folder} has a sandbox {name} already.",
            remedy=f"Give another name, or remove it with: pinembed sandbox {home.folder} {name} --remove",
        ) from error
    finally:
        held.close()
    return made


def _fill(staging: Path, origin: Path) -> int:
    """Clone the parts of a generation; returns the bytes that could not be linked."""
    copied_bytes = 0
    for part in (TABLE, SOURCE):
        copied_bytes += clone_folder(origin / part, staging / part).copied_bytes
    make_read_only(staging / SOURCE)
    for part in (ENCODER, MODEL):
        if (origin / part).is_dir():
            clone_folder(origin / part, staging / part, least_bytes=HASHED_BYTES)
    return copied_bytes


def read_sandbox(folder: Path) -> Sandbox:
    """What a sandbox says of itself.

    Raises:
        GenerationError: the folder is none, or its record was edited into something else.
    """
    path = folder / SANDBOX
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored.pop("format") != FORMAT or stored.pop("format_version") > FORMAT_VERSION:
            raise ValueError("it is of another format or a later version")
        return Sandbox(**stored)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise GenerationError(
            f"{folder} is no sandbox that pinembed made: {SANDBOX} {getattr(error, 'strerror', None) or error}.",
            remedy="See `pinembed generations HOME` for those that are.",
        ) from error


def sandbox_names(home: Home) -> Iterator[str]:
    """Names of all folders that stand where sandboxes do, in order."""
    place = home.folder / SANDBOXES
    if place.is_dir():
        yield from sorted(path.name for path in place.iterdir() if path.is_dir() and _NAME.fullmatch(path.name))


def remove_sandbox(home: Home, name: str) -> None:
    """Remove a sandbox with all that people put into it; linked files stay where else they have a name.

    Raises:
        UsageError: as for `folder_of_sandbox`.
        GenerationError: there is no such sandbox.
    """
    folder = folder_of_sandbox(home, name)
    with locked(home.folder):
        if folder.is_symlink():
            raise GenerationError(f"{folder} is a link, which pinembed did not make.", remedy="Remove it by hand.")
        read_sandbox(folder)
        gone = folder.with_name(f".removed-{name}-{secrets.token_hex(4)}")
        folder.rename(gone)
    remove_tree(gone)
    _clear(home)


def _clear(home: Home) -> None:
    """What killed runs left: sandboxes that were never whole, and removals."""
    place = home.folder / SANDBOXES
    for left in place.glob(".removed-*"):
        remove_tree(left)
    for left in place.glob(".*.partial-*"):
        remove_if_abandoned(left)

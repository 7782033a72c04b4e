"""Home: the folder of all generations, and the link `current` to the one that serves.

HOME/current                    -> generations/000007
HOME/generations/000007/        sealed: encoder/ table/ source/ model/ report/ generation.json
HOME/next/                      the one that a refresh is making
HOME/ledger.json                what was tried, and what was rolled back
HOME/history/                   runs and metrics, Lance tables
"""

from __future__ import annotations

import errno
import os
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pinembed.disk import sync
from pinembed.errors import GenerationError, OutputError
from pinembed.generation.record import RECORD, Generation, check_whole, read_record
from pinembed.outfolder import locked

CURRENT, GENERATIONS, NEXT = "current", "generations", "next"
DIGITS = 6
NO_SYMLINKS = {errno.EPERM, errno.ENOTSUP, errno.ENOSYS}


def _refuse_other_disks(folder: Path) -> None:
    """A generation is renamed from `next` to `generations`, which no rename does between disks.

    Raises:
        OutputError: one of them is a link to another disk, or `next` a link at all.
    """
    for name in (GENERATIONS, NEXT):
        place = folder / name
        is_elsewhere = place.exists() and place.stat().st_dev != folder.stat().st_dev
        if is_elsewhere or (name == NEXT and place.is_symlink()):
            raise OutputError(
                f"{place} lies elsewhere than its home; a new generation is renamed from {NEXT} to {GENERATIONS}.",
                remedy="Keep the whole home on one disk: move it there, and give that path, or a link to it.",
            )


@dataclass(frozen=True, kw_only=True)
class Switched:
    """What a switch left, and how long it took to set the link and bring it to the disk."""

    before: int | None
    switch_ms: float


@dataclass(frozen=True, kw_only=True)
class Home:
    """A home folder; `open` finds one, and only `begin` makes one."""

    folder: Path

    @classmethod
    def open(cls, folder: Path) -> Home:
        """A home that is there; its `current` is taken for the home itself.

        Raises:
            GenerationError: no home.
        """
        found = home_of(folder)
        if found is None:
            raise GenerationError(
                f"{folder} is no home of generations: it holds no folder {GENERATIONS}.",
                remedy="Give the folder that `pinembed refresh` keeps, the `home` of its CONFIG.",
            )
        return found

    @classmethod
    def begin(cls, folder: Path) -> Home:
        """A home that is there or is made now.

        Raises:
            OutputError: it cannot be written, holds no links, or has a part of itself elsewhere.
        """
        probe = folder / f".{CURRENT}-{secrets.token_hex(4)}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            probe.symlink_to(GENERATIONS)  # before hours of work, not behind them
            probe.unlink()
            (folder / GENERATIONS).mkdir(exist_ok=True)
            _refuse_other_disks(folder)
        except OSError as error:
            if error.errno in NO_SYMLINKS and os.access(folder, os.W_OK):
                raise OutputError(
                    f"{folder} lies on a file system without symbolic links: {error.strerror}.",
                    remedy="Give a home on another disk; images, encoder and model may stay where they are.",
                ) from error
            raise OutputError(
                f"The home {folder} cannot be made: {error.strerror or error}.",
                remedy="Check the path and its permissions, and that its disk is mounted.",
            ) from error
        return cls(folder=folder)

    @property
    def next_folder(self) -> Path:
        return self.folder / NEXT

    def folder_of(self, number: int) -> Path:
        return self.folder / GENERATIONS / f"{number:0{DIGITS}}"

    @property
    def current(self) -> int | None:
        """The number that `current` names now; None where there is no generation yet.

        Raises:
            GenerationError: the link is something else, or leads nowhere.
        """
        link = self.folder / CURRENT
        try:
            target = Path(os.readlink(link))  # noqa: PTH115  (Path.readlink raises another error for no link)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise GenerationError(
                f"{link} is not the link that pinembed made.",
                remedy="Move it away, then set it with: pinembed switch HOME N",
            ) from error
        if not target.name.isdecimal() or not (self.folder / target / RECORD).is_file():
            raise GenerationError(
                f"{link} leads to {target}, which is no sealed generation.",
                remedy="Check that the disk is mounted, or set it with: pinembed switch HOME N",
            )
        return int(target.name)

    @property
    def numbers(self) -> list[int]:
        """Of all sealed generations, ascending."""
        found = (self.folder / GENERATIONS).iterdir()
        return sorted(int(path.name) for path in found if path.name.isdecimal() and (path / RECORD).is_file())

    @property
    def free_number(self) -> int:
        """For the next generation: never one that was given before, so that numbers tell an order."""
        return max([*self.numbers, 0]) + 1

    def read(self, number: int) -> Generation:
        """The record of one generation.

        Raises:
            GenerationError: there is none of this number, or its record cannot be read.
        """
        if number not in self.numbers:
            shown = ", ".join(map(str, self.numbers)) or "none"
            raise GenerationError(
                f"{self.folder} holds no generation {number}; it holds {shown}.", remedy="Give one of these numbers."
            )
        return read_record(self.folder_of(number))

    def switch(self, number: int, *, expected: int | None = None) -> Switched:
        """Let `current` name a generation, in one step that no reader sees half of.

        Args:
            number: of the generation.
            expected: that the link must still name; None lets it be any.

        Raises:
            GenerationError: no such generation, one that was edited, or `current` moved meanwhile.
            OutputError: the link cannot be written.
        """
        check_whole(self.folder_of(number), self.read(number))
        link = self.folder / CURRENT
        started_s = time.perf_counter()  # the look at all files is no part of it: nobody waits for that
        with locked(self.folder):
            before = self.current if os.path.lexists(link) and link.exists() else None
            if expected is not None and before != expected:
                raise GenerationError(
                    f"{link} named {expected} when this run began and names {before} now; "
                    f"generation {number} is sealed and does not serve.",
                    remedy=f"Compare the two, then take it with: pinembed switch {self.folder} {number}",
                )
            self._set_link(link, Path(GENERATIONS) / self.folder_of(number).name)
        return Switched(before=before, switch_ms=(time.perf_counter() - started_s) * 1000)

    def _set_link(self, link: Path, target: Path) -> None:
        beside = self.folder / f".{CURRENT}-{secrets.token_hex(4)}"
        try:
            beside.symlink_to(target)
            beside.replace(link)
            sync(self.folder)
        except OSError as error:
            with suppress(OSError):
                beside.unlink()
            raise OutputError(
                f"{link} cannot be set to {target}: {error.strerror or error}.",
                remedy="Check that its disk may be written, and that you are the user who keeps this home.",
            ) from error


def home_of(path: Path) -> Home | None:
    """The home that a path names: itself, its `current`, or one of its generations; None where it names none."""
    if (path / GENERATIONS).is_dir():
        return Home(folder=path)
    if (path / RECORD).is_file():
        folder = path.resolve()
        if folder.parent.name == GENERATIONS:
            return Home(folder=folder.parent.parent)
    return None

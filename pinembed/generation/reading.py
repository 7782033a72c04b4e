"""How a reader comes to one generation and keeps it: the link is resolved once, and generation.json is held.

Two opens through `current` can meet two generations while it switches; a reader that resolved it once cannot. The
shared lock on generation.json lasts as long as the reader, and retention removes only what nobody holds.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pinembed.errors import GenerationError, UsageError
from pinembed.generation.home import CURRENT, Home, home_of
from pinembed.generation.record import RECORD, SANDBOX
from pinembed.outfolder import try_lock

TRIES = 100
OUTWARD = 2  # from HOME/current/table/items to HOME/current


class Held:
    """A generation that stays while this lives, or a sandbox.

    Attributes:
        folder: of the generation, without links in it.
        inside: what the reference named in it; empty where it named the generation or the home.
        is_sealed: nobody writes there; False for a sandbox.
    """

    def __init__(self, folder: Path, inside: Path, descriptor: int) -> None:
        self.folder = folder
        self.inside = inside
        self.is_sealed = (folder / RECORD).is_file()
        self._descriptor = descriptor

    def part(self, name: str) -> Path:
        """What the reference named, or this part of the generation that it named."""
        return self.folder / (self.inside if self.inside.parts else name)

    def close(self) -> None:
        """Let retention remove it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __del__(self) -> None:
        self.close()


def hold(reference: str | Path, *, generation: int | None = None) -> Held | None:
    """The generation or sandbox that a reference names or lies in; None where it has nothing to do with a home.

    Args:
        reference: HOME, HOME/current, one of HOME/generations or HOME/sandboxes, or something in one of these.
        generation: another than the one that serves.

    Raises:
        GenerationError: a home without generations, or without this one.
        UsageError: `generation` was given and the reference is no home.
    """
    found = None if "://" in str(reference) else _enclosing(Path(reference))
    if found is None and generation is None:
        return None
    if found is None or (generation is not None and (found[0] / SANDBOX).is_file()):
        raise UsageError(
            f"--generation {generation} came with {reference}, which is no home of generations.",
            remedy="Leave --generation out, or give the home that `pinembed refresh` keeps.",
        )
    named, inside = found
    for _ in range(TRIES):
        folder = _resolved(named, generation)
        descriptor = _held_descriptor(folder)
        if descriptor is not None:
            return Held(folder, inside, descriptor)
    raise GenerationError(
        f"Generation {folder.name} of {reference} went away while it was opened.", remedy="Run the same command again."
    )


@contextmanager
def pinned(*references: str | Path, generation: int | None = None) -> Iterator[tuple[str, ...]]:
    """The same references with every home in them replaced by one generation, which stays inside of the block.

    References to one home get one generation, whatever switches meanwhile.

    Raises:
        GenerationError: as for `hold`.
        UsageError: `generation` was given, and none of the references is a home.
    """
    taken: dict[Path, int] = {}
    with ExitStack() as stack:
        named = []
        for reference in references:
            home = None if "://" in str(reference) else home_of(Path(reference))
            if home is None:
                named.append(str(reference))
                continue
            number = taken.get(home.folder.resolve(), generation)
            held = hold(reference, generation=number)
            assert held is not None  # the reference is a home
            stack.callback(held.close)
            taken[home.folder.resolve()] = int(held.folder.name)
            named.append(str(held.folder))
        if generation is not None and not taken:
            hold(references[0], generation=generation)  # which says that it is no home
        yield tuple(named)


def _enclosing(path: Path) -> tuple[Path, Path] | None:
    """The home or generation that a path is or lies in, and the rest of the path."""
    if home_of(path) is not None or (path / SANDBOX).is_file():
        return path, Path()
    for parent in list(path.parents)[:OUTWARD]:
        if (parent / RECORD).is_file() or (parent / SANDBOX).is_file():
            return parent, path.relative_to(parent)
    return None


def _resolved(named: Path, generation: int | None) -> Path:
    home = home_of(named)
    if generation is not None and home is not None:
        home.read(generation)  # which says what there is where this one is not
        return home.folder_of(generation).resolve()
    if home is None or (named / RECORD).is_file():  # one generation, the link to one, or a sandbox
        return named.resolve()
    number = home.current
    if number is None:
        raise GenerationError(
            f"{home.folder} has no generation that serves: there is no {home.folder / CURRENT}.",
            remedy=_remedy(home),
        )
    return home.folder_of(number).resolve()


def _remedy(home: Home) -> str:
    if home.numbers:
        return f"Take one into use with: pinembed switch {home.folder} {home.numbers[-1]}"
    return "Make the first one with: pinembed refresh CONFIG.toml"


def _held_descriptor(folder: Path) -> int | None:
    """A descriptor with a shared lock; None where the generation was removed meanwhile."""
    path = folder / (RECORD if (folder / RECORD).is_file() else SANDBOX)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try_lock(descriptor, fcntl.LOCK_SH)
    try:
        if path.stat().st_ino == os.fstat(descriptor).st_ino:
            return descriptor
    except FileNotFoundError:
        pass
    os.close(descriptor)
    return None

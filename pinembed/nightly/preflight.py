"""Preflight: a run does not begin whose home is away with its disk, or that could not be finished for want of disk."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pinembed.errors import GenerationError, OutputError
from pinembed.generation.build import size_of
from pinembed.generation.home import Home, home_of
from pinembed.generation.record import ENCODER, MODEL, SOURCE
from pinembed.machine import disk_of
from pinembed.nightly.config import RefreshConfig
from pinembed.nightly.plan import DiskNeed, NightPlan
from pinembed.outfolder import FULL, whole_file
from pinembed.source.embedding_source import EmbeddingSource

ROW_BYTES = 400  # of an item beside its vectors: id, names, hash, metadata
INDEX_BYTES = 64  # of an item in a source's index
USUAL_DIM = 512
GIB = 2**30


def refuse_lost_home(config: Path, home: Path) -> None:
    """Tell a home whose disk is away from one that is still to be made.

    What an earlier run noted beside CONFIG decides. The number of a disk may change when the machine starts again, so
    a home is another one than before where it is on another disk and lacks the generation that it had.

    Raises:
        GenerationError: the home is away, or another one lies in its place.
    """
    marker = _marker(config)
    try:
        noted = json.loads(marker.read_text(encoding="utf-8"))
        was, disk, generation = str(noted["home"]), int(noted["disk"]), int(noted["generation"])
    except (OSError, ValueError, KeyError, TypeError):
        return
    found = home_of(home)
    numbers = [] if found is None else found.numbers
    if was != str(home) or generation in numbers or (numbers and disk_of(str(home)) == disk):
        return
    what = f"is on another disk than before, without generation {generation}" if numbers else "is missing or empty"
    raise GenerationError(
        f"The home {home} {what}, as where its disk is not mounted; it held generation {generation}. Nothing was made.",
        remedy=f"Mount the disk and run the same command again; where the home is gone for good, remove {marker}.",
    )


def note_home(config: Path, home: Home, generation: int) -> None:
    """Leave a note beside CONFIG of what the home holds; where nothing can be written there, go on without."""
    marker = _marker(config)
    noted = {"home": str(home.folder), "disk": disk_of(str(home.folder)), "generation": generation}
    text = json.dumps(noted) + "\n"
    with suppress(OSError, UnicodeError, OutputError):
        if not marker.is_file() or marker.read_text(encoding="utf-8") != text:
            with whole_file(marker) as file:
                file.write_text(text, encoding="utf-8")


def _marker(config: Path) -> Path:
    return config.absolute().with_name(f".{config.name}.home")


def disk_need(config: RefreshConfig, plan: NightPlan, base: Path | None) -> DiskNeed:
    """What a night writes.

    Args:
        config: what is wanted.
        plan: what is due; a training may end with a new encoder, and then everything is new.
        base: folder of the generation that this one begins from; None for a first one.
    """
    rows, dim = plan.counts.rows or 0, _dim_of(base)
    is_all_new = bool(plan.train) or base is None
    new_rows = rows if is_all_new else plan.counts.added + plan.counts.updated
    is_new_model = config.model is not None and (is_all_new or "model" in plan.edited)
    return DiskNeed(
        encoder=size_of(Path(config.encoder) if base is None else base / ENCODER) if is_all_new else 0,
        table=new_rows * (2 * dim + ROW_BYTES),
        source=rows * (2 * dim + INDEX_BYTES),
        model=size_of(Path(config.model or "") if base is None else base / MODEL) if is_new_model else 0,
    )


def check_disk(home: Path, need: DiskNeed, *, free_gib: float) -> None:
    """Refuse a run that would leave less than `free_gib`.

    Raises:
        OutputError: says what is needed, what is there, and where.
    """
    free = shutil.disk_usage(home).free
    if free - need.total < free_gib * GIB:
        raise OutputError(
            f"{home} needs some {need.total / GIB:.2f} GiB for this run and {free_gib:g} GiB that stay free; "
            f"its disk has {free / GIB:.2f} GiB.",
            remedy="Free disk space, keep fewer generations under [keep], or lower free_gib under [limits].",
        )


@contextmanager
def full_disk_as_sentence(home: Path) -> Iterator[None]:
    """Tell of a disk that fills up all the same, whichever step it stops.

    Raises:
        OutputError: the disk, or what the user may have of it, is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise OutputError(
            f"{home} could not be written: {error.strerror}. The generation in use goes on serving.",
            remedy="Free disk space and run the same command again; it goes on where it was.",
        ) from error


def _dim_of(base: Path | None) -> int:
    if base is None:
        return USUAL_DIM
    with EmbeddingSource.open(base / SOURCE) as source:
        return source.dim

"""Preflight: a run that could not be finished for want of disk does not begin."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pinembed.errors import OutputError
from pinembed.generation.record import ENCODER, MODEL, SOURCE
from pinembed.nightly.config import RefreshConfig
from pinembed.nightly.plan import DiskNeed, NightPlan
from pinembed.outfolder import FULL
from pinembed.source.embedding_source import EmbeddingSource

ROW_BYTES = 400  # of an item beside its vectors: id, names, hash, metadata
INDEX_BYTES = 64  # of an item in a source's index
USUAL_DIM = 512
GIB = 2**30


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


def size_of(path: Path) -> int:
    """Bytes of a file or of all files below a folder; 0 where there is nothing."""
    if path.is_file():
        return path.stat().st_size
    return sum(found.stat().st_size for found in path.rglob("*") if found.is_file()) if path.is_dir() else 0


def _dim_of(base: Path | None) -> int:
    if base is None:
        return USUAL_DIM
    with EmbeddingSource.open(base / SOURCE) as source:
        return source.dim

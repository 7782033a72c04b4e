"""Shards that are files of the table: the vectors lie there as a source holds them, so that a second name is enough."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from pinembed.generation.build import NO_LINKS
from pinembed.nouns.manifest import ManifestFile
from pinembed.source.hashed_file import hash_file
from pinembed.source.rows import Floats
from pinembed.table.fragments import VectorFile


def link_shard(file: VectorFile, path: Path, wanted_RD: Floats) -> ManifestFile | None:
    """Give a file of the table a second name as a shard.

    Args:
        file: of the table.
        path: the new name.
        wanted_RD: the rows that it is to hold.

    Returns:
        The manifest's line; None, with nothing made, where it holds them in another form, or the file system has no
        links.
    """
    if not _holds(file, wanted_RD):
        return None
    try:
        os.link(file.path, path)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        return None
    return replace(hash_file(path, rows=file.rows), pages=file.pages)


def _holds(file: VectorFile, wanted_RD: Floats) -> bool:
    """Whether the pages are these rows, byte for byte: Lance may write them in any form that it likes."""
    wanted = wanted_RD.reshape(-1).view(np.uint8)
    row_bytes, done = wanted_RD.strides[0], 0
    with file.path.open("rb") as opened:
        for begin, rows in file.pages:
            found = os.pread(opened.fileno(), rows * row_bytes, begin)
            if found != wanted[done : done + rows * row_bytes].tobytes():
                return False
            done += rows * row_bytes
    return done == len(wanted)

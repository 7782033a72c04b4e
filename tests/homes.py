"""A home with generations, made by hand from the jobs that refresh calls too."""

from __future__ import annotations

import shutil
from pathlib import Path

from pinembed.encoder.locate import encoder_spec, locate_encoder
from pinembed.generation.build import clone_folder, seal
from pinembed.generation.home import Home
from pinembed.generation.record import ENCODER, SOURCE, TABLE, TABLE_NAME, Generation
from pinembed.jobs.encode import encode
from pinembed.jobs.export import export
from pinembed.settings.encoding import EncodeSettings
from pinembed.settings.source import ExportSettings


def add_generation(folder: Path, images: Path, encoder: Path, *, switch: bool = True) -> Home:
    """Encode a folder into a new generation, begun as a clone of the one in use where that has the same encoder."""
    home = Home.begin(folder)
    work, current = home.next_folder, home.current
    work.mkdir()
    shutil.copytree(encoder, work / ENCODER)
    table = str(work / TABLE / TABLE_NAME)
    if current is not None and home.read(current).fingerprint == _fingerprint(work / ENCODER):
        clone_folder(home.folder_of(current) / TABLE, work / TABLE)
    report = encode(
        EncodeSettings(images=images, table=table, encoder=str(work / ENCODER), prune=True, force=True, backend="torch")
    )
    export(ExportSettings(table=table, out=work / SOURCE))
    number = home.free_number
    record = Generation(
        number=number,
        created_at="2026-01-01T00:00:00+00:00",
        version="0",
        parent=current,
        fingerprint=report.fingerprint,
        rows=report.counts.rows or 0,
        why="a test",
    )
    seal(home, record)
    if switch:
        home.switch(number)
    return home


def _fingerprint(encoder: Path) -> str:
    return encoder_spec(locate_encoder(str(encoder))).fingerprint

"""The report job: what a generation of a home is, and how it came to that."""

from __future__ import annotations

import json
from pathlib import Path

from pinembed.errors import OutputError, UsageError
from pinembed.generation.home import Home
from pinembed.generation.reading import hold
from pinembed.generation.record import REPORT, read_record
from pinembed.nightly.atlas import read_atlas, write_parquet
from pinembed.nightly.page import HTML, JSON, MARKDOWN
from pinembed.outfolder import check_file, whole_file
from pinembed.reports.refresh import HomeReport
from pinembed.settings.home import ReportSettings


def report(settings: ReportSettings) -> HomeReport:
    """Give the report of a generation, which was written when it was sealed.

    Raises:
        GenerationError: no home, or no such generation.
        UsageError: a place is none for a file.
        OutputError: a file cannot be written.
    """
    places = {"--html": settings.html, "--markdown": settings.markdown, "--atlas": settings.atlas}
    for option, place in places.items():
        if place is not None:
            check_file(place, option=option)
    home = Home.open(settings.home)
    held = hold(settings.home, generation=settings.generation)
    assert held is not None  # a home is one
    record, folder = read_record(held.folder), held.folder / REPORT
    written = []
    for path, name in ((settings.html, HTML), (settings.markdown, MARKDOWN)):
        if path is not None:
            _write(path, (folder / name).read_bytes())
            written.append(path)
    if settings.atlas is not None:
        atlas = read_atlas(folder)
        if atlas is None:
            raise UsageError(f"Generation {record.number} has no map.", remedy="Leave --atlas out.")
        write_parquet(atlas, settings.atlas)
        written.append(settings.atlas)

    return HomeReport(
        home=home.folder,
        generation=record.number,
        written=tuple(written),
        markdown=(folder / MARKDOWN).read_text(encoding="utf-8"),
        page=json.loads((folder / JSON).read_text(encoding="utf-8")),
    )


def _write(path: Path, content: bytes) -> None:
    try:
        with whole_file(path) as file:
            file.write_bytes(content)
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written: {error.strerror or error}.", remedy="Give another file name."
        ) from error

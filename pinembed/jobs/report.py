"""The report job: what a generation of a home is, and how it came to that."""

from __future__ import annotations

from pathlib import Path

from pinembed.errors import UsageError
from pinembed.generation.home import Home
from pinembed.generation.reading import hold
from pinembed.generation.record import REPORT, read_record
from pinembed.nightly.atlas import MAP
from pinembed.nightly.history import History
from pinembed.nightly.page import html_of, markdown_of, read_page
from pinembed.outfolder import check_file, whole_file
from pinembed.reports.refresh import HomeReport
from pinembed.settings.home import ReportSettings


def report(settings: ReportSettings) -> HomeReport:
    """Give the report of a generation.

    Raises:
        GenerationError: no home, no such generation, or one without a report.
        UsageError: a place is none for a file.
        OutputError: a file cannot be written.
    """
    places = {"--html": settings.html, "--markdown": settings.markdown, "--atlas": settings.atlas}
    for option, place in places.items():
        check_file(place, option=option)
    home = Home.open(settings.home)
    held = hold(settings.home, generation=settings.generation)
    assert held is not None  # a home is one
    record = read_record(held.folder)
    page = read_page(record, held.folder, History(home.folder))
    markdown = markdown_of(page)
    written = []
    if settings.html is not None:
        written.append(_write(settings.html, html_of(page).encode()))
    if settings.markdown is not None:
        written.append(_write(settings.markdown, markdown.encode()))
    if settings.atlas is not None:
        if page.atlas is None:
            raise UsageError(f"Generation {record.number} has no map.", remedy="Leave --atlas out.")
        written.append(_write(settings.atlas, (held.folder / REPORT / MAP).read_bytes()))
    return HomeReport(
        home=home.folder, generation=record.number, written=tuple(written), markdown=markdown, page=page.to_json()
    )


def _write(path: Path, content: bytes) -> Path:
    with whole_file(path) as file:
        file.write_bytes(content)
    return path

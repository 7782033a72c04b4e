"""`pinembed search`: the rows of a table nearest to a text, a picture or an item."""

from __future__ import annotations

from pinembed.cli.console import Console
from pinembed.nouns.item import text_of_value
from pinembed.reports.table import TITLE_FIELDS, SearchReport
from pinembed.settings.encoding import SearchSettings

FIELDS_SHOWN = 2


def run(settings: SearchSettings, console: Console) -> None:
    """Search a table by text, by picture or by item."""
    from pinembed.jobs.search import search

    report = search(settings, progress=console.progress)
    fields = _fields_shown(report)
    console.table(
        f"{report.kind}: {report.query}",
        ["rank", "score", "id", *fields],
        [
            (str(hit.rank), f"{hit.score:.3f}", hit.id, *(text_of_value(hit.fields[name]) for name in fields))
            for hit in report.results
        ],
        numeric_from=99,
    )
    console.say(f"{len(report.results)} of {report.rows} rows in {report.seconds * 1000:.0f} ms")
    if report.sheet is not None:
        console.say(f"contact sheet: {report.sheet}")
    console.report(report)


def _fields_shown(report: SearchReport) -> list[str]:
    """The column that tells a person what an item is; where there is no title, a few short ones."""
    names = list(report.results[0].fields) if report.results else []
    title = [name for name in TITLE_FIELDS if name in names][:1]
    return title or names[:FIELDS_SHOWN]

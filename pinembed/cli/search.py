"""`pinembed search`: the rows of a table nearest to a text, a picture or an item."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pinembed.cli.console import Console, stop_on_signals
from pinembed.cli.options import Device, Json, Quiet, Table
from pinembed.reports.table import TITLE_FIELDS, SearchReport

FIELDS_SHOWN = 2


def command(
    table: Table,
    text: Annotated[str | None, typer.Argument(help="Words to search for.", show_default=False)] = None,
    image: Annotated[
        Path | None, typer.Option("--image", help="Picture to search for, an image file.", show_default=False)
    ] = None,
    item: Annotated[
        str | None, typer.Option("--item", help="Id of a row; finds the items like it.", show_default=False)
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            "--encoder", help="Encoder of the table; by default the one that it was made with.", show_default=False
        ),
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Number of results.")] = 10,
    where: Annotated[
        str | None,
        typer.Option("--where", help="SQL condition, such as \"color = 'red' and price < 20\".", show_default=False),
    ] = None,
    sheet: Annotated[
        Path | None, typer.Option("--sheet", help="Draw the results as a contact sheet, a PNG.", show_default=False)
    ] = None,
    device: Device = "cpu",
    json_output: Json = False,
    quiet: Quiet = False,
) -> None:
    """Search a table by text, by picture or by item."""
    from pinembed.jobs.search import search
    from pinembed.nouns.values import text_of_value

    stop_on_signals()
    console = Console(json_output=json_output, quiet=quiet)
    report = search(
        table=table,
        text=text,
        image=image,
        item=item,
        encoder=encoder,
        k=k,
        where=where,
        sheet=sheet,
        device=device,
        progress=console.progress,
    )
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

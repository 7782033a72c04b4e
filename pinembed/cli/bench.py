"""`pinembed bench ...`: what things cost on this machine, measured, not quoted."""

from __future__ import annotations

import typer

from pinembed.cli import bench_encode, bench_lookup, bench_vlm

app = typer.Typer(help="Measure what encoding, looking up and answering cost on this machine.", no_args_is_help=True)


@app.callback()
def root() -> None:
    """Keeps every bench a sub-command, however many there are."""


app.command("encode")(bench_encode.command)
app.command("lookup")(bench_lookup.command)
app.command("vlm")(bench_vlm.command)

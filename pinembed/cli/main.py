"""The `pinembed` command: every command registered, and library errors made exit codes in this one place."""

from __future__ import annotations

import os
import sys
from typing import Annotated, NoReturn

import typer

from pinembed.cli import (
    align,
    ask,
    bench,
    demo,
    doctor,
    encode,
    evaluate,
    export,
    finetune,
    fuse,
    inspect,
    search,
    trim,
    verify,
)
from pinembed.cli.console import print_error
from pinembed.errors import PinembedError, StoppedError
from pinembed.version import __version__

EPILOG = (
    "Exit codes: 0 done, 1 failure, 2 usage, 3 too many bad inputs (what was good is stored), "
    "4 the gate kept the champion, 5 another run holds the table, 130/143 interrupted."
)

app = typer.Typer(
    name="pinembed",
    help="Precompute embeddings: fine-tune a CLIP encoder, encode a catalogue into LanceDB, feed a trimmed Qwen3-VL.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"pinembed {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options before the command."""


# in the order in which a newcomer meets them
app.command("finetune")(finetune.command)
app.command("fuse")(fuse.command)
app.command("evaluate")(evaluate.command)
app.command("encode")(encode.command)
app.command("inspect")(inspect.command)
app.command("search")(search.command)
app.command("export")(export.command)
app.command("verify")(verify.command)
app.command("trim")(trim.command)
app.command("align")(align.command)
app.command("ask")(ask.command)
app.add_typer(bench.app, name="bench")
app.command("doctor")(doctor.command)
app.command("demo")(demo.command)


def main() -> NoReturn:
    """Run the command line; ends the process with the contract's exit codes."""
    json_output = "--json" in sys.argv
    try:
        app(prog_name="pinembed")
    except PinembedError as error:
        print_error(error, json_output=json_output)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print_error(StoppedError(2), json_output=json_output)
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output went away, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    sys.exit(0)

"""The `pinembed` command: every command registered, and library errors made exit codes in this one place."""

from __future__ import annotations

import os
import sys
from typing import Annotated, NoReturn

import typer

from pinembed.cli import (
    align,
    ask,
    audit,
    bench,
    chat,
    demo,
    doctor,
    encode,
    evaluate,
    evaluate_chat,
    export,
    finetune,
    fuse,
    generations,
    inspect,
    mcp,
    refresh,
    search,
    taste,
    trim,
    verify,
)
from pinembed.cli.command import add_command
from pinembed.cli.console import print_error
from pinembed.errors import PinembedError, StoppedError
from pinembed.machine import set_wait_policy
from pinembed.settings.assistant import ChatSettings, EvaluateChatSettings, McpSettings
from pinembed.settings.encoding import EncodeSettings, InspectSettings, SearchSettings
from pinembed.settings.home import (
    GenerationsSettings,
    RefreshSettings,
    ReportSettings,
    RollbackSettings,
    SandboxSettings,
    SwitchSettings,
)
from pinembed.settings.measuring import DemoSettings, DoctorSettings
from pinembed.settings.model import AlignSettings, AskSettings, TrimSettings
from pinembed.settings.quality import AppealSettings, AuditSettings
from pinembed.settings.source import ExportSettings, VerifySettings
from pinembed.settings.training import EvaluateSettings, FinetuneSettings, FuseSettings
from pinembed.version import __version__

EPILOG = (
    "Exit codes: 0 done, 1 failure, 2 usage, 3 too many bad inputs (what was good is stored), "
    "4 the gate kept the champion, 5 another run holds the table or home, 6 out of time, 7 a check kept a generation "
    "from serving, 130/143 interrupted."
)

app = typer.Typer(
    name="pinembed",
    help="Precompute embeddings: fine-tune a CLIP encoder, encode a catalogue into LanceDB, feed a trimmed Qwen3-VL.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
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
ENCODER, TABLE, SOURCE = "From a base to an encoder", "From images to a table", "From a table to files"
MODEL, TASTE = "From files to answers", "From events to recommendations"
HOME, MACHINE = "Every night", "This machine"
add_command(app, "finetune", FinetuneSettings, finetune.run, panel=ENCODER)
add_command(app, "fuse", FuseSettings, fuse.run, panel=ENCODER)
add_command(app, "evaluate", EvaluateSettings, evaluate.run, panel=ENCODER)
add_command(app, "encode", EncodeSettings, encode.run, panel=TABLE)
add_command(app, "inspect", InspectSettings, inspect.run, panel=TABLE)
add_command(app, "search", SearchSettings, search.run, panel=TABLE)
add_command(app, "audit", AuditSettings, audit.run, panel=TABLE)
add_command(app, "appeal", AppealSettings, audit.run_appeal, panel=TABLE)
add_command(app, "export", ExportSettings, export.run, panel=SOURCE)
add_command(app, "verify", VerifySettings, verify.run, panel=SOURCE)
add_command(app, "trim", TrimSettings, trim.run, panel=MODEL)
add_command(app, "align", AlignSettings, align.run, panel=MODEL)
add_command(app, "ask", AskSettings, ask.run, panel=MODEL)
add_command(app, "chat", ChatSettings, chat.run, panel=MODEL)
add_command(app, "evaluate-chat", EvaluateChatSettings, evaluate_chat.run, panel=MODEL)
add_command(app, "mcp", McpSettings, mcp.run, panel=MODEL)
app.add_typer(taste.app, name="taste", rich_help_panel=TASTE)
add_command(app, "refresh", RefreshSettings, refresh.run, panel=HOME)
add_command(app, "report", ReportSettings, refresh.run_report, panel=HOME)
add_command(app, "generations", GenerationsSettings, generations.run, panel=HOME)
add_command(app, "sandbox", SandboxSettings, generations.run_sandbox, panel=HOME)
add_command(app, "rollback", RollbackSettings, generations.run_rollback, panel=HOME)
add_command(app, "switch", SwitchSettings, generations.run_switch, panel=HOME)
app.add_typer(bench.app, name="bench", rich_help_panel=MACHINE)
add_command(app, "doctor", DoctorSettings, doctor.run, panel=MACHINE)
add_command(app, "demo", DemoSettings, demo.run, panel=MACHINE)


def main() -> NoReturn:
    """Run the command line; ends the process with the contract's exit codes."""
    json_output = "--json" in sys.argv
    if "--help" not in sys.argv:
        set_wait_policy()
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

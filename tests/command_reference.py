"""docs/commands.md, written from the commands themselves: `python -m tests.command_reference > docs/commands.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import typer.main

INTRODUCTION = """\
# Command reference

Written from the commands by `python -m tests.command_reference > docs/commands.md`; a test keeps it true.

Words: DATA is a folder of images with metadata in the Hugging Face ImageFolder convention (`metadata.csv`, `.jsonl`
or `.parquet` with `file_name`, an optional `split` column or split folders). ENCODER is a folder in open_clip's
`local-dir` layout, `NAME/PRETRAINED` of open_clip's list, `hf-hub:OWNER/REPO`, or a bare architecture with
`--random-init`. TABLE is `DATABASE/NAME`: `catalog/pins` is `catalog/pins.lance`. Tables, images, encoders and
other inputs and outputs can be addresses under `s3://`, `gs://` and `az://` ([object stores](object-stores.md)).

`pinembed --install-completion` teaches the shell to complete commands and options.

With `--json` standard output holds one JSON object and nothing else; progress and words go to standard error. A failure
prints `{"error": {"message", "remedy", "exit_code"}}` instead.

| exit code | meaning |
| --- | --- |
| 0 | done |
| 1 | failure; the message says place, found and wanted, and a remedy |
| 2 | usage: a flag or argument cannot be meant |
| 3 | too many bad inputs; what was good is stored |
| 4 | the gate kept the champion |
| 5 | another run holds the table, or the home |
| 6 | the time of a refresh is over; the next run goes on |
| 7 | a new generation failed a check; the one in use goes on serving |
| 130, 143 | interrupted by SIGINT or SIGTERM; what was committed is whole |
"""


def reference() -> str:
    """The whole page, in Markdown."""
    from pinembed.cli.main import app

    return INTRODUCTION + "".join(_section(name, command) for name, command in commands(typer.main.get_command(app)))


def commands(group: Any, prefix: str = "pinembed") -> Iterator[tuple[str, Any]]:
    """Every command below a group with its full name; groups themselves are left out."""
    for name, command in group.commands.items():
        full = f"{prefix} {name}"
        if hasattr(command, "commands"):
            yield from commands(command, full)
        else:
            yield full, command


def _section(name: str, command: Any) -> str:
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    options = [parameter for parameter in command.params if parameter.param_type_name == "option"]
    words = " ".join([name, *(_usage(argument) for argument in arguments), "[OPTIONS]"])
    lines = [f"\n## {name}\n", f"    {words}\n", f"{(command.help or '').strip()}\n"]
    if arguments or options:
        lines.append("| | default | |\n| --- | --- | --- |")
        lines.extend(
            f"| `{_label(parameter)}` | {_default(parameter)} | {_cell(parameter.help or '')} |"
            for parameter in [*arguments, *options]
        )
    return "\n".join(lines) + "\n"


def _usage(argument: Any) -> str:
    name = _value_name(argument) + ("..." if argument.nargs == -1 else "")
    return name if argument.required else f"[{name}]"


def _value_name(parameter: Any) -> str:
    return str(parameter.metavar or parameter.name.upper())


def _label(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return _value_name(parameter)
    names = "/".join([*parameter.opts, *parameter.secondary_opts])
    return names if parameter.is_flag else f"{names} {_value_name(parameter)}"


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    if isinstance(parameter.show_default, str):
        return parameter.show_default
    if parameter.default in (None, False, (), []):
        return ""
    return f"`{parameter.default}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(reference())

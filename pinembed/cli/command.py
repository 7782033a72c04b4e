"""A settings class and a function that prints, made a command: its options are the fields of the class."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import typer

from pinembed.cli.console import Console, stop_on_signals
from pinembed.errors import UsageError
from pinembed.settings.option import Argument, Option, StorageOptions
from pinembed.settings.places import local_places
from pinembed.stores.fetch import tell_fetches
from pinembed.stores.options import parse_storage_options, use_storage_options

Settings = TypeVar("Settings")
ADDRESSED = frozenset({"table", "encoder", "base", "against", "champion"})
"""Fields of text that may be an address, beside those that are paths."""
MANY_OPTIONS = 12  # from there on the help sets them under headings
JSON = Annotated[bool, typer.Option("--json", help="One JSON object on standard output, nothing else there.")]
QUIET = Annotated[bool, typer.Option("--quiet", help="No progress and no words on standard error, only errors.")]


def add_command(
    app: typer.Typer,
    name: str,
    settings: type[Settings],
    run: Callable[[Settings, Console], None],
    *,
    panel: str | None = None,
) -> None:
    """Register a command.

    Typer reads a function's signature, so one is made: a parameter for each field, then --storage-option where a field
    can be an address in an object store, --json and --quiet.

    Args:
        app: that gets it.
        name: of the command.
        settings: what it can be asked for; each field carries an Argument or Option, or is for Python alone.
        run: calls the job and prints its report; its docstring is the command's help.
        panel: heading that the help of all commands shows it under.
    """
    fields = [
        _Field(field.name, hint, default=field.default)
        for field, hint in _annotated(settings)
        if isinstance(_record(hint), Argument | Option)
    ]
    parameters = [field.parameter(has_panels=len(fields) >= MANY_OPTIONS) for field in fields]
    stores = None
    if any(field.may_be_address for field in fields):  # it holds for the whole command, and so is in no settings class
        stores = _Field("storage_option", StorageOptions, default=())
        parameters.append(stores.parameter(has_panels=False))
    for flag, annotation in (("json_output", JSON), ("quiet", QUIET)):
        parameters.append(_keyword(flag, annotation, default=False))

    @functools.wraps(run)
    def command(*, json_output: bool, quiet: bool, **given: Any) -> None:
        if stores is not None:
            use_storage_options(parse_storage_options(stores.value(given[stores.name])))
        asked = settings(**{field.name: field.value(given[field.name]) for field in fields})
        console = Console(json_output=json_output, quiet=quiet, stop=stop_on_signals())
        tell_fetches(console.progress.say)
        with console.telling(), local_places(asked) as local:
            console.names = local.names
            run(local.settings, console)

    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    app.command(name, rich_help_panel=panel)(command)


def _annotated(settings: type) -> list[tuple[dataclasses.Field[Any], Any]]:
    hints = get_type_hints(settings, include_extras=True)
    return [(field, hints[field.name]) for field in dataclasses.fields(settings)]


def _record(hint: Any) -> Any:
    """The Argument, Option or PythonOnly of a field."""
    return hint.__metadata__[0]


def _keyword(name: str, annotation: Any, *, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _at_home(given: Any) -> Any:
    """A path or an address with the home that `~` or `~user` means at its beginning; no shell sees it in `--table=~/x`.

    A user who does not exist has none: what takes the path refuses it.

    Raises:
        UsageError: no UTF-8, in which tables, manifests and reports keep what they were made of.
    """
    if not isinstance(given, str | Path):
        return given
    text = os.path.expanduser(given)  # noqa: PTH111
    if (seen := os.fsencode(text).decode("utf-8", "backslashreplace")) != text:
        raise UsageError(f"{seen} is no UTF-8.", remedy="Rename what it names, or give a link to it.")
    return type(given)(text)


class _Field:
    """A field of a settings class as a parameter of the command line."""

    def __init__(self, name: str, hint: Any, *, default: Any) -> None:
        self.name = name
        self._type = get_args(hint)[0]
        self._record: Argument | Option = _record(hint)
        self._is_tuple = get_origin(self._type) is tuple
        self._default = inspect.Parameter.empty if default is dataclasses.MISSING else default

    @property
    def may_be_address(self) -> bool:
        """Whether it names a table, an encoder, a file or a folder."""
        return Path in (self._type, *get_args(self._type)) or self.name in ADDRESSED

    @property
    def _is_list(self) -> bool:
        return isinstance(self._record, Option) and self._record.comma_separated

    def parameter(self, *, has_panels: bool) -> inspect.Parameter:
        """What Typer reads: a tuple is given as text or as an option that comes several times."""
        taken = self._type
        if self._is_tuple:
            taken = str | None if self._is_list else list[str] | None
        default = None if self._is_tuple else self._default
        return _keyword(self.name, Annotated[taken, self._for_typer(has_panels)], default=default)

    def _for_typer(self, has_panels: bool) -> Any:
        record = self._record
        if isinstance(record, Argument):
            return typer.Argument(help=record.help, metavar=record.metavar)
        return typer.Option(
            *record.named(self.name),
            help=record.help,
            metavar=f"{record.metavar or self.name.upper()} {record.bounds}" if record.bounds else record.metavar,
            show_default=record.shown_default or True,
            rich_help_panel=record.panel if has_panels else None,
        )

    def value(self, given: Any) -> Any:
        """What was given, as the settings class takes it."""
        if not self._is_tuple:
            return _at_home(given)
        return given or () if self._is_list else tuple(map(_at_home, given or ()))

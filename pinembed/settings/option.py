"""How an option is described, once: `--help`, docs/commands.md and the settings classes all read these records.

A field of a settings class is `name: Annotated[type, Option("help")] = default`. An option that several commands share
has its alias here, so that one word means one thing everywhere.
"""

from __future__ import annotations

import functools
import re
import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import KW_ONLY, dataclass, fields
from difflib import get_close_matches
from inspect import cleandoc
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from pinembed.errors import UsageError

Settings = TypeVar("Settings")
INPUTS, ITEMS, STORAGE = "Inputs", "What an item says", "Storage"
RUN, TRAINING, SPEED, ENGINE = "The run", "Training", "Speed", "Engine"
"""Headings under which the help of a command with many options sets them."""
FETCHED, PUT, STREAMED, REFUSED = "fetched", "put up", "read where it lies", "on this machine alone"
"""What becomes of a path that is an address in an object store."""
LARGEST_SEED = 2**32 - 1  # that every generator of random numbers takes
DEVICES = ("auto", "cpu", "cuda", "mps")


@dataclass(frozen=True)
class Argument:
    """A field that the command line takes by its position.

    Attributes:
        help: what it is.
        metavar: its name in the usage line; by default the field's in capitals.
        at_address: what becomes of a path that is an address.
    """

    help: str
    _: KW_ONLY
    metavar: str | None = None
    at_address: str = FETCHED


@dataclass(frozen=True)
class Option:
    """A field that the command line takes by its name.

    Attributes:
        help: what it is; the command line adds the default.
        flags: its names; by default that of the field with dashes.
        metavar: name of the value.
        min: least value; `max` the greatest.
        shown_default: for a default that is None and follows from something else.
        panel: heading that the help shows it under.
        comma_separated: a tuple given as `a,b`; without it a tuple is an option that may come several times.
        at_address: what becomes of a path that is an address.
    """

    help: str
    _: KW_ONLY
    flags: tuple[str, ...] = ()
    metavar: str | None = None
    min: float | None = None
    max: float | None = None
    shown_default: str | None = None
    panel: str | None = None
    comma_separated: bool = False
    at_address: str = FETCHED

    def named(self, field: str) -> tuple[str, ...]:
        """Its names on the command line, as the option of this field."""
        return self.flags or (f"--{field.replace('_', '-')}",)

    @property
    def bounds(self) -> str:
        """As help shows them, such as `[x>=1]`; empty without any."""
        low, high = ("" if bound is None else f"{bound:.10g}" for bound in (self.min, self.max))
        return f"[{low}<=x<={high}]" if low and high else f"[x>={low}]" if low else f"[x<={high}]" if high else ""


@dataclass(frozen=True)
class PythonOnly:
    """A field that only a call from Python can set.

    Attributes:
        help: what it is.
    """

    help: str


def missed_bound(option: object, number: object) -> tuple[str, str] | None:
    """What is wanted in place of a number out of the option's bounds, and the remedy; None for whatever else."""
    if not isinstance(option, Option) or not isinstance(number, int | float):
        return None
    if option.min is not None and not number >= option.min:  # NaN is not either
        return f"at least {option.min:.10g}", "Give a larger number."
    if option.max is not None and not number <= option.max:
        return f"at most {option.max:.10g}", "Give a smaller number."
    return None


def did_you_mean(wrong: str, known: Iterable[str], otherwise: str) -> str:
    """A remedy: the nearest of what there is, where one is near."""
    near = get_close_matches(wrong, known, n=1)
    return f"Did you mean {near[0]}?" if near else otherwise


def names_in(text: str) -> list[str]:
    """The parts of a list that is written with commas, without the blanks around them."""
    return [part.strip() for part in text.split(",") if part.strip()]


def parts_of(text: str, record: object) -> list[str]:
    """What a text gives a field of several values: those of a list, or one, if its option comes several times."""
    return names_in(text) if isinstance(record, Option) and record.comma_separated else [text]


def refuse_unknown(flag: str, value: str, known: Sequence[str]) -> None:
    """Let only a value pass that there is.

    Raises:
        UsageError: there is none; names those that there are, and the nearest.
    """
    if value not in known:
        raise UsageError(
            f"{flag} {value} is unknown; wanted {', '.join(known[:-1])} or {known[-1]}.",
            remedy=did_you_mean(value, known, "Give one of them."),
        )


MOST_SHOWN = 30


def refuse_unknown_columns(
    flag: str, names: Sequence[str], known: Sequence[str], *, place: object, remedy: str
) -> None:
    """Let only columns pass that there are.

    Args:
        flag: that named them.
        names: columns.
        known: those that there are.
        place: what has these, for people.
        remedy: what to name, where no known name is near.

    Raises:
        UsageError: some are missing; names them, those that there are, and the nearest.
    """
    unknown = [name for name in names if name not in known]
    if unknown:
        more = f" and {len(known) - MOST_SHOWN} more" if len(known) > MOST_SHOWN else ""
        raise UsageError(
            f"{flag} names {', '.join(unknown)}, which {place} does not have; its columns are "
            f"{', '.join(known[:MOST_SHOWN]) or 'none'}{more}.",
            remedy=did_you_mean(unknown[0], known, remedy),
        )


def described(settings: type[Settings]) -> type[Settings]:
    """A settings class as its descriptions have it, whether the command line, a CONFIG or Python calls it.

    Its docstring tells the fields with their help texts, for `help()` and editors. A path that comes as text, or a
    list with commas or one name where several may stand, are what the field wants from the beginning.

    Raises:
        UsageError: by the class when called, for a number out of its bounds, a word that is none of the field's, or a
            list of numbers that is none.
    """
    hints = get_type_hints(settings, include_extras=True)
    told = [f"    {name}: {hint.__metadata__[0].help}" for name, hint in hints.items()]
    settings.__doc__ = "\n".join([cleandoc(settings.__doc__ or ""), "", "Attributes:", *told])
    settings.__init__ = _as_wanted(settings.__init__, hints)  # type: ignore[method-assign]
    return settings


def _as_wanted(init: Callable[..., None], hints: dict[str, Any]) -> Callable[..., None]:
    @functools.wraps(init)
    def init_as_wanted(self: object, **given: Any) -> None:
        wanted = {name: _wanted(name, given[name], hint) for name, hint in hints.items() if name in given}
        init(self, **(given | wanted))

    return init_as_wanted


def _wanted(name: str, given: Any, described: Any) -> Any:
    hint, record = get_args(described)[:2]
    flag = record.named(name)[0] if isinstance(record, Option) else name
    for kind in (hint, *get_args(hint)):
        if get_origin(kind) is Literal and given is not None:
            refuse_unknown(flag, given, get_args(kind))
    try:
        found = _converted(given, hint, record)
    except ValueError as error:
        raise UsageError(f"{flag} {given} is no list of numbers.", remedy=f"For example: {flag} 1,2,4,8") from error
    for number in found if isinstance(found, tuple) else (found,):
        missed = missed_bound(record, number)
        if missed is not None:
            raise UsageError(f"{flag} is {number}; wanted {missed[0]}.", remedy=missed[1])
    return found


def _converted(given: Any, hint: Any, record: object) -> Any:
    """A value as the type of its field; as it is where nothing else can be meant."""
    if get_origin(hint) is tuple and given is not None:
        element = get_args(hint)[0]
        parts = parts_of(str(given), record) if isinstance(given, str | Path) else given
        return tuple(
            int(part) if element is int and isinstance(part, str) else _converted(part, element, record)
            for part in parts
        )
    kinds = (hint, *get_args(hint))
    if isinstance(given, str) and Path in kinds:
        return Path(given)
    return str(given) if isinstance(given, Path) and Path not in kinds and str in kinds else given


def command_line(settings: object) -> str:
    """The line that calls a command with these settings, as far as they are not its defaults."""
    arguments: list[str] = []
    options: list[str] = []
    hints = get_type_hints(type(settings), include_extras=True)
    for field in fields(settings):  # type: ignore[arg-type]
        given, record = getattr(settings, field.name), hints[field.name].__metadata__[0]
        if given in (None, field.default) or isinstance(record, PythonOnly):
            continue
        several = given if isinstance(given, tuple) else (given,)
        parts = [",".join(map(str, several))] if getattr(record, "comma_separated", False) else map(str, several)
        if isinstance(record, Argument):
            arguments += parts
        else:
            flag = record.named(field.name)[0]
            is_switch = isinstance(given, bool)
            options += [flag.split("/")[not given]] if is_switch else [word for part in parts for word in (flag, part)]
    words = re.findall("[A-Z][a-z]+", type(settings).__name__.removesuffix("Settings"))
    return shlex.join(["pinembed", *(word.lower() for word in words), *arguments, *options])


DataArgument = Annotated[Path, Argument("Folder of images with metadata.csv, .jsonl or .parquet.", metavar="DATA")]
OutOption = Annotated[Path, Option("Folder to write; new or empty.", at_address=PUT)]
OverwriteOption = Annotated[
    bool, Option("Replace an output folder that pinembed wrote; other files are never deleted.")
]
TableOption = Annotated[str, Option("Embedding table, DATABASE/NAME: catalog/pins is catalog/pins.lance.")]
ReadTableOption = Annotated[
    str, Option("Embedding table, DATABASE/NAME: catalog/pins is catalog/pins.lance; or a HOME of generations.")
]
GenerationOption = Annotated[
    int | None,
    Option("Which generation of a HOME to read.", min=1, shown_default="the one in use"),
]
HomeArgument = Annotated[
    Path, Argument("Home of generations, which `pinembed refresh` keeps.", metavar="HOME", at_address=REFUSED)
]
EncoderOption = Annotated[
    str, Option("Encoder: a folder in open_clip's local-dir layout, NAME/PRETRAINED, or hf-hub:OWNER/REPO.")
]
SourceOption = Annotated[Path, Option("Embedding source that `pinembed export` wrote.")]
DeviceOption = Annotated[
    str, Option("auto, cpu, cuda, cuda:1 or mps; auto takes a GPU where there is one.", panel=SPEED)
]
BatchSizeOption = Annotated[
    int | None, Option("Images that the encoder takes at once; chosen by device if not given.", min=1, panel=SPEED)
]
TextOption = Annotated[
    tuple[str, ...],
    Option(
        "Metadata columns that make an item's text, separated by commas, each with a weight if training should "
        "speak it more often: title=3,label; numbers are taken as classes or quantities, and label:name or "
        "size:number decides; default: title, name, caption, text, label, category, description and "
        "tags, where they exist.",
        comma_separated=True,
        panel=ITEMS,
    ),
]
TemplateOption = Annotated[
    str | None,
    Option(
        "A sentence that makes an item's text, with columns in braces, in place of --text: 'a {color} {title}, "
        "{category}'. What stands before a missing value goes with it.",
        panel=ITEMS,
    ),
]
GroupOption = Annotated[
    str | None,
    Option(
        "Metadata column whose equal values mean the same product or kind; without it equal item or equal text.",
        panel=ITEMS,
    ),
]
SlicesOption = Annotated[
    tuple[str, ...],
    Option(
        "Metadata column whose values cut the split into slices; may be given several times; default: category or "
        "another column of a usual name, else that of --group, with at most 50 values.",
        flags=("--slice",),
        panel=ITEMS,
    ),
]
StorageOptions = Annotated[
    tuple[str, ...],
    Option(
        "How object stores are reached, with Lance's keys: aws_endpoint, aws_region, aws_access_key_id, "
        "aws_secret_access_key, skip_signature, allow_http, google_service_account, azure_storage_account_name ...; "
        "may be given several times. What is not given comes from the environment, such as AWS_REGION.",
        flags=("--storage-option",),
        metavar="KEY=VALUE",
    ),
]
"""Of every command that takes a table, an encoder, a file or a folder."""
SeedOption = Annotated[int, Option("Seed of everything random.", min=0, max=LARGEST_SEED, panel=RUN)]

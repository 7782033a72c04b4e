"""CONFIG.toml: what one home is made from, and what each step is asked for.

A table named after a command holds options of that command, described in its settings class; the other tables are
described here. A key or value that cannot be meant is named with the nearest right one. Paths are relative to the file
or to a home (`~/pins`).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import sys
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from pinembed.errors import ConfigError, UsageError
from pinembed.generation.home import GENERATIONS
from pinembed.outfolder import refuse_unknown_home
from pinembed.settings.encoding import EncodeSettings
from pinembed.settings.model import AlignSettings
from pinembed.settings.option import DEVICES, Option, PythonOnly, did_you_mean, missed_bound, parts_of, refuse_unknown
from pinembed.settings.quality import AuditSettings
from pinembed.settings.source import ExportSettings
from pinembed.settings.training import EvaluateSettings, FinetuneSettings
from pinembed.stores.address import is_address
from pinembed.stores.fetch import is_fetched, local_copy

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Section = TypeVar("Section")


@dataclass(frozen=True, kw_only=True)
class Retrain:
    """[retrain]: when an encoder is tuned; without this table it never is."""

    new_share: Annotated[
        float, Option("Share of new or changed items since the last training that is enough.", min=0)
    ] = 0.05
    days: Annotated[
        float, Option("Days after the last training after which it is due as well; 0 for never.", min=0)
    ] = 0.0
    start: Annotated[
        Literal["champion", "base"], Option("Weights that a training begins with: those in use, or `encoder`.")
    ] = "champion"
    alpha_per_year: Annotated[
        float, Option("Expected number of false promotions a year; each training may spend a part of it.", min=0)
    ] = 0.1


@dataclass(frozen=True, kw_only=True)
class Limits:
    """[limits]: what a run may take."""

    hours: Annotated[
        float | None, Option("End between two steps after so long, exit code 6; go on next time.", min=0)
    ] = None
    free_gib: Annotated[float, Option("Disk that stays free; a run that needs more does not begin.", min=0)] = 1.0


@dataclass(frozen=True, kw_only=True)
class Checks:
    """[checks]: what a new generation has to pass before it serves; else exit code 7."""

    rows: Annotated[float, Option("Least rows, as a share of the last generation's.", min=0, max=1)] = 0.9
    golden: Annotated[
        Path | None, Option('File of searches that must work: {"text", "ids"} a line; one of the ids is to be found.')
    ] = None
    golden_k: Annotated[int, Option("Places within which a golden search has to find one of its ids.", min=1)] = 10
    golden_share: Annotated[float, Option("Share of the golden searches that has to work.", min=0, max=1)] = 1.0
    search_p95_ms: Annotated[float | None, Option("Most that 95 % of the searches may take.", min=0)] = None
    lookup_p95_ms: Annotated[float | None, Option("Most that 95 % of the lookups of 64 items may take.", min=0)] = None
    answers: Annotated[
        float,
        Option("Least right answers of an adapted projector, as a share of those expected of one aligned anew.", min=0),
    ] = 0.98
    flagged_rise: Annotated[
        float, Option("Most that the share of flagged rows may rise over the last generation's.", min=0, max=1)
    ] = 0.05


@dataclass(frozen=True, kw_only=True)
class Keep:
    """[keep]: how much of the past stays."""

    generations: Annotated[int, Option("Generations that stay, those in use or being read not counted.", min=1)] = 7


@dataclass(frozen=True, kw_only=True)
class Hooks:
    """[hooks]: commands that are told of the run, as JSON on standard input."""

    start: Annotated[str | None, Option("A run begins.")] = None
    done: Annotated[str | None, Option("A new generation was made.")] = None
    kept: Annotated[str | None, Option("The gate kept the champion.")] = None
    failed: Annotated[str | None, Option("The run ended with an error.")] = None


Options = Mapping[str, Any]
COMMANDS: Mapping[str, tuple[type, frozenset[str]]] = {
    "encode": (EncodeSettings, frozenset({"images", "table", "encoder", "dry_run"})),
    "finetune": (FinetuneSettings, frozenset({"data", "base", "out", "champion", "overwrite"})),
    "audit": (AuditSettings, frozenset({"table", "sheet", "html", "appeals", "flags_from"})),
    "export": (ExportSettings, frozenset({"table", "out", "generation", "format", "model", "overwrite"})),
    "align": (AlignSettings, frozenset({"data", "model", "source", "out", "old_source", "overwrite"})),
    "evaluate": (EvaluateSettings, frozenset({"encoder", "against", "generation", "plot", "storage_formats"})),
}
"""Tables of options, the settings class that describes them, and those that refresh decides itself."""


@dataclass(frozen=True, kw_only=True)
class RefreshConfig:
    """All of a CONFIG.toml."""

    home: Annotated[Path, Option("Folder of all generations.")]
    images: Annotated[Path, Option("Catalogue: IMAGES of encode, DATA of finetune, align and evaluate.")]
    encoder: Annotated[str, Option("Encoder to begin with; an architecture with random_init under [finetune].")]
    model: Annotated[str | None, Option("Qwen3-VL checkpoint to trim and align; without it there is no model.")] = None
    approve: Annotated[bool, Option("A person takes each new generation into use with `pinembed switch`.")] = False
    price_per_hour: Annotated[float, Option("Of the machine, for the cost in the report.", min=0)] = 0.0
    retrain: Annotated[Retrain | None, Option("When an encoder is tuned.")] = None
    limits: Annotated[Limits, Option("What a run may take.")] = field(default_factory=Limits)
    checks: Annotated[Checks, Option("What a generation has to pass.")] = field(default_factory=Checks)
    keep: Annotated[Keep, Option("How much of the past stays.")] = field(default_factory=Keep)
    hooks: Annotated[Hooks, Option("Commands that are told of the run.")] = field(default_factory=Hooks)
    encode: Annotated[Options, Option("Options of `pinembed encode`.")] = field(default_factory=dict)
    finetune: Annotated[Options, Option("Options of `pinembed finetune`.")] = field(default_factory=dict)
    audit: Annotated[
        Options | None,
        Option("Options of `pinembed audit`; with this table each generation is audited before it is exported."),
    ] = None
    export: Annotated[Options, Option("Options of `pinembed export`.")] = field(default_factory=dict)
    align: Annotated[Options, Option("Options of `pinembed align`.")] = field(default_factory=dict)
    evaluate: Annotated[
        Options | None,
        Option("Options of `pinembed evaluate`; with this table each generation is measured, on `data` too."),
    ] = None

    @property
    def yardstick(self) -> Path | None:
        """Catalogue that stays the same, on which each generation is measured beside today's."""
        return (self.evaluate or {}).get("data")

    @property
    def group(self) -> str | None:
        """Column of a product or kind, as evaluate or else finetune is asked for."""
        found = (self.evaluate or {}).get("group") or self.finetune.get("group")
        return None if found is None else str(found)

    def digest(self, step: str) -> str:
        """Of the options of one step; another digest means that its output is to be made anew."""
        return digest_of(getattr(self, step))


def digest_of(*values: Any) -> str:
    """16 hex digits of whatever JSON, or the text of a value, can tell."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:16]


def read_config(path: Path) -> RefreshConfig:
    """A CONFIG.toml.

    Raises:
        ConfigError: it cannot be read, or holds a key or a value that cannot be meant.
    """
    try:
        stored = tomllib.loads(path.read_text(encoding="utf-8-sig"))  # as some editors save it
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}.", remedy="Give the path of a CONFIG.toml.") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{path} is no TOML: {error}.", remedy="See docs/refresh.md for an example.") from error
    folder = path.absolute().parent
    found = _section(RefreshConfig, stored, place=str(path), folder=folder)
    _refuse_overlap(found.home, found.images, place=str(path))
    model = None if found.model is None else _beside(folder, found.model)
    model = str(local_copy(model)) if model is not None and is_address(model) else model
    return dataclasses.replace(found, encoder=_beside(folder, found.encoder), model=model)


def _refuse_overlap(home: Path, images: Path, *, place: str) -> None:
    """Keep what a home holds out of the catalogue, and the catalogue out of a home.

    Raises:
        ConfigError: one lies in the other, or the home in another home, links followed.
    """
    real_home, real_images = home.resolve(), images.resolve()
    if real_home.is_relative_to(real_images):
        why = f"home {home} lies in images {images}, so that its own pictures would be items"
    elif real_images.is_relative_to(real_home):
        why = f"images {images} lie in home {home}, which holds generations alone"
    elif any((parent / GENERATIONS).is_dir() for parent in real_home.parents):
        why = f"home {home} lies in another home"
    else:
        return
    raise ConfigError(f"{place}: {why}.", remedy="Give two folders of which none lies in the other.")


def _beside(folder: Path, reference: str) -> str:
    """A reference that is a folder beside CONFIG, as its path; any other as it is."""
    if is_address(reference):
        return reference
    path = _path(folder, reference)
    return str(path) if path.is_dir() else reference


def _path(folder: Path, written: str) -> Path:
    """A path relative to CONFIG's folder, or one that begins with a home.

    Raises:
        UsageError: nobody has that home.
        ConfigError: it lies in an object store, or is relative to a CONFIG that does.
    """
    if is_address(written):
        raise ConfigError(
            f"{written} lies in an object store; a home and its images have to be folders of this machine.",
            remedy="Give a path, such as of a mount; `encode`, `finetune` and the others by themselves take addresses.",
        )
    if is_fetched(folder) and not written.startswith(("/", "~")):
        raise ConfigError(
            f"{written} is relative to a CONFIG in an object store; wanted a path from / on.",
            remedy="Write the path out, or bring CONFIG to this machine.",
        )
    found = os.path.expanduser(written)  # noqa: PTH111  (it leaves what is no home as it is)
    refuse_unknown_home(found)
    return folder / found


def _section(kind: type[Section], stored: Mapping[str, Any], *, place: str, folder: Path) -> Section:
    """A table as a dataclass of its keys."""
    hints = get_type_hints(kind, include_extras=True)
    given = _known(stored, hints, place)
    missing = [found.name for found in dataclasses.fields(kind) if _is_required(found) and found.name not in given]  # type: ignore[arg-type]
    if missing:
        raise ConfigError(f"{place} has no {missing[0]}.", remedy=f"Add the line: {missing[0]} = ...")
    return kind(**{name: _value(hints[name], name, value, place, folder) for name, value in given.items()})


def _value(described: Any, name: str, value: Any, place: str, folder: Path) -> Any:
    where, hint = f"{place}: {name}", get_args(described)[0]
    if name in COMMANDS or dataclasses.is_dataclass(_plain(hint)):
        if not isinstance(value, dict):
            raise ConfigError(f"{where} is {value!r}; wanted a table.", remedy=f"Write [{name}] and its keys below.")
        if name in COMMANDS:
            return _options(name, value, place=f"{place} [{name}]", folder=folder)
        return _section(_plain(hint), value, place=f"{place} [{name}]", folder=folder)
    return _described_value(described, value, where, folder)


def _described_value(described: Any, value: Any, where: str, folder: Path) -> Any:
    """A value as its description has it.

    Raises:
        ConfigError: it is of another kind, less than the least, or more than the most.
    """
    hint, option = get_args(described)[:2]
    if isinstance(value, str) and get_origin(_plain(hint)) is tuple:
        value = parts_of(value, option)
    found = _converted(hint, value, where, folder)
    missed = missed_bound(option, found)
    if missed is not None:
        raise ConfigError(f"{where} is {value}; wanted {missed[0]}.", remedy=missed[1])
    return found


def _options(command: str, stored: Mapping[str, Any], *, place: str, folder: Path) -> Options:
    """The options of a command, as its settings class takes them."""
    settings, decided = COMMANDS[command]
    hints = get_type_hints(settings, include_extras=True)
    taken = {name: hint for name, hint in hints.items() if not isinstance(hint.__metadata__[0], PythonOnly)}
    given = {name.replace("-", "_"): value for name, value in stored.items()}
    for name in given:
        if name in decided:
            raise ConfigError(f"{place} sets {name}, which refresh decides itself.", remedy="Leave it out.")
    given = _known(given, {name: hint for name, hint in taken.items() if name not in decided}, place)
    found = {name: _described_value(taken[name], value, f"{place}: {name}", folder) for name, value in given.items()}
    _try(settings, found, place)
    return found


def _try(settings: type, options: Options, place: str) -> None:
    """Let the command's own settings look at the options now, and not after hours of work.

    Raises:
        ConfigError: as they say it.
    """
    required = [field.name for field in dataclasses.fields(settings) if _is_required(field)]
    try:
        settings(**{**dict.fromkeys(required, Path("database/name")), **options})
        refuse_unknown("--device", options.get("device", "auto").partition(":")[0], DEVICES)
    except UsageError as error:
        raise ConfigError(f"{place}: {error.message}", remedy=error.remedy) from error


def _known(stored: Mapping[str, Any], names: Mapping[str, Any], place: str) -> dict[str, Any]:
    for name in stored:
        if name not in names:
            raise ConfigError(
                f"{place} has a key {name}, which is unknown.",
                remedy=did_you_mean(name, names, f"Known are {', '.join(names)}."),
            )
    return dict(stored)


def _is_required(found: dataclasses.Field[Any]) -> bool:
    return found.default is dataclasses.MISSING and found.default_factory is dataclasses.MISSING


def _plain(hint: Any) -> Any:
    """A hint without its None."""
    if get_origin(hint) in {Union, types.UnionType}:
        kinds = [kind for kind in get_args(hint) if kind is not type(None)]
        return kinds[0]
    return hint


def _converted(hint: Any, value: Any, where: str, folder: Path) -> Any:
    kind = _plain(hint)
    if get_origin(kind) is Literal:
        return _one_of(get_args(kind), value, where)
    if get_origin(kind) is tuple:
        parts = _instance(list, value, where, "a list")
        return tuple(_converted(get_args(kind)[0], part, where, folder) for part in parts)
    if kind is Path:
        return _path(folder, _instance(str, value, where, "a path"))
    if kind is float:
        return float(_instance((int, float), value, where, "a number"))
    names = {bool: "true or false", int: "a whole number", str: "text"}
    return _instance(kind, value, where, names.get(kind, kind.__name__))


def _one_of(choices: tuple[Any, ...], value: Any, where: str) -> Any:
    if value in choices:
        return value
    names = [str(choice) for choice in choices]
    known = f"one of {', '.join(names)}"
    raise ConfigError(
        f"{where} is {value!r}; wanted {known}.", remedy=did_you_mean(str(value), names, f"Give {known}.")
    )


def _instance(kind: Any, value: Any, where: str, wanted: str) -> Any:
    if (isinstance(value, bool) and kind is not bool) or not isinstance(value, kind):
        raise ConfigError(
            f"{where} is {value!r}; wanted {wanted}.", remedy="Write it as TOML has it, e.g. 5, 0.5, true."
        )
    return value

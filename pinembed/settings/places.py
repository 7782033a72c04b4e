"""Settings whose paths are addresses, made settings of this machine: inputs are fetched, outputs put up at the end."""

from __future__ import annotations

import dataclasses
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar, get_type_hints

from pinembed.errors import PinembedError, UsageError
from pinembed.machine import cache_folder
from pinembed.settings.option import FETCHED, PUT, REFUSED, Argument, Option
from pinembed.stores.address import Address, is_address, parse_place

Settings = TypeVar("Settings")
OUTGOING = "outgoing"


@dataclasses.dataclass(frozen=True, kw_only=True)
class LocalSettings(Generic[Settings]):
    """What a job is to be called with.

    Attributes:
        settings: without addresses, but for what is read where it lies.
        names: the address of each place on this machine, for people.
    """

    settings: Settings
    names: Mapping[str, str]


@contextmanager
def local_places(settings: Settings) -> Iterator[LocalSettings[Settings]]:
    """Bring what a job reads from addresses, and put up what it has written, whole, when the block ends.

    An output goes up however the block ends, as long as the job has finished it: a kept champion is one.

    Raises:
        UsageError: an address for something that can only be on this machine.
        OutputExistsError: an output's prefix holds something that may not be replaced.
        StoreError: a store cannot be read or written.
    """
    if not any(_addressed(settings)):
        yield LocalSettings(settings=settings, names={})
        return
    from pinembed.stores.fetch import local_copy  # what most commands need not load
    from pinembed.stores.objects import put_object
    from pinembed.stores.put import check_prefix, put_folder

    changes: dict[str, Any] = {}
    names: dict[str, str] = {}
    outputs: dict[Path, Address] = {}
    outgoing = cache_folder() / OUTGOING / secrets.token_hex(8)
    for name, given, record in _addressed(settings):
        address = parse_place(given)
        assert isinstance(address, Address)
        if record.at_address == REFUSED:
            raise UsageError(
                f"{address} lies in an object store; {name} has to be on this machine.", remedy="Give a path."
            )
        if record.at_address == PUT:
            changes[name] = outgoing / (address.name or address.container)
            outputs[changes[name]] = address
            outgoing.mkdir(parents=True, exist_ok=True)
            if not address.suffix:
                check_prefix(address, overwrite=_overwrites(settings))
        elif record.at_address == FETCHED:
            changes[name] = local_copy(address)
        names[str(changes.get(name, given))] = str(address)
    local = dataclasses.replace(settings, **changes) if changes else settings  # type: ignore[type-var]
    try:
        with _told_by_address(names):
            yield LocalSettings(settings=local, names=names)
    finally:
        try:
            for path, address in outputs.items():
                if path.is_dir():
                    put_folder(path, address, overwrite=_overwrites(settings))
                elif path.exists():
                    put_object(address, path)
        finally:
            shutil.rmtree(outgoing, ignore_errors=True)


def _overwrites(settings: Any) -> bool:
    return bool(getattr(settings, "overwrite", False))


def _addressed(settings: Any) -> Iterator[tuple[str, Path, Argument | Option]]:
    """The fields that hold an address where the job wants a path."""
    for name, hint in get_type_hints(type(settings), include_extras=True).items():
        record, given = hint.__metadata__[0], getattr(settings, name)
        if isinstance(record, Argument | Option) and isinstance(given, Path) and is_address(given):
            yield name, given, record


@contextmanager
def _told_by_address(names: Mapping[str, str]) -> Iterator[None]:
    try:
        yield
    except PinembedError as error:
        error.message = by_address(error.message, names)
        error.remedy = by_address(error.remedy, names)
        error.args = (error.message,)
        raise


def by_address(text: str, names: Mapping[str, str]) -> str:
    """A text with addresses in the place of the places on this machine that stand for them."""
    for local, address in names.items():
        text = text.replace(local, address)
    return text

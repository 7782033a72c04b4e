"""Where something lies: a path on this machine, or the address of an object or a prefix in a store."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from pinembed.errors import UsageError

SCHEMES = ("s3", "gs", "az", "abfs", "abfss")
OTHER_SPELLINGS = {"s3a": "s3", "gcs": "gs", "azure": "az"}
FILE = "file"
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):/(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """An object in a store, or the prefix of some; with the parts of a Path that both have.

    Attributes:
        scheme: one of SCHEMES.
        container: bucket or container, as it stands behind the scheme.
        key: without a slash at its ends; empty for the whole container.
    """

    scheme: str
    container: str
    key: str = ""

    def __str__(self) -> str:
        return f"{self.root}/{self.key}" if self.key else self.root

    def __fspath__(self) -> str:
        raise TypeError(f"{self} is in an object store; nothing on this machine opens it as a file")

    def __truediv__(self, name: str) -> Address:
        joined = "/".join(part for part in (self.key, name.strip("/")) if part)
        return Address(self.scheme, self.container, joined)

    @property
    def root(self) -> str:
        """Of the container."""
        return f"{self.scheme}://{self.container}"

    @property
    def name(self) -> str:
        """The last part of the key."""
        return self.key.rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """Of the name, with its dot; empty where there is none."""
        stem, dot, suffix = self.name.rpartition(".")
        return dot + suffix if stem else ""

    @property
    def parent(self) -> Address:
        """What it lies in."""
        return Address(self.scheme, self.container, self.key.rpartition("/")[0])

    @property
    def parents(self) -> list[Address]:
        """Everything that it lies in, the nearest first."""
        found, here = [], self
        while here.key:
            here = here.parent
            found.append(here)
        return found

    def relative_to(self, prefix: Address) -> str:
        """The key below a prefix.

        Raises:
            ValueError: it does not lie there.
        """
        if self == prefix:
            return ""
        below = f"{prefix.key}/" if prefix.key else ""
        if self.root != prefix.root or not self.key.startswith(below):
            raise ValueError(f"{self} does not lie below {prefix}")
        return self.key[len(below) :]


Place = Path | Address
"""Of an input or an output."""


def is_address(place: str | Path | Address) -> bool:
    """Whether a place, as the user writes it, lies in an object store."""
    found = None if isinstance(place, Address) else _ADDRESS.match(os.fspath(place))
    scheme = "" if found is None else found[1].lower()
    return isinstance(place, Address) or OTHER_SPELLINGS.get(scheme, scheme) in SCHEMES


def absolute_place(written: str | Path | Address) -> str:
    """A place's name from wherever this process works; links in a path are kept, as a mount's name is what stays.

    Raises:
        UsageError: as for `parse_place`.
    """
    place = parse_place(written)
    return str(place) if isinstance(place, Address) else os.path.abspath(place)  # noqa: PTH100


def parse_place(written: str | Path | Address) -> Place:
    """The path or address that somebody means; a Path that was made of an address has lost a slash, which comes back.

    Raises:
        UsageError: an address without a container, or of a scheme that is unknown.
    """
    if isinstance(written, Address):
        return written
    text = os.fspath(written)
    found = _ADDRESS.match(text)
    scheme = "" if found is None else OTHER_SPELLINGS.get(found[1].lower(), found[1].lower())
    if text.lower().startswith(f"{FILE}:/"):
        return Path("/" + unquote(text[len(FILE) + 1 :]).lstrip("/"))
    if found is None or (scheme not in SCHEMES and not (isinstance(written, str) and "://" in text)):
        return Path(written)
    if scheme not in SCHEMES:
        raise UsageError(
            f"{text} is of the scheme {found[1]}; wanted a path, or one of file, {', '.join(SCHEMES)}.",
            remedy="Give an address of one of these, or a folder on this machine.",
        )
    container, _, key = found[2].removeprefix("/").partition("/")
    if not container:
        raise UsageError(
            f"{text} names no bucket or container; wanted {scheme}://BUCKET/PREFIX.", remedy="Write the whole address."
        )
    return Address(scheme, container, key.strip("/"))

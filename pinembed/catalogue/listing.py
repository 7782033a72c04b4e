"""What lies below a folder or a prefix in an object store, asked for in one way."""

from __future__ import annotations

import functools
import posixpath
import re
import tempfile
from array import array
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Protocol

from pinembed.catalogue.beside import Beside
from pinembed.catalogue.candidates import TextColumn
from pinembed.catalogue.files import ListedFiles, ScannedFile, find_file, listed_names, require_folder
from pinembed.catalogue.frozen import came_later, files_of
from pinembed.catalogue.metadata import METADATA_NAMES
from pinembed.catalogue.names import PACKED, has_image_suffix, shown
from pinembed.catalogue.shards import PARQUET, TAR, Shard
from pinembed.errors import DataError, PinembedError
from pinembed.nouns.failure import Failure
from pinembed.stores.address import Address, Place, is_address
from pinembed.stores.objects import StoredObject, list_objects, look_at, read_object

LOOKED_AT_ONCE = 32
_NAMES_AT_ONCE = 1 << 14


class Listing(Protocol):
    """Of one folder.

    Attributes:
        root: the folder or prefix.
    """

    @property
    def root(self) -> Place: ...

    def files(self, beside: Beside) -> Iterator[ScannedFile]:
        """What may be an image, by its name; `beside` hears of the rest."""

    def find(self, name: str) -> ScannedFile | None:
        """The file that a metadata row names, whatever its suffix is."""

    def came_later(self, name: str) -> bool:
        """Whether it has come since the files were frozen."""

    def holds(self, name: str) -> bool:
        """Whether there is a file of this name."""

    @contextmanager
    def with_files(self, names: Sequence[str]) -> Iterator[Path]:
        """A folder on this machine that holds at least these files."""


class FolderListing:
    """Of a folder on this machine."""

    def __init__(self, root: Path) -> None:
        require_folder(root)
        self.root = root

    def files(self, beside: Beside) -> Iterator[ScannedFile]:
        return files_of(self.root, beside)

    def find(self, name: str) -> ScannedFile | None:
        found = None if name.startswith("/") else find_file(self.root, name)
        return found if isinstance(found, ScannedFile) else None

    def came_later(self, name: str) -> bool:
        return came_later(self.root, name)

    def holds(self, name: str) -> bool:
        return (self.root / name).is_file()

    @contextmanager
    def with_files(self, names: Sequence[str]) -> Iterator[Path]:
        yield self.root


class StoreListing:
    """Of a prefix in an object store, in columns: there may be millions of objects. Hidden ones are left out.

    Args:
        root: the prefix.

    Raises:
        StoreError: it cannot be listed to its end.
        DataError: nothing lies there.
    """

    def __init__(self, root: Address) -> None:
        self.root = root
        names = TextColumn()
        self._sizes, self._stamps = array("q"), array("q")
        self._kept: dict[str, StoredObject] = {}
        is_empty = True
        for found in list_objects(root):
            is_empty = False
            name = found.address.relative_to(root)
            if any(part.startswith(".") for part in name.split("/")):
                continue
            names.append(name)
            self._sizes.append(found.size_bytes)
            self._stamps.append(found.stamp)
            if name.lower().endswith((TAR, PARQUET)):
                self._kept[name] = found
        self._names = names.to_arrow()
        if is_empty:
            raise DataError(f"{root} holds no object; wanted a prefix with images.", remedy="Check the address.")

    @cached_property
    def _index(self) -> dict[str, int]:
        return {name: index for index, name in enumerate(self._each_name())}

    def _each_name(self) -> Iterator[str]:
        for start in range(0, len(self._names), _NAMES_AT_ONCE):
            yield from self._names.slice(start, _NAMES_AT_ONCE).to_pylist()

    def _scanned(self, index: int, name: str) -> ScannedFile:
        return ScannedFile(
            root=str(self.root), file_name=name, size_bytes=self._sizes[index], mtime_ns=self._stamps[index]
        )

    def files(self, beside: Beside) -> Iterator[ScannedFile]:
        others: defaultdict[str, list[str]] = defaultdict(list)
        for index, name in enumerate(self._each_name()):
            folder, _, base = name.rpartition("/")
            if has_image_suffix(base) or "." not in base:
                yield self._scanned(index, name)
            else:
                others[folder].append(base)
        for folder, names in others.items():
            prefix = f"{folder}/" if folder else ""
            beside.take(prefix, names, functools.partial(self._images_in, prefix))

    def _images_in(self, prefix: str) -> list[str]:
        below = (name[len(prefix) :] for name in self._each_name() if name.startswith(prefix))
        return [name for name in below if "/" not in name and has_image_suffix(name)]

    def find(self, name: str) -> ScannedFile | None:
        index = self._index.get(name)
        return None if index is None else self._scanned(index, name)

    @staticmethod  # so that whoever keeps it does not keep the listing
    def came_later(name: str) -> bool:
        return False

    def holds(self, name: str) -> bool:
        return name in self._index

    @contextmanager
    def with_files(self, names: Sequence[str]) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="pinembed-") as brought:
            for name in names:
                path = Path(brought, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(read_object(self.root / name)[0])
            try:
                yield Path(brought)
            except PinembedError as error:  # told of the files as the user knows them
                error.message = error.message.replace(brought, str(self.root))
                error.args = (error.message,)
                raise

    @property
    def holds_pictures(self) -> bool:
        """Whether it is a prefix of image files; what has no suffix may as well be a note beside tars."""
        return any(map(has_image_suffix, self._each_name()))

    def shards(self) -> dict[str, list[Shard]]:
        """The tar and Parquet files by kind, sorted; metadata files are none of them."""
        found: dict[str, list[Shard]] = {}
        for name in sorted(self._kept):
            if name.rpartition("/")[2] not in METADATA_NAMES:
                shard = Shard(path=self.root / name, file_name=name, found=self._kept[name])
                found.setdefault(shard.path.suffix.lower(), []).append(shard)
        return found

    def packed(self) -> list[str]:
        """Names of packed archives, whose members cannot be read where they lie; sorted."""
        return sorted(name for name in self._each_name() if name.lower().endswith(PACKED))


def listed_objects(listing: StoreListing, names: Path, *, separator: bytes = b"\n") -> ListedFiles:
    """As `listed_files`; names are relative to the prefix, or whole addresses.

    Raises:
        DataError: the list cannot be read, or is separated by something else.
    """
    files: dict[str, ScannedFile] = {}
    failures: dict[str, Failure] = {}
    repeated = 0
    for written in listed_names(names, separator):
        name = posixpath.normpath(written.removeprefix(f"{listing.root}/"))
        if name in files or name in failures:
            repeated += 1
        elif (found := listing.find(name)) is not None:
            files[name] = found
        elif is_address(written) or name.startswith(("/", "..")):
            message = f"{written} lies outside of {listing.root}, or is not there."
            failures[name] = Failure(file_name=written, reason="outside", message=message)
        else:
            message = f"{name} is in the list, but not in the store."
            failures[name] = Failure(file_name=name, reason="missing_file", message=message)
    return ListedFiles(files=files, failures=tuple(failures.values()), repeated=repeated)


# WebDataset's lists of shards, `train-{000..099}.tar` for a hundred names: the numbers and lists of
# https://github.com/webdataset/braceexpand; not its steps and letters
_BRACES = re.compile(r"\{([^{}]*)\}")
_NUMBERS = re.compile(r"(\d+)\.\.(\d+)")


def has_braces(text: str) -> bool:
    """Whether it stands for several names."""
    return any(_meanings(found[1]) is not None for found in _BRACES.finditer(text))


def expand_braces(text: str) -> Iterator[str]:
    """Each name that it stands for, in order; itself where it has no braces."""
    for found in _BRACES.finditer(text):
        meanings = _meanings(found[1])
        if meanings is not None:
            for meaning in meanings:
                yield from expand_braces(text[: found.start()] + meaning + text[found.end() :])
            return
    yield text


def _meanings(inside: str) -> list[str] | None:
    """`000..099` or `a,b`; None for anything else."""
    numbers = _NUMBERS.fullmatch(inside)
    if numbers is None:
        return inside.split(",") if "," in inside else None
    first, last = numbers.groups()
    width = max(len(first), len(last)) if first.startswith("0") or last.startswith("0") else 0
    step = 1 if int(first) <= int(last) else -1
    return [str(number).zfill(width) for number in range(int(first), int(last) + step, step)]


def shards_in_braces(place: Address) -> tuple[Address, list[Shard]]:
    """The tar or Parquet files that an address with braces names, and the longest prefix in which all of them lie.

    Raises:
        DataError: some are not there.
        StoreError: the store cannot be asked.
    """
    addresses = [Address(place.scheme, place.container, key) for key in expand_braces(place.key)]
    root = next(parent for parent in addresses[0].parents if all(parent in one.parents for one in addresses))
    with ThreadPoolExecutor(max_workers=LOOKED_AT_ONCE) as threads:
        found = list(threads.map(look_at, addresses))
    if missing := [str(address) for address, one in zip(addresses, found, strict=True) if one is None]:
        raise DataError(
            f"{place} names {len(missing)} object(s) that are not there: {shown(missing)}.",
            remedy="Correct the numbers in braces, or bring the objects back.",
        )
    pairs = zip(addresses, found, strict=True)
    return root, [Shard(path=address, file_name=address.relative_to(root), found=one) for address, one in pairs]

"""Objects of a store one by one: looked at, read, written always, if absent or if unchanged, listed, removed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pinembed.errors import MissingObjectError
from pinembed.stores.address import Address
from pinembed.stores.answers import telling
from pinembed.stores.opening import open_store

LISTERS = 16
ENOUGH_PREFIXES = 8
LOOKED_THROUGH = 50
DEEPEST = 4


class Mark(NamedTuple):
    """What tells one writing of an object from all others, for who wants to replace that one alone.

    Attributes:
        e_tag: by which S3 and Azure know it.
        version: the generation by which GCS does; empty where the store has none.
    """

    e_tag: str
    version: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredObject:
    """What a store tells of an object without its bytes.

    Attributes:
        address: of it.
        size_bytes: of it.
        mark: of this writing.
    """

    address: Address
    size_bytes: int
    mark: Mark

    @property
    def e_tag(self) -> str:
        """Another one where the bytes are others; as the store writes it, empty where it has none."""
        return self.mark.e_tag

    @property
    def stamp(self) -> int:
        """The ETag as a number below 0, of 63 bits, for the place where a file's time of change stands.

        Files keep nanoseconds since 1970 there. What a store says of an object's time changes with each copy, and is no
        mark of its content.
        """
        return -1 - (int.from_bytes(hashlib.sha256(self.e_tag.encode()).digest()[:8], "big") >> 1)


def look_at(address: Address) -> StoredObject | None:
    """What lies at an address; None where no object does.

    Raises:
        StoreError: the store cannot be asked.
    """
    store = open_store(address)
    try:
        with telling(address):
            return _stored(address, store.head(address.key))
    except MissingObjectError:
        return None


def modified_s(address: Address) -> float:
    """When an object was written, seconds since 1970 by the clock of its store.

    Raises:
        MissingObjectError: it is not there.
        StoreError: the store cannot be asked.
    """
    store = open_store(address)
    with telling(address):
        return float(store.head(address.key)["last_modified"].timestamp())


def is_prefix(address: Address) -> bool:
    """Whether any object lies below an address; marks of empty folders, as consoles make them, are none.

    Raises:
        StoreError: the store cannot be asked.
    """
    store = open_store(address)
    with telling(address):
        listed = store.list(address.key or None, chunk_size=LOOKED_THROUGH)
        return any(not _stands_for_a_folder(meta) for chunk in listed for meta in chunk)


def read_object(address: Address) -> tuple[bytes, StoredObject]:
    """The bytes of an object, and what they are.

    Raises:
        MissingObjectError: it is not there.
        StoreError: it cannot be read.
    """
    store = open_store(address)
    with telling(address):
        found = store.get(address.key)
        return bytes(found.bytes()), _stored(address, found.meta)


def read_range(address: Address, offset: int, size_bytes: int, *, e_tag: str = "") -> bytes:
    """Some bytes of an object, fewer where it ends before.

    Args:
        address: of the object.
        offset: of the first.
        size_bytes: how many, at least one.
        e_tag: that the object has to have; empty for any.

    Raises:
        MissingObjectError: it is not there.
        ObjectChangedError: it has another ETag.
        StoreError: it cannot be read.
    """
    from obstore.exceptions import GenericError

    options: dict[str, Any] = {"range": (offset, offset + size_bytes)}
    if e_tag:
        options["if_match"] = e_tag
    store = open_store(address)
    with telling(address):
        try:
            return bytes(store.get(address.key, options=options).bytes())
        except GenericError as error:
            if "416" not in str(error):
                raise
            return b""  # it ends before the first of them


def put_object(address: Address, content: bytes | Path) -> Mark:
    """Write an object, in the place of one that is there; whole or not at all.

    Args:
        address: of it.
        content: bytes, or the file that has them.

    Raises:
        StoreError: it cannot be written.
    """
    store = open_store(address)
    with telling(address):
        return _mark(store.put(address.key, content))


def create_object(address: Address, content: bytes) -> Mark | None:
    """Write an object where none is.

    Returns:
        its mark; None where one is there, which is left alone.

    Raises:
        StoreError: it cannot be written, or the store has no conditional PUT.
    """
    from obstore.exceptions import AlreadyExistsError

    return _put_if(address, content, "create", AlreadyExistsError)


def replace_object(address: Address, content: bytes, mark: Mark) -> Mark | None:
    """Write an object in the place of the one that has this mark.

    Returns:
        its new mark, another one as long as the bytes are others; None where it is gone or has another mark by now.

    Raises:
        StoreError: it cannot be written, or the store has no conditional PUT.
    """
    from obstore.exceptions import PreconditionError

    known = {name: value for name, value in mark._asdict().items() if value}
    return _put_if(address, content, known, PreconditionError)


def _put_if(address: Address, content: bytes, mode: Any, refusal: type[Exception]) -> Mark | None:
    store = open_store(address)
    try:
        with telling(address):
            try:
                return _mark(store.put(address.key, content, mode=mode))
            except refusal:
                return None
    except MissingObjectError:  # where one was to be replaced
        return None


def _mark(told: Mapping[str, Any]) -> Mark:
    return Mark(told["e_tag"] or "", told["version"] or "")


def remove_object(address: Address) -> None:
    """Take an object away; where none is, nothing happens.

    Raises:
        StoreError: it cannot be removed.
    """
    store = open_store(address)
    try:
        with telling(address):
            store.delete(address.key)
    except MissingObjectError:
        return


def list_objects(prefix: Address) -> Iterator[StoredObject]:
    """Every object below a prefix, in no particular order, as the pages of the listing come; without those for folders.

    A store lists a thousand names an answer, one answer after the other; the prefixes inside are listed side by side.

    Raises:
        StoreError: it cannot be listed to its end; half a listing would look as if objects were gone.
    """
    store = open_store(prefix)
    with telling(prefix):
        found, inside = _level(store, prefix.key)
        depth = 1
        while inside and len(inside) < ENOUGH_PREFIXES and depth < DEEPEST:
            levels = [_level(store, key) for key in inside]
            found += [meta for objects, _ in levels for meta in objects]
            inside = [key for _, keys in levels for key in keys]
            depth += 1
        yield from _listed(prefix, found)
        if not inside:
            return
        with ThreadPoolExecutor(max_workers=min(LISTERS, len(inside))) as threads:
            for objects in threads.map(lambda key: _below(store, key), inside):
                yield from _listed(prefix, objects)


def _level(store: Any, key: str) -> tuple[list[Mapping[str, Any]], list[str]]:
    """The objects that lie right below a prefix, and the prefixes that do."""
    level = store.list_with_delimiter(key or None)
    return list(level["objects"]), list(level["common_prefixes"])


def _below(store: Any, key: str) -> list[Mapping[str, Any]]:
    return [meta for chunk in store.list(key, chunk_size=1000) for meta in chunk]


def _listed(prefix: Address, metas: list[Mapping[str, Any]]) -> Iterator[StoredObject]:
    for meta in metas:
        address = Address(prefix.scheme, prefix.container, meta["path"])
        if address != prefix and not _stands_for_a_folder(meta):
            yield _stored(address, meta)


def _stands_for_a_folder(meta: Mapping[str, Any]) -> bool:
    """Whether an object is what consoles and some stores put where people see a folder: a name without any bytes."""
    return not meta["size"] and "." not in meta["path"].rpartition("/")[2]


def _stored(address: Address, meta: Mapping[str, Any]) -> StoredObject:
    return StoredObject(address=address, size_bytes=meta["size"], mark=_mark(meta))

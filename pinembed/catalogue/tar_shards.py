"""WebDataset tars: `KEY.jpg` is an item's picture, and `KEY.json` and `KEY.txt` beside it are its metadata.

Only headers and metadata are read here; the pictures stay where they lie.
Convention: https://github.com/webdataset/webdataset#the-webdataset-format
"""

from __future__ import annotations

import json
import tarfile
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from pinembed.catalogue.beside import Kind, pictures_not_read
from pinembed.catalogue.json_rows import JsonColumns, float_or_text
from pinembed.catalogue.names import IMAGE_SUFFIXES, is_other_picture, shown
from pinembed.catalogue.packed import PackedFile
from pinembed.catalogue.shards import FoundImages, Shard, ShardScan
from pinembed.errors import MissingObjectError, ObjectChangedError
from pinembed.images.shard_file import opened_tar
from pinembed.nouns.failure import Failure
from pinembed.nouns.item import tar_name

MAX_SIDECAR_BYTES = 1 << 20
TEXT_COLUMN = "text"
BLOCK_BYTES = 512
AT_ONCE = 4  # tars of a store, each with up to 64 MB of its blocks in memory


class _Picture(NamedTuple):
    """What is kept of a picture's header: tarfile's own takes 2 KB, and a tar may hold a million."""

    key: str
    name: str
    offset: int
    size_bytes: int
    is_regular: bool


@dataclass(kw_only=True, slots=True)
class _Members:
    """What one tar holds, by key.

    Attributes:
        mtime_ns: last change of the tar, or the stamp of the object.
        e_tag: of the object in a store.
        pictures: in the order of the tar; equal keys with other suffixes are apart.
        fields: metadata by key.
        unusable: what is wrong with the metadata of a key.
        used: keys of the metadata that belong to a picture.
        other_pictures: of formats that are not read.
        others: what is neither picture nor metadata, by suffix.
        said_twice: metadata that say something else of what metadata before them said.
        trouble: why the tar could not be read to its end: a reason, and words.
    """

    mtime_ns: int = 0
    e_tag: str = ""
    pictures: list[_Picture] = field(default_factory=list)
    fields: dict[str, dict[str, Any]] = field(default_factory=dict)
    unusable: dict[str, str] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    other_pictures: Kind = field(default_factory=Kind)
    others: Counter[str] = field(default_factory=Counter)
    said_twice: Kind = field(default_factory=Kind)
    trouble: tuple[str, str] | None = None

    def take(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        """Sort a member."""
        key, suffix = _key_and_suffix(member)
        if suffix in IMAGE_SUFFIXES:
            is_regular = member.isreg() and not member.issparse()
            name = tar_name(member.name)
            self.pictures.append(_Picture(key, name, member.offset_data, member.size, is_regular))
        elif suffix in {"json", "txt"} and member.isreg():
            try:
                self._describe(key, _sidecar(tar, member, suffix), member)
            except ValueError as error:
                self.unusable[key] = f"{tar_name(member.name)} {error}"
        elif is_other_picture(member.name):
            self.other_pictures.take("", [tar_name(member.name)])
        elif member.isreg() and not _is_hidden(member):
            self.others[f".{suffix}" if suffix else "without a suffix"] += 1

    def _describe(self, key: str, fields: dict[str, Any], member: tarfile.TarInfo) -> None:
        known = self.fields.setdefault(key, {})
        if any(known.get(name, value) != value for name, value in fields.items()):
            self.said_twice.take("", [tar_name(member.name)])
        known.update(fields)


def scan_tars(shards: Sequence[Shard], *, most: int | None = None) -> ShardScan:
    """The items of tars; an `id` in an item's JSON is its id, else the name without its suffix is.

    An item has the metadata of that name, and of its key, which ends at the name's first dot.

    A tar that is cut or damaged gives the items before that place, and a failure.

    Args:
        shards: the tars.
        most: no further tar is scanned once there are so many items.
    """
    scan, found, columns = ShardScan(), FoundImages(), JsonColumns()
    for shard, members in zip(shards, _read(shards), strict=True):
        scan.shards += 1
        if members.trouble is not None:
            scan.give_up(shard, *members.trouble)
        found.add_file(
            PackedFile(path=shard.path, file_name=shard.file_name, mtime_ns=members.mtime_ns, e_tag=members.e_tag)
        )
        for picture in members.pictures:
            fields = _fields(shard, picture, members)
            if isinstance(fields, Failure):
                scan.failures.append(fields)
                continue
            given_id = fields.pop("id", None)
            if found.add(
                item_id=picture.key if given_id in (None, "") else str(given_id),
                file_name=f"{shard.file_name}/{picture.name}",
                place=picture.offset,
                size_bytes=picture.size_bytes,
            ):
                columns.append(fields)
        scan.notes += [f"{shard.path}: {sentence}" for sentence in _left_out(members)]
        if most is not None and len(found) >= most:
            break
    scan.candidates = found.candidates(columns.to_arrow())
    scan.unnamed = found.unnamed
    return scan


def _left_out(members: _Members) -> Iterator[str]:
    """Sentences about what a tar holds beside its items."""
    if stray := sorted((members.fields.keys() | members.unusable.keys()) - members.used):
        yield (
            f"the metadata of {shown(stray)} belong to no picture; "
            "wanted the picture's name, or that up to its first dot."
        )
    if members.other_pictures.count:
        yield pictures_not_read(members.other_pictures)
    if members.said_twice.count:
        yield (
            f"{members.said_twice.count} file(s) of metadata, such as {members.said_twice.first}, say something else "
            "of a name than those before them; theirs counts."
        )
    if members.others:
        counts = [f"{count} {suffix}" for suffix, count in sorted(members.others.items())]
        yield f"not read are {shown(counts)}; wanted metadata as .json and .txt."


def _fields(shard: Shard, picture: _Picture, members: _Members) -> dict[str, Any] | Failure:
    """The metadata of a picture, with the id that they give it; or why it cannot be an item."""
    file_name, mtime_ns = f"{shard.file_name}/{picture.name}", members.mtime_ns
    if not picture.is_regular:
        message = f"{file_name} is a link or another special member of its tar; wanted a regular file."
        return Failure(file_name=file_name, reason="not_a_file", message=message, mtime_ns=mtime_ns)
    keys = [
        known
        for known in (_first_part(picture.key), picture.key)
        if known in members.unusable or known in members.fields
    ]
    members.used.update(keys)
    if unusable := [members.unusable[known] for known in keys if known in members.unusable]:
        return Failure(
            file_name=file_name,
            reason="broken_metadata",
            message=f"{file_name} has metadata that cannot be used: {unusable[0]}.",
            size_bytes=picture.size_bytes,
            mtime_ns=mtime_ns,
        )
    fields: dict[str, Any] = {}
    for known in keys:  # an id is of the picture of the very same name; other pictures of the key would share it
        of_key = members.fields[known].items()
        fields |= {name: value for name, value in of_key if known == picture.key or name != "id"}
    return fields


def _read(shards: Sequence[Shard]) -> Iterator[_Members]:
    """What each tar holds; several are on their way from a store at the same time, as one stream is slower than it.

    No more than these: a part that is full wants none of the tars behind it.
    """
    if all(isinstance(shard.path, Path) for shard in shards):
        yield from map(_members, shards)
        return
    with ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="pinembed-headers") as threads:
        ahead: deque[Future[_Members]] = deque()
        for shard in shards:
            ahead.append(threads.submit(_members, shard))
            if len(ahead) > AT_ONCE:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _members(shard: Shard) -> _Members:
    """What one tar holds, as far as it can be read."""
    found = _Members()
    try:
        with opened_tar(shard.path, shard.found) as (tar, found.mtime_ns, found.e_tag):
            for member in _headers(tar):
                found.take(tar, member)
    except tarfile.TarError as error:
        found.trouble = "broken_shard", f"is cut or damaged ({error}); the images before that place are used"
    except OSError as error:
        return _Members(trouble=("unreadable", f"cannot be read: {error.strerror or error}"))
    except (MissingObjectError, ObjectChangedError) as error:
        return _Members(trouble=("unreadable", f"cannot be read: {error.message.removesuffix('.')}"))
    return found


def _headers(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Every header up to the end mark.

    Raises:
        tarfile.TarError: the tar ends before its end mark; tarfile itself takes that for its end.
    """
    while (member := tar.next()) is not None:
        tar.members = []  # type: ignore[attr-defined]  # it would keep every header that it has seen
        yield member
    assert tar.fileobj is not None
    tar.fileobj.seek(tar.offset)
    block = tar.fileobj.read(BLOCK_BYTES)
    if len(block) < BLOCK_BYTES or any(block):
        raise tarfile.ReadError(f"no end mark at byte {tar.offset}")


def _first_part(key: str) -> str:
    """A name up to the first dot of its last part, where WebDataset's keys end: `a/s` for `a/s.left`."""
    folder, slash, base = key.rpartition("/")
    return folder + slash + base.partition(".")[0]


def _key_and_suffix(member: tarfile.TarInfo) -> tuple[str, str]:
    """Name without its last suffix, and that suffix; no suffix for what is hidden or a folder."""
    name = tar_name(member.name)
    stem, _, suffix = name.rpartition(".")
    if not stem or stem.endswith("/") or _is_hidden(member) or "/" in suffix or member.isdir():
        return name, ""
    return stem, suffix.lower()


def _is_hidden(member: tarfile.TarInfo) -> bool:
    return tar_name(member.name).rpartition("/")[2].startswith(".")


def _sidecar(tar: tarfile.TarFile, member: tarfile.TarInfo, suffix: str) -> dict[str, Any]:
    """Metadata of one item.

    Raises:
        ValueError: too large, not UTF-8, no JSON object, or an id that is neither text nor number.
    """
    if member.size > MAX_SIDECAR_BYTES:
        raise ValueError(f"has {member.size} bytes; at most {MAX_SIDECAR_BYTES} are read")
    file = tar.extractfile(member)
    assert file is not None
    try:
        text = file.read().decode("utf-8-sig")
        if suffix == "txt":
            return {TEXT_COLUMN: text.strip()}
        fields = json.loads(text, parse_float=float_or_text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is no {'UTF-8' if isinstance(error, UnicodeError) else 'JSON'}: {error}") from error
    if not isinstance(fields, dict):
        raise ValueError(f"holds {type(fields).__name__}; wanted a JSON object")
    if isinstance(fields.get("id"), list | dict):
        raise ValueError("has a list or an object for an id; wanted text or a number")
    return fields

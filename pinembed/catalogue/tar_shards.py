"""WebDataset tars: `KEY.jpg` is an item's picture, and `KEY.json` and `KEY.txt` beside it are its metadata.

Only headers and metadata are read here; the pictures stay where they lie.
Convention: https://github.com/webdataset/webdataset#the-webdataset-format
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from pinembed.catalogue.columns import as_columns
from pinembed.catalogue.files import IMAGE_SUFFIXES
from pinembed.catalogue.shards import Shard, ShardScan
from pinembed.nouns.candidate import Candidate, Fault, FileRange, tar_name

MAX_SIDECAR_BYTES = 1 << 20
TEXT_COLUMN = "text"
BLOCK_BYTES = 512


@dataclass(kw_only=True, slots=True)
class _Members:
    """What one tar holds, by key.

    Attributes:
        pictures: their headers, in the order of the tar; equal keys with other suffixes are apart.
        fields: metadata by key.
        faults: what is wrong with the metadata of a key.
    """

    pictures: list[tuple[str, tarfile.TarInfo]] = field(default_factory=list)
    fields: dict[str, dict[str, Any]] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)


def scan_tars(shards: Sequence[Shard]) -> ShardScan:
    """The items of tars; an `id` in an item's JSON is its id, else the key is.

    A tar that is cut or damaged gives the items before that place, and a fault.
    """
    scan = ShardScan()
    for shard in shards:
        try:
            mtime_ns = shard.path.stat().st_mtime_ns
            members = _members(shard, scan)
        except OSError as error:
            scan.give_up(shard, "unreadable", f"cannot be read: {error.strerror or error}")
            continue
        for key, picture in members.pictures:
            found = _item(shard, key, picture, members, mtime_ns)
            if isinstance(found, Fault):
                scan.faults.append(found)
            else:
                scan.candidates.append(found)
    scan.schema = as_columns(candidate.fields for candidate in scan.candidates)
    return scan


def _item(shard: Shard, key: str, picture: tarfile.TarInfo, members: _Members, mtime_ns: int) -> Candidate | Fault:
    name = tar_name(picture.name)
    file_name, size_bytes = f"{shard.file_name}/{name}", picture.size
    if not picture.isreg() or picture.issparse():
        words = "is a link or another special member of its tar; wanted a regular file"
        return Fault(file_name=file_name, reason="not_a_file", words=words, mtime_ns=mtime_ns)
    if key in members.faults:
        words = f"has metadata that cannot be used: {members.faults[key]}"
        return Fault(
            file_name=file_name, reason="broken_metadata", words=words, size_bytes=size_bytes, mtime_ns=mtime_ns
        )
    fields = dict(members.fields.get(key, {}))
    given_id = fields.pop("id", None)
    return Candidate(
        id=key if given_id is None else str(given_id),
        file_name=file_name,
        image=FileRange(
            path=shard.path, name=name, offset=picture.offset_data, size_bytes=size_bytes, mtime_ns=mtime_ns
        ),
        size_bytes=size_bytes,
        mtime_ns=mtime_ns,
        fields=fields,
    )


def _members(shard: Shard, scan: ShardScan) -> _Members:
    found = _Members()
    try:
        with tarfile.open(shard.path, "r:") as tar:
            for member in _headers(tar):
                key, suffix = _key_and_suffix(member)
                if suffix in IMAGE_SUFFIXES:
                    found.pictures.append((key, member))
                elif suffix in {"json", "txt"} and member.isreg():
                    try:
                        found.fields.setdefault(key, {}).update(_sidecar(tar, member, suffix))
                    except ValueError as error:
                        found.faults[key] = f"{tar_name(member.name)} {error}"
    except tarfile.TarError as error:
        scan.give_up(shard, "broken_shard", f"is cut or damaged ({error}); the images before that place are used")
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


def _key_and_suffix(member: tarfile.TarInfo) -> tuple[str, str]:
    """Name without its last suffix, and that suffix; no suffix for what is hidden or a folder."""
    name = tar_name(member.name)
    stem, _, suffix = name.rpartition(".")
    if not stem or stem.endswith("/") or name.rpartition("/")[2].startswith(".") or "/" in suffix or member.isdir():
        return name, ""
    return stem, suffix.lower()


def _sidecar(tar: tarfile.TarFile, member: tarfile.TarInfo, suffix: str) -> dict[str, Any]:
    """Metadata of one item.

    Raises:
        ValueError: too large, not UTF-8, or no JSON object.
    """
    if member.size > MAX_SIDECAR_BYTES:
        raise ValueError(f"has {member.size} bytes; at most {MAX_SIDECAR_BYTES} are read")
    file = tar.extractfile(member)
    assert file is not None
    try:
        text = file.read().decode("utf-8-sig")
        if suffix == "txt":
            return {TEXT_COLUMN: text.strip()}
        fields = json.loads(text)
    except ValueError as error:
        raise ValueError(f"is no {'UTF-8' if isinstance(error, UnicodeError) else 'JSON'}: {error}") from error
    if not isinstance(fields, dict):
        raise ValueError(f"holds {type(fields).__name__}; wanted a JSON object")
    return fields

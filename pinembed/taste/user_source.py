"""UserSource: every user's interests as a read-only mapped folder, to serve from: opened once, a line read a lookup.

| file | |
| --- | --- |
| users.jsonl | a line a user: user, time of the last event, interests (item, weight, stage), latest liked items |
| lines.safetensors | offset: where each line begins, and where the last ends, uint64 (N + 1,) |
| ids.safetensors | the names and their rows, as in an embedding source |
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pinembed.errors import SourceError
from pinembed.outfolder import staged_folder
from pinembed.source.id_index import IdIndex, IndexFile, hash_ids, index_tensors
from pinembed.source.tensor_file import LENGTH_BYTES, Tensor, header_bytes, tensor_offsets
from pinembed.taste.columns import places_from_end
from pinembed.taste.user_table import UserTable, liked_of

LINES_FILE, OFFSETS_FILE, INDEX_FILE = "users.jsonl", "lines.safetensors", "ids.safetensors"
RECENT_ITEMS = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class ServedInterest:
    """An interest: its medoid, its share of the taste, its stage."""

    item: str
    weight: float
    stage: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ServedUser:
    """What a server needs of a user.

    Attributes:
        last_us: time of the last event, microseconds since 1970.
        interests: the strongest first.
        recent: the latest liked items, the latest first.
    """

    user: str
    last_us: int
    interests: tuple[ServedInterest, ...]
    recent: tuple[str, ...]


def write_user_source(out: Path, users: UserTable) -> int:
    """Write the folder, in the place of an older one; how many users it holds.

    Memory: 24 bytes and the name of each user.

    Raises:
        OutputExistsError: the folder holds files that pinembed did not write.
        OutputError: the disk is full, or the place cannot be written.
    """
    names: list[bytes] = []
    offsets = [0]
    with staged_folder(out, kind="user source", overwrite=True) as folder:
        with (folder / LINES_FILE).open("wb") as file:
            for batch in users.batches(["user", "last", "interests", "touched"]):
                for told in _told(batch):
                    line = json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
                    file.write(line)
                    names.append(told["user"].encode())
                    offsets.append(offsets[-1] + len(line))
        _write_tensors(folder / OFFSETS_FILE, _offset_tensor(len(names)), [np.array(offsets, np.uint64)])
        _write_index(folder / INDEX_FILE, names)
    return len(names)


def _told(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    """What is served of each user; members of interests and the older history stay in the table."""
    lists = batch.column("interests")
    interests = lists.flatten()
    columns = (interests.field(name).to_pylist() for name in ("item", "weight", "stage"))
    told = [
        {"item": item, "weight": round(weight, 6), "stage": stage} for item, weight, stage in zip(*columns, strict=True)
    ]
    start_U = np.r_[0, np.cumsum(np.diff(lists.offsets.to_numpy()))].tolist()
    items, owner_E = liked_of(batch)
    is_recent_E = places_from_end(owner_E) < RECENT_ITEMS
    recent = items.filter(pa.array(is_recent_E)).to_pylist()
    end_U = np.cumsum(np.bincount(owner_E[is_recent_E], minlength=len(batch))).tolist()
    last_us = batch.column("last").cast(pa.int64()).to_pylist()
    for number, user in enumerate(batch.column("user").to_pylist()):
        first = end_U[number - 1] if number else 0
        yield {
            "user": user,
            "last_us": last_us[number],
            "interests": told[start_U[number] : start_U[number + 1]],
            "recent": recent[first : end_U[number]][::-1],
        }


def _offset_tensor(count: int) -> dict[str, Tensor]:
    return {"offset": Tensor(dtype="U64", shape=(count + 1,))}


def _write_index(path: Path, names: Sequence[bytes]) -> None:
    hash_N = hash_ids(names)
    row_N = np.argsort(hash_N, kind="stable").astype(np.uint64)
    offset_N = np.r_[0, np.cumsum([len(name) for name in names])].astype(np.uint64)
    utf8 = np.frombuffer(b"".join(names), np.uint8)
    _write_tensors(path, index_tensors(len(names), len(utf8)), [hash_N[row_N], row_N, offset_N, utf8])


def _write_tensors(path: Path, tensors: dict[str, Tensor], values: Sequence[Any]) -> None:
    with path.open("wb") as file:
        file.write(header_bytes(tensors))
        for value in values:
            file.write(value.tobytes())


class UserSource:
    """Users by name, out of a folder that `taste update --serve` wrote.

    Args:
        folder: to open; the names stay on the disk until they are asked for.

    Raises:
        SourceError: no such folder, or a file that is missing, cut short or of another length.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        try:
            self._lines = (self.folder / LINES_FILE).open("rb", buffering=0)
            with (self.folder / OFFSETS_FILE).open("rb") as file:
                count = _users_of(file.fileno())
                start = tensor_offsets(file.fileno(), _offset_tensor(count), file=str(self.folder / OFFSETS_FILE))
            self._offset_N = np.memmap(
                self.folder / OFFSETS_FILE, "<u8", mode="r", offset=start["offset"], shape=(count + 1,)
            )
            with (self.folder / INDEX_FILE).open("rb") as file:
                self._ids = IdIndex([IndexFile(file.fileno(), count=count, file=str(self.folder / INDEX_FILE))])
        except OSError as error:
            raise SourceError(
                f"{folder} is no user source: {error.strerror or error}.",
                remedy="Make one with: pinembed taste update EVENTS --table TABLE --users USERS --serve DIR",
            ) from error

    def __len__(self) -> int:
        return len(self._ids)

    def get(self, user: str) -> ServedUser | None:
        """One user; None for a name that is not there.

        Raises:
            SourceError: the folder was damaged since it was opened.
        """
        row = int(self._ids.rows_of([user])[0])
        if row < 0:
            return None
        start, end = int(self._offset_N[row]), int(self._offset_N[row + 1])
        line = os.pread(self._lines.fileno(), end - start, start)
        try:
            told = json.loads(line)
            interests = tuple(ServedInterest(**found) for found in told["interests"])
            recent = tuple(told["recent"])
            return ServedUser(user=told["user"], last_us=told["last_us"], interests=interests, recent=recent)
        except (ValueError, KeyError, TypeError) as error:
            raise SourceError(
                f"{self.folder / LINES_FILE} is damaged: the line of row {row} is no user.",
                remedy="Run `pinembed taste update` with --serve again.",
            ) from error


def _users_of(descriptor: int) -> int:
    """By the length of the file of offsets and of its header."""
    header_length = int.from_bytes(os.pread(descriptor, LENGTH_BYTES, 0), "little")
    return max((os.fstat(descriptor).st_size - LENGTH_BYTES - header_length) // 8 - 1, 0)

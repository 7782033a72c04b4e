"""generation.json: what a sealed generation is, and which files it has."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pinembed.errors import GenerationError
from pinembed.stored import shown, typed_record_of

RECORD = "generation.json"
SANDBOX = "sandbox.json"  # its place is taken by this in what people may change
ENCODER, TABLE, SOURCE, MODEL, REPORT = "encoder", "table", "source", "model", "report"
PARTS = (ENCODER, TABLE, SOURCE, MODEL, REPORT)
TABLE_NAME = "items"
FORMAT, FORMAT_VERSION = "pinembed-generation", 1
HASHED_BYTES = 64 << 10  # smaller files are known by their content, larger ones by their size


def table_in(folder: Path) -> str:
    """DATABASE/NAME of the table of a generation or sandbox."""
    return str(folder / TABLE / TABLE_NAME)


@dataclass(frozen=True, kw_only=True)
class Generation:
    """One sealed generation.

    Attributes:
        number: from 1.
        created_at: ISO 8601 in UTC.
        version: of pinembed.
        parent: number of the one that it was begun from; None for a first one.
        fingerprint: of the encoder.
        rows: of the table.
        why: what it was made for; a sentence.
        counts: items that were added, updated, ... since its parent.
        options: digest of the options of each step, so that an edited CONFIG is seen.
        metrics: figures that its own run measured, by name.
        seconds: of the run.
        files: path in the folder to its size in bytes, and to its sha256 where it is small.
    """

    number: int
    created_at: str
    version: str
    parent: int | None
    fingerprint: str
    rows: int
    why: str
    counts: Mapping[str, int] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    files: Mapping[str, tuple[int, str]] = field(default_factory=dict)

    @property
    def size_bytes(self) -> int:
        """Of all files, whoever else has them by a hard link."""
        return sum(size for size, _ in self.files.values())

    def to_json(self) -> dict[str, Any]:
        """As generation.json holds it."""
        return {"format": FORMAT, "format_version": FORMAT_VERSION, **dataclasses.asdict(self)}


def read_record(folder: Path) -> Generation:
    """The record of a sealed generation.

    Raises:
        GenerationError: there is none, or somebody edited it into something else.
    """
    path = folder / RECORD
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(stored, dict):
            raise ValueError(f"it holds {shown(stored)}; wanted an object")
        kind, version = stored.pop("format", None), stored.pop("format_version", None)
        if kind != FORMAT or version != FORMAT_VERSION:
            raise ValueError(f"it is {kind!r} of version {version!r}; wanted {FORMAT!r} of version {FORMAT_VERSION}")
        record = typed_record_of(Generation, stored, "the record")
        return dataclasses.replace(record, files={name: _listed(name, told) for name, told in record.files.items()})
    except FileNotFoundError as error:
        raise GenerationError(
            f"{folder} is no sealed generation: it holds no {RECORD}.",
            remedy="See `pinembed generations HOME` for those that are.",
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise GenerationError(
            f"{path} cannot be used: {error}.",
            remedy="Take another generation: `pinembed generations HOME` lists them.",
        ) from error


def _listed(name: str, told: Any) -> tuple[int, str]:
    if not isinstance(told, list) or [type(value) for value in told] != [int, str]:
        raise ValueError(f"the file {name} is {shown(told)}; wanted its size and its sha256")
    size_bytes, sha256 = told
    return size_bytes, sha256


def listed(folder: Path) -> dict[str, tuple[int, str]]:
    """Every file below a folder but the record: its size, and the sha256 of a small one."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file() and path != folder / RECORD)
    return {path.relative_to(folder).as_posix(): _stamp(path) for path in paths}


def _stamp(path: Path) -> tuple[int, str]:
    size_bytes = path.stat().st_size
    return size_bytes, hashlib.sha256(path.read_bytes()).hexdigest() if size_bytes <= HASHED_BYTES else ""


def check_whole(folder: Path, record: Generation) -> None:
    """Refuse a generation that somebody edited after it was sealed.

    Raises:
        GenerationError: a file is missing, new, or another one; names it.
    """
    found = listed(folder)
    edited = sorted(name for name in {*found, *record.files} if found.get(name) != record.files.get(name))
    if edited:
        name = edited[0]
        is_new = name not in record.files
        what = "is missing" if name not in found else "is new" if is_new else "was changed"
        more = f", and {len(edited) - 1} more" if len(edited) > 1 else ""
        mended = "Take the file away" if is_new else "Put the file back from a copy"
        raise GenerationError(
            f"Generation {record.number} is not as it was sealed: {folder / name} {what}{more}.",
            remedy=f"{mended}, or go to another generation with: pinembed rollback HOME N",
        )

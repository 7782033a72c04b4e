"""The plan: what the table has, what the folder holds, and so what is left to do. Nothing is opened or written."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from sys import intern
from typing import Any, NamedTuple

import pyarrow as pa

from pinembed.errors import DataError
from pinembed.images.loading import LoadRequest
from pinembed.jobs.encode.inputs import Inputs
from pinembed.nouns.candidate import Candidate
from pinembed.table.embedding_table import EmbeddingTable
from pinembed.table.failures import Failure
from pinembed.table.schema import OWN_COLUMNS
from pinembed.table.writer import EmbeddingRow

OF_THE_MOMENT = {"missing_file", "unreadable", "changed_while_read", "needs_heif"}
PRUNE_LIMIT = 5  # --prune takes out at most one row in five without --force


class StoredFile(NamedTuple):
    """What the table knows about one item's file."""

    folder: str
    file_name: str
    sha256: str
    size_bytes: int
    mtime_ns: int
    place: int


STORED_COLUMNS = ("id", "folder", "file_name", "sha256", "size_bytes", "mtime_ns")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What one run has to do.

    Attributes:
        unchanged: number of items that are left alone.
        rewrite: rows of known content whose metadata or place changed; no file is opened for them.
        load: items whose file has to be read.
        stored: what the table knows, by item id.
        failures: new ones that the scan itself found.
        not_retried: items whose file failed before and is still the same.
        known_failures: of earlier runs, by item id.
        gone: ids of rows whose files are gone; empty without --prune.
    """

    unchanged: int
    rewrite: list[EmbeddingRow] = field(default_factory=list)
    load: list[Candidate] = field(default_factory=list)
    stored: Mapping[str, StoredFile] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    not_retried: list[Failure] = field(default_factory=list)
    known_failures: Mapping[str, Failure] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)

    @property
    def is_done(self) -> bool:
        """Nothing is to be read or written."""
        return not (self.rewrite or self.load or self.failures or self.gone)

    def requests(self) -> Iterator[LoadRequest]:
        """What the loading pool is asked for; `place` is the place in `load`.

        A stored content of the same size may be the file's own, or that of a file that was renamed or copied: such a
        file is hashed and not decoded. Where only reading tells the size, the item's own content is all that is tried.
        """
        for place, candidate in enumerate(self.load):
            known = set(self._lasting.get(candidate.size_bytes, ()))
            own = self.stored.get(candidate.id)
            if own is not None:
                known.add(own.sha256)
            yield LoadRequest(place=place, image=candidate.image, known_sha256=tuple(known))

    def has_vector_of(self, sha256: str, size_bytes: int) -> bool:
        """Whether the table holds this content, in a row that stays as it is."""
        return sha256 in self._lasting.get(size_bytes, ())

    @cached_property
    def _lasting(self) -> Mapping[int | None, set[str]]:
        """Stored contents by size, without those of rows that are read again: their vector may be replaced."""
        reread = {candidate.id for candidate in self.load}
        by_size: dict[int | None, set[str]] = defaultdict(set)
        for item_id, stored in self.stored.items():
            if item_id not in reread:
                by_size[stored.size_bytes].add(stored.sha256)
        return dict(by_size)


def make_plan(
    inputs: Inputs,
    table: EmbeddingTable | None,
    known_failures: Mapping[str, Failure],
    *,
    retry_failed: bool,
    prune: bool,
    force: bool,
) -> Plan:
    """Compare the folder with the table.

    Args:
        inputs: the folder.
        table: None where there is none yet.
        known_failures: of earlier runs, by item id.
        retry_failed: read images that failed before again although their file is the same.
        prune: plan to remove the rows whose files are gone.
        force: allow more than a fifth of the rows to be removed.

    Raises:
        DataError: --prune would remove more than a fifth of the rows.
    """
    stored = _stored_files(table)
    same: list[Candidate] = []
    moved: list[Candidate] = []
    load: list[Candidate] = []
    not_retried: list[Failure] = []
    for candidate in inputs.candidates:
        known = stored.get(candidate.id)
        failed = known_failures.get(candidate.id)
        if known is not None and _is_same_file(known, candidate):
            (same if known.folder == inputs.folder else moved).append(candidate)
        elif failed is not None and not retry_failed and _failed_like_this(failed, candidate):
            not_retried.append(failed)
        else:
            load.append(candidate)
    changed = _with_changed_fields(same, stored, table)
    new_failures = [failure for failure in inputs.failures if not _is_known(failure, known_failures)]
    return Plan(
        unchanged=len(same) - len(changed),
        rewrite=[_row(candidate, stored[candidate.id], inputs.folder) for candidate in (*changed, *moved)],
        load=load,
        stored=stored,
        failures=new_failures,
        not_retried=not_retried + [failure for failure in inputs.failures if _is_known(failure, known_failures)],
        known_failures=known_failures,
        gone=_gone(inputs, stored, force=force) if prune else [],
    )


def _stored_files(table: EmbeddingTable | None) -> dict[str, StoredFile]:
    if table is None:
        return {}
    stored: dict[str, StoredFile] = {}
    for batch in table.batches(STORED_COLUMNS):
        columns = [batch.column(name).to_pylist() for name in STORED_COLUMNS]
        for item_id, folder, file_name, sha256, size_bytes, mtime_ns in zip(*columns, strict=True):
            name = item_id if file_name == item_id else file_name  # one text for both, as there are many
            stored[item_id] = StoredFile(intern(folder), name, sha256, size_bytes, mtime_ns, len(stored))
    return stored


def _is_same_file(known: StoredFile, candidate: Candidate) -> bool:
    return _is_same(known.file_name, known.size_bytes, known.mtime_ns, candidate)


def _failed_like_this(failed: Failure, candidate: Candidate) -> bool:
    """Whether the file itself is to blame and is still the same; a lost disk or a missing extra may be back."""
    is_lasting = failed.reason not in OF_THE_MOMENT
    return is_lasting and _is_same(failed.file_name, failed.size_bytes, failed.mtime_ns, candidate)


def _is_same(file_name: str, size_bytes: int, mtime_ns: int, candidate: Candidate) -> bool:
    is_same_size = candidate.size_bytes is None or candidate.size_bytes == size_bytes
    return is_same_size and (file_name, mtime_ns) == (candidate.file_name, candidate.mtime_ns)


def _is_known(failure: Failure, known_failures: Mapping[str, Failure]) -> bool:
    known = known_failures.get(failure.id)
    return known is not None and known == failure


def _with_changed_fields(
    candidates: Sequence[Candidate], stored: Mapping[str, StoredFile], table: EmbeddingTable | None
) -> list[Candidate]:
    """Items whose metadata differs from what the table holds."""
    if table is None or not candidates:
        return []
    columns = [name for name in table.schema.names if name not in OWN_COLUMNS]
    lacking = {name for candidate in candidates[:1] for name in candidate.fields} - set(columns)
    if not columns:
        return [candidate for candidate in candidates if _has_value(candidate, lacking)]
    rows = pa.Table.from_batches(list(table.batches(columns, batch_rows=65536)))
    places = pa.array([stored[candidate.id].place for candidate in candidates])
    changed = {place for place, candidate in enumerate(candidates) if _has_value(candidate, lacking)}
    for name in columns:
        here = [candidate.fields.get(name) for candidate in candidates]
        changed |= _differing_places(rows[name].take(places).to_pylist(), here)
    return [candidates[place] for place in sorted(changed)]


def _has_value(candidate: Candidate, names: set[str]) -> bool:
    return any(candidate.fields.get(name) is not None for name in names)


def _differing_places(there: Sequence[Any], here: Sequence[Any]) -> set[int]:
    if there == here:
        return set()
    pairs = zip(there, here, strict=True)
    # repr: NaN equals NaN here
    return {place for place, (old, new) in enumerate(pairs) if old != new and repr(old) != repr(new)}


def _row(candidate: Candidate, known: StoredFile, folder: str) -> EmbeddingRow:
    """The row of a known content under the item's metadata and place of today."""
    return EmbeddingRow(
        id=candidate.id,
        folder=folder,
        file_name=candidate.file_name,
        sha256=known.sha256,
        size_bytes=known.size_bytes if candidate.size_bytes is None else candidate.size_bytes,
        mtime_ns=candidate.mtime_ns,
        width_px=0,
        height_px=0,
        fields=candidate.fields,
        vector_D=None,
        is_new=False,
    )


def _gone(inputs: Inputs, stored: Mapping[str, StoredFile], *, force: bool) -> list[str]:
    """Rows that are not of these inputs' items, and whose file is nowhere else either."""
    here = {candidate.id for candidate in inputs.candidates}
    gone = sorted(
        item_id
        for item_id, known in stored.items()
        if item_id not in here
        and (
            (known.folder == inputs.folder and inputs.would_have_seen(known.file_name))
            or not _may_be_there(Path(known.folder), known.file_name)
        )
    )
    if len(gone) * PRUNE_LIMIT > len(stored) and not force:
        raise DataError(
            f"--prune would remove {len(gone)} of {len(stored)} rows, more than a fifth; nothing was done.",
            remedy=f"See whether {inputs.folder} is complete (a disk may not be mounted); "
            "add --force where the files are meant to be gone.",
        )
    return gone


def _may_be_there(folder: Path, file_name: str) -> bool:
    """Whether the file exists, or the tar or Parquet file in which it was: only a run over that one can tell."""
    path = folder / file_name
    return path.exists() or any((folder / parent).is_file() for parent in PurePosixPath(file_name).parents)

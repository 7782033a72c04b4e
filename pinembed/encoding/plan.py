"""The plan: what the table has, what the inputs hold, and so what is left to do. Nothing is opened or written.

The table streams by, some thousand rows at a time; what stays is a few numbers for each item, whatever its history.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from pinembed.catalogue.candidates import NOT_FOUND, Indices
from pinembed.catalogue.parts import InputParts, Inputs
from pinembed.encoding.diff import ContentHashes, StoredItems, TableDiff, compare, stored_content_hashes
from pinembed.encoding.folders import Absence, Folders
from pinembed.errors import DataError
from pinembed.images.loading import LoadRequest
from pinembed.nouns.failure import Failure
from pinembed.nouns.item import Candidate
from pinembed.stores.address import Place
from pinembed.table.embedding_table import EmbeddingTable
from pinembed.table.rows import EmbeddingRow

OF_THE_MOMENT = {"missing_file", "unreadable", "changed_while_read", "needs_heif"}
PRUNE_LIMIT = 5  # --prune takes out at most one row in five without --force


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What one run has to do.

    Attributes:
        inputs: that it was made of.
        unchanged: number of items that are left alone.
        rewrite: indices of candidates whose content is known and whose metadata changed; no file is opened.
        load: indices of candidates whose file has to be read.
        stored: what the table holds of the candidates in `rewrite` and `load`.
        content_hashes: of the rows that are not read again.
        rows: that the table has.
        failures: new ones that the scan itself found.
        not_retried: items whose file failed before and is still the same.
        known_failures: of earlier runs, by item id.
        gone: ids of rows whose files are gone; empty without --prune.
        unsure: files that had a candidate's id in a folder that is not there, by the candidate's index.
        spared: rows that --prune left alone, by what is not there.
    """

    inputs: Inputs
    unchanged: int
    rewrite: Indices
    load: Indices
    stored: StoredItems
    content_hashes: ContentHashes
    rows: int
    failures: list[Failure] = field(default_factory=list)
    not_retried: list[Failure] = field(default_factory=list)
    known_failures: Mapping[str, Failure] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)
    unsure: Mapping[int, Place] = field(default_factory=dict)
    spared: Mapping[Absence, int] = field(default_factory=dict)

    @property
    def is_done(self) -> bool:
        """Nothing is to be read or written."""
        return not (len(self.rewrite) or len(self.load) or self.failures or self.gone)

    @property
    def new(self) -> int:
        """How many items in `load` the table does not have."""
        return len(self.load) - int(self.stored.has(self.load).sum())

    def requests(self, *, is_measured: bool = False) -> Iterator[LoadRequest]:
        """What the loading pool is asked for; `index` is that of the candidate.

        A stored content of the same size may be the file's own, or that of a file that was renamed or copied: such a
        file is hashed and not decoded. Where only reading tells the size, the item's own content is all that is tried.
        """
        candidates = self.inputs.candidates
        for index, image in candidates.located(self.load):
            known = self.content_hashes.of_size(int(candidates.size_bytes[index]))
            own = self.stored.of(index)
            if own is not None:
                known.append(own[0])
            yield LoadRequest(index=index, image=image, known_sha256=tuple(known), is_measured=is_measured)

    def rewritten(self) -> Iterator[EmbeddingRow]:
        """The rows in `rewrite`, under the items' metadata and indices of today."""
        candidates = self.inputs.candidates
        for index, candidate in zip(self.rewrite.tolist(), candidates.at(self.rewrite), strict=True):
            stored = self.stored.of(index)
            assert stored is not None
            sha256, size_bytes = stored
            yield EmbeddingRow(
                id=candidate.id,
                folder=self.inputs.folder,
                file_name=candidate.file_name,
                sha256=sha256,
                size_bytes=size_bytes if candidate.size_bytes is None else candidate.size_bytes,
                mtime_ns=candidate.mtime_ns,
                fields=candidate.fields,
                is_new=False,
            )


def make_plan(
    inputs: Inputs,
    table: EmbeddingTable | None,
    known_failures: Mapping[str, Failure],
    folders: Folders,
    *,
    retry_failed: bool,
    prune: InputParts | None,
    force: bool,
) -> Plan:
    """Compare the inputs with the table.

    Args:
        inputs: what there is, or a part of it.
        table: None where there is none yet.
        known_failures: of earlier runs, by item id.
        folders: of the table's rows.
        retry_failed: read images that failed before again although their file is the same.
        prune: all parts of the inputs, to plan to remove the rows whose files are gone; None keeps them.
        force: allow more than a fifth of the rows to be removed.

    Raises:
        DataError: --prune would remove more than a fifth of the rows.
    """
    compared = compare(inputs, table, folders, whole=prune)
    if prune is not None and not force:
        _refuse_too_many(compared, inputs.folder)
    failed = {} if retry_failed else _failed_before(inputs, known_failures, compared)
    if not retry_failed:
        failed |= {
            index: failure
            for index, holder in compared.unsure.items()
            if _is_known(failure := id_held_away(inputs, inputs.candidates[index], holder), known_failures)
        }
    load = (
        np.array([index for index in compared.load.tolist() if index not in failed], np.int64)
        if failed
        else compared.load
    )
    found = [*inputs.failures, *_taken(inputs, compared.taken)]
    return Plan(
        inputs=inputs,
        unchanged=compared.unchanged,
        rewrite=compared.rewrite,
        load=load,
        stored=compared.stored,
        content_hashes=stored_content_hashes(inputs, table, load),
        rows=compared.rows,
        failures=[failure for failure in found if not _is_known(failure, known_failures)],
        not_retried=[
            *(failed[index] for index in sorted(failed)),
            *(failure for failure in found if _is_known(failure, known_failures)),
        ],
        known_failures=known_failures,
        gone=compared.gone,
        unsure=compared.unsure,
        spared=compared.spared,
    )


def _taken(inputs: Inputs, holders: Mapping[int, Place]) -> Iterator[Failure]:
    """The candidates whose id a file of another folder has, which keeps it."""
    indices = np.array(sorted(holders), np.int64)
    for index, candidate in zip(indices.tolist(), inputs.candidates.at(indices), strict=True):
        yield id_taken(inputs, candidate, f"which {holders[index]} has")


def id_held_away(inputs: Inputs, candidate: Candidate, holder: Place) -> Failure:
    """A candidate whose content is not that of the row that has its id, whose file nobody can look at."""
    who = f"which {holder} had, whose folder or disk is away; --moved-from says that it is this one now"
    return id_taken(inputs, candidate, who)


def id_taken(inputs: Inputs, candidate: Candidate, who: str) -> Failure:
    """A candidate that cannot have its id; the failure goes by its path, for the id is another item's."""
    return Failure(
        id=f"{inputs.folder}/{candidate.file_name}",
        folder=inputs.folder,
        file_name=candidate.file_name,
        size_bytes=candidate.size_bytes or 0,
        mtime_ns=candidate.mtime_ns,
        reason="id_taken",
        message=f"{candidate.file_name} has the id {candidate.id}, {who}; give --id-prefix or an id column.",
    )


def _failed_before(inputs: Inputs, known_failures: Mapping[str, Failure], compared: TableDiff) -> dict[int, Failure]:
    """Failures of files that would be read and are still the same, by the candidate's index."""
    failures = list(known_failures.values())
    indices = inputs.candidates.find(pa.array([failure.id for failure in failures], pa.large_string()))
    would_load = np.isin(indices, compared.load) & (indices != NOT_FOUND)
    return {
        int(indices[at]): failures[at]
        for at in np.flatnonzero(would_load).tolist()
        if failures[at].folder in inputs.folders
        and _failed_like_this(failures[at], inputs.candidates[int(indices[at])])
    }


def _failed_like_this(failed: Failure, candidate: Candidate) -> bool:
    """Whether the file itself is to blame and is still the same; a lost disk or a missing extra may be back."""
    is_lasting = failed.reason not in OF_THE_MOMENT
    is_same_size = candidate.size_bytes is None or candidate.size_bytes == failed.size_bytes
    of_file = (failed.file_name, failed.mtime_ns)
    return is_lasting and is_same_size and of_file == (candidate.file_name, candidate.mtime_ns)


def _is_known(failure: Failure, known_failures: Mapping[str, Failure]) -> bool:
    return known_failures.get(failure.id) == failure


def _refuse_too_many(compared: TableDiff, folder: str) -> None:
    if len(compared.gone) * PRUNE_LIMIT > compared.rows:
        raise DataError(
            f"--prune would remove {len(compared.gone)} of {compared.rows} rows, more than a fifth; nothing was done.",
            remedy=f"See whether {folder} is complete (a disk may not be mounted); "
            "add --force where the files are meant to be gone.",
        )

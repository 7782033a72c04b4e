"""What can be an item, and faults as failures: one id an item, names that are text, columns that are free."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa

from pinembed.catalogue.shards import ShardScan
from pinembed.errors import DataError
from pinembed.jobs.encode.candidates import UNKNOWN_SIZE, Candidates, TextColumn
from pinembed.jobs.encode.folder import is_text, name_fault
from pinembed.nouns.candidate import Candidate, Fault
from pinembed.table.failures import Failure
from pinembed.table.schema import OWN_COLUMNS, metadata_fields

TAKEN_PREFIX = "source_"


def in_columns(found: Iterable[Candidate], schema: pa.Schema) -> tuple[Candidates, list[Fault]]:
    """What tars and Parquet files hold, in columns; names that are no text are faults.

    Args:
        found: in their order.
        schema: of their metadata.

    Raises:
        DataError: a value is not of its column's type.
    """
    names, ids = TextColumn(), TextColumn()
    kept: list[Candidate] = []
    faults = []
    for candidate in found:
        if is_text(candidate.file_name) and is_text(candidate.id):
            names.append(candidate.file_name)
            ids.append(candidate.id)
            kept.append(candidate)
        else:
            faults.append(name_fault(candidate.file_name, candidate.size_bytes or 0, candidate.mtime_ns))
    sizes = [UNKNOWN_SIZE if candidate.size_bytes is None else candidate.size_bytes for candidate in kept]
    candidates = Candidates(
        names=names.to_arrow(),
        ids=ids.to_arrow(),
        size_bytes=np.array(sizes, dtype=np.int64),
        mtime_ns=np.array([candidate.mtime_ns for candidate in kept], dtype=np.int64),
        fields=pa.table([_column(kept, field) for field in metadata_fields(schema)], names=schema.names)
        if schema.names
        else None,
        images=[candidate.image for candidate in kept],
    )
    return candidates, faults


def told_apart(candidates: Candidates) -> tuple[Candidates, list[Fault]]:
    """The candidates that can be items; those whose id an earlier one has cannot."""
    repeated = candidates.repeated()
    if not repeated:
        return candidates, []
    faults = []
    for place, first in repeated:
        candidate, other = candidates[place], candidates[first]
        words = f"has the id {candidate.id}, which {other.file_name} has"
        faults.append(
            Fault(
                file_name=candidate.file_name,
                reason="id_taken",
                words=words,
                size_bytes=candidate.size_bytes or 0,
                mtime_ns=candidate.mtime_ns,
            )
        )
    return candidates.without(place for place, _ in repeated), faults


def failures_of(folder: str, faults: Iterable[Fault]) -> tuple[Failure, ...]:
    """Faults as the failures table keeps them, by the name of the file."""
    failures = []
    for fault in faults:
        shown = os.fsencode(fault.file_name).decode("utf-8", "backslashreplace")
        failures.append(
            Failure(
                id=shown,
                folder=folder,
                file_name=shown,
                size_bytes=fault.size_bytes,
                mtime_ns=fault.mtime_ns,
                reason=fault.reason,
                message=f"{shown} {fault.words}.",
            )
        )
    return tuple(failures)


def free_names(scan: ShardScan) -> Iterable[str]:
    """Rename metadata columns whose names the table cannot give away; img2dataset's tars have a sha256, for one."""
    names: dict[str, str] = {}
    for name in scan.schema.names:
        free = name.replace(".", "_") or "column"
        while free in OWN_COLUMNS or free in names.values():
            free = f"{TAKEN_PREFIX}{free}"
        names[name] = free
    renamed = {old: new for old, new in names.items() if old != new}
    if not renamed:
        return
    scan.schema = pa.schema([field.with_name(names[field.name]) for field in scan.schema])
    scan.candidates = [
        dataclasses.replace(candidate, fields={names[name]: value for name, value in candidate.fields.items()})
        for candidate in scan.candidates
    ]
    for old, new in renamed.items():
        yield f"The metadata's {old!r} is stored as {new}; the table cannot have a metadata column of that name."


def _column(candidates: Sequence[Candidate], field: pa.Field) -> pa.Array:
    try:
        return pa.array([candidate.fields.get(field.name) for candidate in candidates], field.type)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise DataError(
            f"The metadata column {field.name} has values that are no {field.type}: {error}.",
            remedy="Make the column's values alike.",
        ) from error

"""Candidates that can be items, and faults as failures: one id an item, names that are text, columns that are free."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable

import pyarrow as pa

from pinembed.catalogue.shards import ShardScan
from pinembed.nouns.candidate import Candidate, Fault
from pinembed.table.failures import Failure
from pinembed.table.schema import OWN_COLUMNS

TAKEN_PREFIX = "source_"


def told_apart(candidates: Iterable[Candidate]) -> tuple[tuple[Candidate, ...], list[Fault]]:
    """The candidates that can be items; names that are no text, and ids that an earlier one has, cannot."""
    kept: dict[str, Candidate] = {}
    faults = []
    for candidate in candidates:
        if not (_is_text(candidate.file_name) and _is_text(candidate.id)):
            faults.append(_fault(candidate, "name_not_utf8", "has a name that is not UTF-8"))
        elif candidate.id in kept:
            other = kept[candidate.id].file_name
            faults.append(_fault(candidate, "id_taken", f"has the id {candidate.id}, which {other} has"))
        else:
            kept[candidate.id] = candidate
    return tuple(kept.values()), faults


def _fault(candidate: Candidate, reason: str, words: str) -> Fault:
    size_bytes = candidate.size_bytes or 0
    return Fault(
        file_name=candidate.file_name, reason=reason, words=words, size_bytes=size_bytes, mtime_ns=candidate.mtime_ns
    )


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


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:  # the file system's bytes are no UTF-8; Arrow could not store them
        return False
    return True

"""Whether the ids of an npy export and the row counts of a Parquet export are what the manifest says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pinembed.nouns.manifest import ManifestFile
from pinembed.nouns.verify_report import Finding
from pinembed.source.rows import shown_ids


def json_lines_findings(path: Path, entry: ManifestFile) -> Iterator[Finding]:
    """Look at every line of ids.jsonl."""
    seen: set[str] = set()
    twice: dict[str, None] = {}
    lines = wrong = 0
    with path.open("rb") as file:
        for line in file:
            lines += 1
            item_id = _json_string(line)
            if item_id is None:
                wrong += 1
            elif item_id in seen:
                twice[item_id] = None
            else:
                seen.add(item_id)
    if lines != entry.rows:
        yield Finding(file=entry.file, problem="count", detail=f"has {lines} lines; the manifest says {entry.rows}")
    if wrong:
        yield Finding(file=entry.file, problem="index", detail=f"{wrong} line(s) are no JSON strings")
    if twice:
        detail = f"{len(twice)} id(s) occur more than once: {shown_ids(list(twice))}"
        yield Finding(file=entry.file, problem="duplicate_id", detail=detail)


def parquet_rows_finding(path: Path, entry: ManifestFile) -> Iterator[Finding]:
    """Compare a Parquet file's own row count with the manifest's."""
    try:
        rows = pq.read_metadata(path).num_rows
    except (OSError, pa.ArrowException) as error:
        first_line = str(error).split("\n", 1)[0]
        yield Finding(file=entry.file, problem="layout", detail=f"is no Parquet file: {first_line}")
        return
    if rows != entry.rows:
        yield Finding(file=entry.file, problem="count", detail=f"has {rows} rows; the manifest says {entry.rows}")


def _json_string(line: bytes) -> str | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, str) else None

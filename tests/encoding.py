"""What a table holds after a run, in a form that tests can compare."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pinembed.reports.encode import EncodeReport
from pinembed.table.address import parse_address
from pinembed.table.embedding_table import EmbeddingTable
from pinembed.table.side_tables import FailureTable


def rows_of(table: str) -> dict[str, dict[str, Any]]:
    opened = EmbeddingTable.open(table)
    batches = opened.batches(opened.schema.names)
    rows = [row for batch in batches for row in batch.to_pylist()]
    assert len({row["id"] for row in rows}) == len(rows)
    return {row["id"]: row for row in rows}


def failures_of(table: str) -> dict[str, str]:
    return {item: failure.reason for item, failure in FailureTable(parse_address(table)).known().items()}


def version_of(table: str) -> int:
    return int(EmbeddingTable.open(table).dataset.version)


def counts(report: EncodeReport) -> dict[str, int]:
    names = ("added", "updated", "unchanged", "duplicate", "failed", "removed")
    return {name: getattr(report.counts, name) for name in names if getattr(report.counts, name)}


def touch(path: Path, seconds: int = 5) -> None:
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + seconds * 10**9))

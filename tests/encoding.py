"""Pictures for a run, and what a table holds after it, in a form that tests can compare."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

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


def write_noise(folder: Path, images: int) -> Path:
    """Small pictures that are all different, 000.png and so on, and bad.png, which is none."""
    rng = np.random.default_rng(0)
    for number in range(images):
        Image.fromarray(rng.integers(0, 256, (24, 24, 3), np.uint8)).save(folder / f"{number:03}.png")
    (folder / "bad.png").write_bytes(b"bad")
    return folder

"""The benchmark of lookups: it measures, says so, and leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from pinembed.errors import OutputError
from tests.benchmarks.source_lookup import measure, table_of


def test_lookups_are_measured_and_nothing_is_left(tmp_path: Path) -> None:
    measured = measure(items=500, dim=16, gathers=100, folder=tmp_path, seed=0)
    assert len(measured.lookups.gather_ms) == 100
    assert min(*measured.lookups.gather_ms, measured.lookups.open_ms, measured.write_bytes_per_s) > 0
    assert "gather 64 ids, p99" in table_of(measured)
    assert list(tmp_path.iterdir()) == []


def test_place_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="nowhere cannot be used: No such file or directory"):
        measure(items=500, dim=16, gathers=100, folder=tmp_path / "nowhere", seed=0)


def test_disk_that_is_too_small_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"MiB free; the measurement needs \d+ MiB") as caught:
        measure(items=10**12, dim=512, gathers=100, folder=tmp_path, seed=0)
    assert "fewer --items" in caught.value.remedy

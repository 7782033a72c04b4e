"""`pinembed bench lookup`: it measures, says so, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pinembed.errors import OutputError
from pinembed.jobs import bench_lookup as job
from pinembed.settings.measuring import BenchLookupSettings
from tests.conftest import CliResult


def test_bench_lookup_measures_and_leaves_nothing(cli: Callable[..., CliResult], tmp_path: Path) -> None:
    flags = ("--items", "500", "--dim", "16", "--gathers", "100", "--folder", tmp_path)
    done = cli("bench", "lookup", *flags, "--json")
    assert done.exit_code == 0
    report = done.json
    assert (report["items"], report["dim"], report["gathers"], report["ids_per_gather"]) == (500, 16, 100, 64)
    assert 0 < report["gather_p50_ms"] <= report["gather_p99_ms"]
    assert min(report["open_ms"], report["write_bytes_per_s"], report["disk_bytes_per_s"]) > 0
    assert "gather 64 ids, p99" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_bench_lookup_refuses_a_place_that_is_not_there(cli: Callable[..., CliResult], tmp_path: Path) -> None:
    done = cli("bench", "lookup", "--folder", tmp_path / "nowhere")
    assert done.exit_code == 1
    assert "nowhere cannot be used: No such file or directory" in done.words


def test_bench_lookup_refuses_a_disk_that_is_too_small(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"MiB free; the measurement needs \d+ MiB") as caught:
        job.bench_lookup(BenchLookupSettings(folder=tmp_path, items=10**12))
    assert "fewer --items" in caught.value.remedy

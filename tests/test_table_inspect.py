"""inspect: what a table holds."""

from __future__ import annotations

import dataclasses
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pinembed.errors import DataError, EncoderMismatchError, StoppedError
from pinembed.jobs.encode import encode
from pinembed.jobs.inspect import inspect
from pinembed.nouns.progress import SILENT, Progress, Stop
from pinembed.settings.encoding import EncodeSettings, InspectSettings
from pinembed.table.address import parse_address
from pinembed.table.embedding_table import EmbeddingTable
from pinembed.table.lock import run_lock
from pinembed.table.side_tables import RunTable
from tests.conftest import CliResult, StopAfter, draw_item

Cli = Callable[..., CliResult]


@pytest.fixture
def table(catalogue_folder: Path, tmp_path: Path, tiny_encoder: Path) -> str:
    (catalogue_folder / "images/bad.png").write_bytes(b"bad")
    table = str(tmp_path / "db/pins")
    encode(EncodeSettings(images=catalogue_folder, table=table, encoder=str(tiny_encoder), workers=1))
    EmbeddingTable.open(table).lance.tags.create("first", 2)
    return table


def test_inspect_tells_rows_encoder_failures_and_tags(table: str, catalogue_folder: Path) -> None:
    report = inspect(InspectSettings(table=table))

    assert (report.rows, report.encoder.dim, report.encoder.architecture) == (24, 16, "tiny")
    assert report.folders == {str(catalogue_folder): 24}
    assert report.failures == {"not_an_image": 1}
    assert report.tags == {"first": 2}
    assert report.columns["price"] == "double"
    assert report.size_bytes > 1000
    assert report.locked_by == ""


def test_inspect_prints_it_for_a_person_and_changes_nothing(cli: Cli, table: str) -> None:
    before = EmbeddingTable.open(table).dataset.version

    result = cli("inspect", "--table", table)

    assert result.exit_code == 0
    assert "failed images/bad.png:" in result.words
    assert "first = version 2" in result.words
    assert EmbeddingTable.open(table).dataset.version == before


def test_inspect_json_is_one_object(cli: Cli, table: str) -> None:
    assert cli("inspect", "--table", table, "--json", "--quiet").json["rows"] == 24


def test_inspect_names_the_run_that_writes_now(table: str) -> None:
    with run_lock(parse_address(table)):
        assert inspect(InspectSettings(table=table)).locked_by.startswith(f"process {os.getpid()} on ")


def test_inspect_of_no_table_is_explained(cli: Cli, tmp_path: Path) -> None:
    result = cli("inspect", "--table", tmp_path / "db/none")

    assert result.exit_code == 1
    assert "There is no table" in result.words
    assert "holds no table" in result.words


def test_inspect_tells_the_last_runs_the_newest_first(table: str, catalogue_folder: Path, tiny_encoder: Path) -> None:
    encode(EncodeSettings(images=catalogue_folder, table=table, encoder=str(tiny_encoder), reduced_decode=True))

    newest, first = inspect(InspectSettings(table=table)).runs

    assert (first.ending, first.counts.added, first.counts.failed, first.counts.rows) == ("done", 24, 1, 24)
    assert (newest.ending, newest.counts.added, newest.counts.unchanged, newest.reduced_decode) == ("done", 0, 24, True)
    assert newest.started_at > first.started_at
    assert (newest.host, newest.pid, newest.images) == (socket.gethostname(), os.getpid(), str(catalogue_folder))
    assert 0 < (newest.seconds or 0) < 60


def test_inspect_tells_why_a_run_failed_was_stopped_or_had_too_many_failures(
    cli: Cli,
    table: str,
    catalogue_folder: Path,
    tiny_encoder: Path,
    other_encoder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "160")

    def run(progress: Progress = SILENT, stop: Stop | None = None, **options: Any) -> None:
        given = {"table": table, "encoder": str(tiny_encoder), "workers": 1, **options}
        encode(EncodeSettings(images=catalogue_folder, **given), progress=progress, stop=stop)

    with pytest.raises(EncoderMismatchError):
        run(encoder=str(other_encoder))
    run(max_failure_rate=0.0)
    draw_item("red", "circle", 7).save(catalogue_folder / "images/new.png")
    stop = Stop()

    with pytest.raises(StoppedError):
        run(stop=stop, progress=StopAfter(stop, 1, signal.SIGTERM))
    catalogue_folder.rename(catalogue_folder.with_name("unmounted"))
    with pytest.raises(DataError):
        run()

    runs = inspect(InspectSettings(table=table)).runs

    assert [run.ending for run in runs] == ["failed", "stopped", "too many failures", "failed", "done"]
    assert runs[0].message == f"{catalogue_folder} does not exist; wanted a folder of images."
    assert (runs[1].message, runs[1].counts.added) == ("Stopped by signal 15.", 1)
    words = cli("inspect", "--table", table).words
    assert "too many failures" in words
    assert "Stopped by signal 15." in words


def test_run_that_never_told_its_end_is_interrupted_or_still_running(table: str) -> None:
    runs = RunTable(parse_address(table))
    begun = dataclasses.replace(
        inspect(InspectSettings(table=table)).runs[0], run="x", started_at="2100-01-01", ending=None
    )
    runs.begin(begun)

    assert inspect(InspectSettings(table=table)).runs[0].ending == "interrupted"
    with run_lock(parse_address(table)):
        assert [run.ending for run in inspect(InspectSettings(table=table)).runs] == ["running", "done"]


def test_runs_of_many_nights_stay_in_few_pieces(table: str) -> None:
    address = parse_address(table)
    some = inspect(InspectSettings(table=table)).runs[0]
    runs = RunTable(address)
    for night in range(20):
        run = dataclasses.replace(some, run=f"{night}", started_at=f"2100-01-{night + 1:02}")
        runs.begin(dataclasses.replace(run, ending=None))
        runs.end(run)

    assert runs.dataset.stats.dataset_stats()["num_fragments"] < 16
    latest = RunTable(address).latest(30, is_running=False)
    assert [run.run for run in latest[:20]] == [f"{night}" for night in reversed(range(20))]
    assert {run.ending for run in latest} == {"done"}


def test_first_run_that_finds_nothing_leaves_nothing_behind(cli: Cli, tmp_path: Path, tiny_encoder: Path) -> None:
    result = cli("encode", tmp_path / "none", "--table", tmp_path / "db/pins", "--encoder", tiny_encoder)

    assert result.exit_code == 1
    assert not (tmp_path / "db").exists()

"""inspect: what a table holds."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pinembed.jobs.encode import encode
from pinembed.jobs.inspect import inspect
from pinembed.table.address import parse_address
from pinembed.table.embedding_table import EmbeddingTable
from pinembed.table.lock import run_lock
from tests.conftest import CliResult

Cli = Callable[..., CliResult]


@pytest.fixture
def table(catalogue_folder: Path, tmp_path: Path, tiny_encoder: Path) -> str:
    (catalogue_folder / "images/bad.png").write_bytes(b"bad")
    table = str(tmp_path / "db/pins")
    encode(catalogue_folder, table=table, encoder=str(tiny_encoder), workers=1)
    EmbeddingTable.open(table).lance.tags.create("first", 2)
    return table


def test_inspect_tells_rows_encoder_failures_and_generations(table: str, catalogue_folder: Path) -> None:
    report = inspect(table=table)

    assert (report.rows, report.encoder.dim, report.encoder.architecture) == (24, 16, "tiny")
    assert report.folders == {str(catalogue_folder): 24}
    assert report.failures == {"not_an_image": 1}
    assert report.generations == {"first": 2}
    assert report.columns["price"] == "double"
    assert report.size_bytes > 1000
    assert report.locked_by == ""


def test_inspect_prints_it_for_a_person_and_changes_nothing(cli: Cli, table: str) -> None:
    before = EmbeddingTable.open(table).lance.version

    result = cli("inspect", "--table", table)

    assert result.exit_code == 0
    assert "failed images/bad.png:" in result.words
    assert "first = version 2" in result.words
    assert EmbeddingTable.open(table).lance.version == before


def test_inspect_json_is_one_object(cli: Cli, table: str) -> None:
    assert cli("inspect", "--table", table, "--json", "--quiet").json["rows"] == 24


def test_inspect_names_the_run_that_writes_now(table: str) -> None:
    with run_lock(parse_address(table)):
        assert inspect(table=table).locked_by.startswith(f"process {os.getpid()} on ")


def test_inspect_of_no_table_is_explained(cli: Cli, tmp_path: Path) -> None:
    result = cli("inspect", "--table", tmp_path / "db/none")

    assert result.exit_code == 1
    assert "There is no table" in result.words
    assert "holds no table" in result.words

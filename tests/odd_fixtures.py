"""The command that encodes small odd inputs into a table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import CliResult

Cli = Callable[..., CliResult]


@pytest.fixture
def table(tmp_path: Path) -> str:
    return f"{tmp_path}/db/pins"


@pytest.fixture
def encode(cli: Cli, tiny_encoder: Path, table: str) -> Callable[..., CliResult]:
    """`pinembed encode ARGS... --json` into `table`, by the fp32 torch backend."""

    def run(*args: str | Path) -> CliResult:
        return cli("encode", *args, "--table", table, "--encoder", tiny_encoder, "--backend", "torch", "--json")

    return run

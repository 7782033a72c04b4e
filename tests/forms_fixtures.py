"""A shop, its source and every published form of a checkpoint, made once a module; for the tests of these forms."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.published_forms import Made, forms_in
from tests.test_align import write_rows, write_shop


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shop(tmp_path_factory.mktemp("shop") / "data", items=24)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(tmp_path_factory.mktemp("source") / "source", items=24)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return forms_in(tmp_path_factory.mktemp("forms"))

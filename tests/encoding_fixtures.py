"""A folder of six images, a table, and a way to encode one into the other; for the tests of encode."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pinembed.jobs.encode import encode
from pinembed.nouns.progress import SILENT, Progress, Stop
from pinembed.reports.encode import EncodeReport
from pinembed.settings.encoding import EncodeSettings
from tests.conftest import draw_item


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six images without metadata."""
    root = tmp_path / "photos"
    (root / "sub").mkdir(parents=True)
    for color in ("red", "green", "blue"):
        draw_item(color, "circle", 0).save(root / f"{color}.png")
        draw_item(color, "square", 0).save(root / "sub" / f"{color}.jpg")
    return root


@pytest.fixture
def table(tmp_path: Path) -> str:
    return str(tmp_path / "catalog" / "pins")


@pytest.fixture
def run(folder: Path, table: str, tiny_encoder: Path) -> Callable[..., EncodeReport]:
    """Encode the folder with the tiny encoder."""

    def encode_folder(
        images: Path = folder, *, progress: Progress = SILENT, stop: Stop | None = None, **changes: Any
    ) -> EncodeReport:
        given = {"table": table, "encoder": str(tiny_encoder), "workers": 1, **changes}
        return encode(EncodeSettings(images=images, **given), progress=progress, stop=stop)

    return encode_folder

"""Made damage on photos of the sample shop: the short form of tests/benchmarks/audit_damage.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pinembed.flags.checks import CHECKS
from tests.benchmarks.audit_damage import DAMAGE, auc, gain, halves, measured, write

SHOP = Path(__file__).parent.parent / "sample_images"
SCORES = {check.name: check.score for check in CHECKS}
LEAST_AUC = 0.99  # with half of the photos each is one place of 64


@pytest.fixture(scope="module")
def files() -> list[Path]:
    return halves(SHOP)["other"][::10]


@pytest.fixture(scope="module")
def whole(files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, NDArray[np.floating]]:
    contents = measured(write(tmp_path_factory.mktemp("whole"), files, gain(1), 85))
    return {name: score(contents) for name, score in SCORES.items()}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_photos_rank_above_whole_ones(
    damage: str, files: list[Path], whole: dict[str, NDArray[np.floating]], tmp_path: Path
) -> None:
    check, change, quality, _ = DAMAGE[damage]
    found = SCORES[check](measured(write(tmp_path, files, change, quality)))
    assert auc(whole[check], found) >= LEAST_AUC

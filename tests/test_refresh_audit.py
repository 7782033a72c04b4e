"""Refresh with [audit]: flags in each generation, answers that people give, and a night that floods the catalogue."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from pinembed.errors import CheckError, ConfigError
from pinembed.generation.home import Home
from pinembed.nightly.challenge import _finetune_settings
from pinembed.nightly.config import read_config
from pinembed.nightly.history import History
from pinembed.source.embedding_source import EmbeddingSource
from tests.conftest import CliResult, write_catalogue
from tests.test_refresh import Shop

AUDIT = '[audit]\ncheck = ["duplicate", "placeholder"]\nanswers = "answers.csv"\n'


@pytest.fixture
def shop(tmp_path: Path, tiny_encoder: Path) -> Shop:
    write_catalogue(tmp_path / "data")
    return Shop(tmp_path, tiny_encoder)


def flood(shop: Shop, count: int) -> None:
    for number in range(count):
        shop.add(f"none-{number}")
        Image.new("RGB", (48, 48), (210, 210, 210)).save(shop.root / "data" / "images" / f"none-{number}.png")


def answer(shop: Shop, **answers: str) -> None:
    """Fill in a copy of what the night that was stopped wrote."""
    with (shop.home / "next" / "report" / "flags.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    with (shop.root / "answers.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows({**row, "answer": answers[row["check"]]} for row in rows)


def test_a_night_that_floods_the_catalogue_is_stopped_until_people_have_answered(
    shop: Shop, cli: Callable[..., CliResult]
) -> None:
    report = shop.refresh(AUDIT)
    assert "audit" in [step.name for step in report.steps]
    assert [check.found for check in report.checks if check.name == "flagged"] == [0]
    assert shop.refresh(AUDIT).nothing_to_do
    flood(shop, 4)
    with pytest.raises(CheckError, match=r"does not serve: flagged is 0\.1429, wanted at most 0\.05") as caught:
        shop.refresh(AUDIT)
    assert str(shop.home / "next" / "report" / "flags.html") in caught.value.remedy
    assert shop.current == 1

    answer(shop, duplicate="clear", placeholder="confirm")
    more = AUDIT + '[export]\nhide = ["placeholder"]\n[checks]\nflagged_rise = 0.2\n'
    report = shop.refresh(more)
    assert (report.generation, report.counts.rows) == (2, 28)
    with EmbeddingSource.open(shop.home) as source:
        assert len(source) == 24
    folder = Home.open(shop.home).folder_of(2)
    assert json.loads((folder / "source" / "manifest.json").read_text())["hidden"]["rows"] == 4
    page = (folder / "report" / "flags.html").read_text()
    assert "none-" in page
    assert "confirmed" in page
    shares = [row for row in History(shop.home).metrics() if row.name == "flagged"]
    assert [(row.generation, round(row.value, 4)) for row in shares] == [(1, 0), (2, 0.1429)]
    assert shares[1].low < 0.1429 < shares[1].high  # type: ignore[operator]
    assert "share of flagged rows" in cli("report", shop.home).words

    (shop.root / "answers.csv").write_text((shop.root / "answers.csv").read_text().replace("confirm,", "clear,"))
    report = shop.refresh(more)  # nothing else is new
    assert (report.generation, [check.found for check in report.checks if check.name == "flagged"]) == (3, [0])
    with EmbeddingSource.open(shop.home) as source:
        assert len(source) == 28


def test_a_training_leaves_out_what_is_confirmed_in_the_generation_in_use(shop: Shop, tmp_path: Path) -> None:
    base = tmp_path / "home" / "generations" / "000001"
    settings = _finetune_settings(read_config(shop.configure(AUDIT)), base, tmp_path / "out")
    assert settings.flags_from == str(base / "table" / "items")
    assert _finetune_settings(read_config(shop.configure()), base, tmp_path / "out").flags_from is None
    assert _finetune_settings(read_config(shop.configure(AUDIT)), None, tmp_path / "out").flags_from is None


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ('[audit]\ncheck = ["blury"]\n', "--check blury: there is no such check"),
        ('[audit]\nsheet = "x.png"\n', "sets sheet, which refresh decides itself"),
        ("[audit]\nmax_share = 5\n", "max_share is 5; wanted at most 1"),
        ("[checks]\nflagged_rise = -1\n", "wanted at least 0"),
    ],
)
def test_an_audit_that_cannot_be_meant_is_refused(shop: Shop, more: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read_config(shop.configure(more))

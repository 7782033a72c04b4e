"""The sample shop is complete, small, fairly split, and what its script draws."""

from __future__ import annotations

import csv
import importlib
import io
from collections import Counter, defaultdict
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

SAMPLES = Path(__file__).resolve().parent.parent / "sample_images"
ATTRIBUTES = ("category", "color", "pattern", "style")
MAX_TOTAL_BYTES = 3_000_000

Rows = list[dict[str, str]]


@pytest.fixture(scope="module")
def rows() -> Rows:
    """Return the table."""
    with (SAMPLES / "metadata.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the drawing script as a module."""
    monkeypatch.syspath_prepend(str(SAMPLES))
    return importlib.import_module("make_samples")


def test_table_and_files_match(rows: Rows) -> None:
    """Every row has its file, and every file its row."""
    listed = [row["file_name"] for row in rows]
    present = {path.relative_to(SAMPLES).as_posix() for path in (SAMPLES / "images").iterdir()}
    assert len(listed) == len(set(listed))
    assert set(listed) == present


def test_rows_are_filled_and_ids_unique(rows: Rows) -> None:
    """No cell is empty, ids are unique, and prices are positive numbers."""
    assert all(value.strip() for row in rows for value in row.values())
    assert len({row["id"] for row in rows}) == len(rows)
    assert all(float(row["price"]) > 0 for row in rows)


def test_there_are_enough_products_and_views(rows: Rows) -> None:
    """The shop is large enough to search in, and each product is seen from several sides."""
    views = Counter(row["product"] for row in rows)
    assert len(views) >= 48
    assert min(views.values()) >= 4


def test_views_of_a_product_agree(rows: Rows) -> None:
    """Attributes, price and split belong to the product, not to the view; wording differs."""
    by_product = defaultdict(list)
    for row in rows:
        by_product[row["product"]].append(row)
    for views in by_product.values():
        assert len({tuple(row[name] for name in (*ATTRIBUTES, "price", "split")) for row in views}) == 1
        assert len({row["title"] for row in views}) == len(views)


def test_the_folder_is_small() -> None:
    """A clone stays quick: everything that is committed is under three megabytes."""
    # Suffixes, because caches of tools that ran here lie in the same folder.
    files = [path for path in SAMPLES.rglob("*") if path.suffix in (".webp", ".csv", ".md", ".py")]
    assert sum(path.stat().st_size for path in files) < MAX_TOTAL_BYTES


def test_splits_have_sensible_sizes(rows: Rows) -> None:
    """About three quarters of the products train, and every category is tested."""
    share = {name: sum(row["split"] == name for row in rows) / len(rows) for name in ("train", "val", "test")}
    assert sum(share.values()) == pytest.approx(1)
    assert 0.7 < share["train"] < 0.8
    assert 0.15 < share["test"] < 0.2
    assert {row["category"] for row in rows if row["split"] == "test"} == {row["category"] for row in rows}


@pytest.mark.parametrize("split", ["val", "test"])
def test_held_out_combinations_are_new_but_their_parts_are_known(rows: Rows, split: str) -> None:
    """Training never shows a held-out combination, and shows each of its values on several products."""
    train = [row for row in rows if row["split"] == "train"]
    held_out = [row for row in rows if row["split"] == split]
    combined = ("category", "color", "pattern")
    known = {tuple(row[name] for name in combined) for row in train}
    assert not known & {tuple(row[name] for name in combined) for row in held_out}
    for name in ATTRIBUTES:
        products: defaultdict[str, set[str]] = defaultdict(set)
        for row in train:
            products[row[name]].add(row["product"])
        assert all(len(products[row[name]]) >= 3 for row in held_out)


def _pixels(file: Path | io.BytesIO) -> npt.NDArray[np.int16]:
    with Image.open(file) as photo:
        return np.asarray(photo.convert("RGB"), np.int16)


@pytest.mark.parametrize("position", [0, 126, 319])
def test_the_script_redraws_the_committed_picture(rows: Rows, script: ModuleType, position: int) -> None:
    """The committed pictures come from the committed script; versions of Pillow may differ by a shade."""
    product = script.stock(script.SEED)[position]
    cutout = script.draw_product(product, script.SEED)
    for view in (0, 3):
        row = script.describe(product, view, script.SEED)
        assert row in rows
        fresh = io.BytesIO()
        script.draw_photo(product, cutout, view, script.SEED).save(fresh, "WEBP", **script.WEBP)
        drawn, committed = _pixels(fresh), _pixels(SAMPLES / row["file_name"])
        assert drawn.shape == committed.shape
        assert np.abs(drawn - committed).mean() < 1.5

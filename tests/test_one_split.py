"""One split of a DATA folder for all commands that train, choose, judge or align."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from pinembed.catalogue.folder import read_catalogue
from pinembed.catalogue.splits import COLUMN, FOLDERS, HASH, decide_splits, split_items
from pinembed.errors import DataError
from pinembed.jobs import fuse
from pinembed.jobs.evaluate import judged_and_trained
from pinembed.nouns.item import Item
from pinembed.settings.training import FuseSettings
from pinembed.source.writer import write_source
from pinembed.training.datasets import DatasetSplits, read_splits
from pinembed.trimmed.align_dataset import read_align_dataset
from tests.conftest import write_catalogue
from tests.source_material import SPEC
from tests.test_near_duplicates import encoded, photo, write_shop

PICTURES = 40


def ids(items: tuple[Item, ...]) -> set[str]:
    return {item.id for item in items}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 pictures, each twice: saved anew, under another id and in a group of its own."""
    pictures = {
        f"{copy}-{seed:02}.jpg": encoded(photo(seed, 96), quality)
        for copy, quality in enumerate((90, 60))
        for seed in range(PICTURES)
    }
    products = [f"product {name}" for name in pictures]
    colors = [("red", "green")[index % 2] for index in range(len(pictures))]
    titles = [f"thing {name}" for name in pictures]
    return write_shop(tmp_path_factory.mktemp("shop") / "data", pictures, product=products, color=colors, title=titles)


@pytest.fixture(scope="module")
def sides(shop: Path) -> dict[str, set[str]]:
    return {name: ids(items) for name, items in decide_splits(read_catalogue(shop), group="product").items.items()}


def test_near_duplicates_lie_on_one_side_where_the_hash_of_their_groups_parts_them(
    shop: Path, sides: dict[str, set[str]]
) -> None:
    hashed = {name: ids(items) for name, items in split_items(read_catalogue(shop), group="product").items()}
    pairs = [(f"0-{seed:02}.jpg", f"1-{seed:02}.jpg") for seed in range(PICTURES)]
    assert any({one, other} & side in ({one}, {other}) for one, other in pairs for side in hashed.values())
    assert all({one, other} & side in (set(), {one, other}) for one, other in pairs for side in sides.values())
    assert set(sides) == {"train", "val", "test"}


def test_finetune_trains_selects_and_judges_by_it(shop: Path, sides: dict[str, set[str]]) -> None:
    texts = read_splits(shop, text=(), group="product")
    assert {"train": ids(texts.train), "val": ids(texts.val), "test": ids(texts.test)} == sides


def test_fuse_chooses_and_judges_by_it(
    shop: Path, sides: dict[str, set[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[DatasetSplits] = []

    def stopped(_: str, texts: DatasetSplits) -> None:
        read.append(texts)
        raise DataError("enough is known", remedy="")

    monkeypatch.setattr(fuse, "parse_fusion_options", stopped)
    with pytest.raises(DataError, match="enough is known"):
        fuse.fuse(FuseSettings(data=shop, encoder="none", out=tmp_path / "out", group="product"))
    assert {"train": ids(read[0].train), "val": ids(read[0].val), "test": ids(read[0].test)} == sides


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_evaluate_judges_by_it(split: str, shop: Path, sides: dict[str, set[str]]) -> None:
    judged, trained = judged_and_trained(read_catalogue(shop), split, group="product")
    assert ids(judged) == sides[split]
    assert ids(trained) == (set() if split == "train" else sides["train"])


def test_align_learns_and_judges_by_it(shop: Path, sides: dict[str, set[str]], tmp_path: Path) -> None:
    names = [item.id for item in read_catalogue(shop)]
    rows_ND = np.random.default_rng(0).normal(size=(len(names), 32))
    rows_ND /= np.linalg.norm(rows_ND, axis=1, keepdims=True)
    (tmp_path / "source").mkdir()
    spec = dataclasses.replace(SPEC, dim=32)
    write_source(tmp_path / "source", spec, [(names, rows_ND.astype(np.float16))], count=len(names))

    material = read_align_dataset(shop, tmp_path / "source", group="product")
    found = {"train": material.train.items, "val": material.select.items, "test": material.held_out.items}
    assert {name: ids(items) for name, items in found.items()} == sides


def test_a_decision_says_what_decided(shop: Path, tmp_path: Path) -> None:
    given = decide_splits(read_catalogue(write_catalogue(tmp_path / "given")), group="product")
    assert given.decided_by == COLUMN
    assert given.near_duplicates.pairs == ()  # nothing looked, for nothing was left to the hash

    (tmp_path / "folders").mkdir()
    for split in ("train", "val", "test"):
        write_shop(tmp_path / "folders" / split, {f"{split}.jpg": encoded(photo(0), 90)}, title=["thing"])
    folders = decide_splits(read_catalogue(tmp_path / "folders"), group=None, always_look=True)
    assert folders.decided_by == FOLDERS
    assert {name: len(items) for name, items in folders.items.items()} == {"train": 1, "val": 1, "test": 1}
    assert len(folders.near_duplicates.pairs) == 3

    assert decide_splits(read_catalogue(shop), group=None).decided_by == HASH


def test_evaluate_needs_no_look_at_the_pictures_for_all_of_them(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def look(*_: object, **__: object) -> None:
        raise DataError("looked", remedy="")

    monkeypatch.setattr("pinembed.catalogue.splits.find_near_duplicates", look)
    assert len(judged_and_trained(read_catalogue(shop), "all", group=None)[0]) == 2 * PICTURES

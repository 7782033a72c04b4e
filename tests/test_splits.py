"""Which items train, select and judge."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from pinembed.catalogue.captions import Captioner
from pinembed.catalogue.splits import check_group, items_of_split, label_items, split_items
from pinembed.errors import DataError, UsageError
from pinembed.nouns.item import Catalogue, Item


def catalogue(count: int, *, splits: tuple[str | None, ...] = (None,), per_product: int = 2) -> Catalogue:
    items = tuple(
        Item(
            id=f"i{place}",
            file_name=f"{place}.png",
            path=Path(f"{place}.png"),
            fields={"product": f"p{place // per_product}", "title": f"title {place}"},
            split=splits[place % len(splits)],
        )
        for place in range(count)
    )
    schema = pa.schema([("product", pa.string()), ("title", pa.string())])
    return Catalogue(root=Path("shop"), items=items, schema=schema, metadata=Path("shop/metadata.csv"))


def test_hashed_splits_are_80_10_10_and_keep_a_group_together() -> None:
    splits = split_items(catalogue(4000), group="product")
    assert {name: round(len(items) / 4000, 1) for name, items in splits.items()} == {
        "train": 0.8,
        "val": 0.1,
        "test": 0.1,
    }
    products = {name: {item.fields["product"] for item in items} for name, items in splits.items()}
    assert not products["train"] & products["val"]
    assert not products["train"] & products["test"]


def test_a_hashed_split_stays_the_same_when_items_arrive() -> None:
    before = {item.id for item in split_items(catalogue(1000), group="product")["val"]}
    after = {item.id for item in split_items(catalogue(1500), group="product")["val"]}
    assert before == {name for name in after if int(name[1:]) < 1000}


def test_a_split_column_is_respected() -> None:
    splits = split_items(catalogue(30, splits=("train", "val", "test")), group=None)
    assert {name: len(items) for name, items in splits.items()} == {"train": 10, "val": 10, "test": 10}


def test_a_train_split_without_val_gives_a_tenth_of_its_groups() -> None:
    splits = split_items(catalogue(4000, splits=("train", "train", "test", "test")), group="product")
    assert len(splits["test"]) == 2000
    assert len(splits["val"]) == pytest.approx(200, rel=0.3)
    assert not {item.fields["product"] for item in splits["val"]} & {item.fields["product"] for item in splits["train"]}


def test_an_unknown_split_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"--split gate does not occur in shop; found test, train"):
        items_of_split(catalogue(10, splits=("train", "test")), "gate", group=None)


def test_a_hashed_split_without_items_says_so() -> None:
    with pytest.raises(DataError, match=r"no split column, and the hash of product puts none of its 2 items into test"):
        items_of_split(catalogue(2), "test", group="product")


def test_all_items_are_a_split_too() -> None:
    assert len(items_of_split(catalogue(10, splits=("train", "test")), "all", group=None)) == 10


def test_an_unknown_group_is_refused_with_the_known_columns() -> None:
    with pytest.raises(UsageError, match=r"--group names brand, .* its columns are product, title"):
        check_group(catalogue(2), "brand")


def test_items_without_a_group_stand_alone() -> None:
    items = tuple(
        Item(id=str(place), file_name=str(place), path=Path(str(place)), fields={"product": value, "title": "same"})
        for place, value in enumerate(["a", None, "a", None])
    )
    labelled = label_items(items, Captioner(fields=("title",)), group="product")
    assert labelled.groups == ("a",)
    assert len(set(labelled.group_of_N.tolist())) == 3
    assert labelled.texts == ("same",)

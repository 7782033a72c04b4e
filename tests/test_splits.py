"""Which items train, select and judge."""

from __future__ import annotations

import csv
import dataclasses
import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from pinembed.catalogue.captions import Captioner
from pinembed.catalogue.folder import read_catalogue
from pinembed.catalogue.novelty import promises
from pinembed.catalogue.split_words import SPLIT_OF_WORD, split_named, split_of
from pinembed.catalogue.splits import check_group, is_hashed, items_of_split, label_items, split_items
from pinembed.errors import DataError, UsageError
from pinembed.nouns.item import Catalogue, Item
from tests.conftest import write_catalogue


def catalogue(count: int, *, splits: tuple[str | None, ...] = (None,), per_product: int = 2) -> Catalogue:
    items = tuple(
        Item(
            id=f"i{index}",
            file_name=f"{index}.png",
            path=Path(f"{index}.png"),
            fields={"product": f"p{index // per_product}", "title": f"title {index}"},
            split=splits[index % len(splits)],
        )
        for index in range(count)
    )
    schema = pa.schema([("product", pa.string()), ("title", pa.string())])
    return Catalogue(root=Path("shop"), items=items, schema=schema, metadata=Path("shop/metadata.csv"))


def found(shop: Catalogue, split: str, *, group: str | None = None) -> tuple[Item, ...]:
    return items_of_split(shop, split_items(shop, group=group), split, group=group)


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


def test_groups_that_share_a_picture_lie_on_one_side() -> None:
    shop = catalogue(2000)
    near_duplicates = [(index, index + 601) for index in range(0, 1200, 6)]
    splits = split_items(shop, group="product", near_duplicates=near_duplicates)
    side = {item.id: name for name, items in splits.items() for item in items}
    assert all(side[shop.items[one].id] == side[shop.items[other].id] for one, other in near_duplicates)
    products = {name: {item.fields["product"] for item in items} for name, items in splits.items()}
    assert not products["train"] & (products["val"] | products["test"])
    assert {name: round(len(items) / 2000, 1) for name, items in splits.items()} == {
        "train": 0.8,
        "val": 0.1,
        "test": 0.1,
    }


def test_copies_that_arrive_later_move_nothing_that_was_there() -> None:
    older, newer = catalogue(600), catalogue(1200)  # ids i0, i1, ... as a shop counts them up
    copies = [(index, 600 + index) for index in range(0, 600, 3)]
    before = {item.id: name for name, items in split_items(older, group="product").items() for item in items}
    after = {
        item.id: name
        for name, items in split_items(newer, group="product", near_duplicates=copies).items()
        for item in items
    }
    assert {identity: after[identity] for identity in before} == before
    assert all(after[f"i{one}"] == after[f"i{other}"] for one, other in copies)


def test_an_item_that_links_two_older_groups_brings_the_later_one_over() -> None:
    shop = catalogue(400, per_product=1)
    sides = {item.id: name for name, items in split_items(shop, group=None).items() for item in items}
    trained = next(index for index in range(400) if sides[f"i{index}"] == "train")
    judged = next(index for index in range(trained, 399) if sides[f"i{index}"] == "test")
    linked = split_items(shop, group=None, near_duplicates=[(trained, 399), (judged, 399)])
    moved = {item.id: name for name, items in linked.items() for item in items}
    assert moved[f"i{trained}"] == moved[f"i{judged}"] == moved["i399"] == "train"
    assert sum(moved[identity] != sides[identity] for identity in sides) <= 2


def test_a_split_column_is_respected() -> None:
    splits = split_items(catalogue(30, splits=("train", "val", "test")), group=None)
    assert {name: len(items) for name, items in splits.items()} == {"train": 10, "val": 10, "test": 10}


def test_a_train_split_without_val_gives_a_tenth_of_its_groups() -> None:
    splits = split_items(catalogue(4000, splits=("train", "train", "test", "test")), group="product")
    assert len(splits["test"]) == 2000
    assert len(splits["val"]) == pytest.approx(200, rel=0.3)
    assert not {item.fields["product"] for item in splits["val"]} & {item.fields["product"] for item in splits["train"]}


def test_a_given_split_is_not_changed_by_pictures_that_lie_on_both_sides() -> None:
    shop = catalogue(30, splits=("train", "val", "test"))
    assert split_items(shop, group=None, near_duplicates=[(0, 1), (0, 2)]) == split_items(shop, group=None)
    assert not is_hashed(shop)
    assert is_hashed(catalogue(4))
    assert is_hashed(catalogue(4, splits=("train", "test")))


def test_an_unknown_split_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"--split gate does not occur in shop; found test, train"):
        found(catalogue(10, splits=("train", "test")), "gate")


def test_a_hashed_split_without_items_says_so() -> None:
    with pytest.raises(DataError, match=r"no split column, and the hash of product puts none of its 2 items into test"):
        found(catalogue(2), "test", group="product")


def test_all_items_are_a_split_too() -> None:
    assert len(found(catalogue(10, splits=("train", "test")), "all")) == 10


def test_an_unknown_group_is_refused_with_the_known_columns() -> None:
    with pytest.raises(UsageError, match=r"--group names brand, .* its columns are product, title"):
        check_group(catalogue(2), "brand")


def test_items_without_a_group_stand_alone() -> None:
    items = tuple(
        Item(id=str(index), file_name=str(index), path=Path(str(index)), fields={"product": value, "title": "same"})
        for index, value in enumerate(["a", None, "a", None])
    )
    labelled = label_items(items, Captioner(fields=("title",)), group="product")
    assert labelled.groups == ("a",)
    assert len(set(labelled.group_of_N.tolist())) == 3
    assert labelled.texts == ("same",)


WORDS = [
    ("train", "validation", "test"),
    ("training", "valid", "testing"),
    ("Train", "dev", "EVAL"),
    ("train", "val", "evaluation"),
]


@pytest.mark.parametrize("words", WORDS, ids=lambda words: words[2])
def test_the_usual_words_for_splits_mean_the_same_as_column_folder_and_option(
    tmp_path, cli, tiny_encoder, words
) -> None:
    """`train`, `val` and `test` as a column, as folders with metadata of their own, and as --split."""
    column = write_catalogue(tmp_path / "column", views=5)
    named = dict(zip(("train", "val", "test"), words, strict=True))
    rows = list(csv.DictReader((column / "metadata.csv").open(encoding="utf-8")))
    folders = tmp_path / "folders"
    for split, word in named.items():
        of_split = [{**row} for row in rows if row["split"] == split]
        (folders / word / "images").mkdir(parents=True)
        for row in of_split:
            del row["split"]
            shutil.copy(column / row["file_name"], folders / word / row["file_name"])
        write_rows(folders / word / "metadata.csv", of_split)
    write_rows(column / "metadata.csv", [{**row, "split": named[row["split"]]} for row in rows])
    for data in (column, folders):
        assert read_catalogue(data).splits == ("test", "train", "val")
        for word, split in zip(words, ("train", "val", "test"), strict=True):
            found = cli("evaluate", data, "--encoder", tiny_encoder, "--split", word, "--text", "title", "--json")
            assert (found.exit_code, found.json["split"]) == (0, split)


def write_rows(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_the_words_are_those_of_hugging_face_datasets() -> None:
    assert {"train", "training", "validation", "valid", "dev", "val", "test", "testing", "eval", "evaluation"} == set(
        SPLIT_OF_WORD
    )
    assert split_named("eval") == "test"
    assert split_named("holdout") == "holdout"
    assert split_of("eval-kits/a.png") is None, "only a folder of that very name is a split"


def shelves(test_has: str) -> Catalogue:
    """20 kinds of 10 products of 4 photos; a fifth is test: every fifth photo, product, or kind."""
    items = []
    for index in range(800):
        product, kind = index // 4, index // 40
        place = {"photos": index, "products": product, "kinds": kind}[test_has]
        items.append(
            Item(
                id=f"i{index}",
                file_name=f"{index}.png",
                path=Path(f"{index}.png"),
                fields={"kind": f"k{kind}", "sku": product, "title": f"photo {index}", "color": f"c{index % 3}"},
                split="test" if place % 5 == 0 else "train",
            )
        )
    columns = (("kind", pa.string()), ("sku", pa.int64()), ("title", pa.string()), ("color", pa.string()))
    return Catalogue(root=Path("shop"), items=tuple(items), schema=pa.schema(columns), metadata=None)


@pytest.mark.parametrize(
    ("test_has", "val_has_new"),
    [("photos", set()), ("products", {"sku"}), ("kinds", {"sku", "kind"})],
)
def test_val_taken_from_train_has_new_what_test_has_new(test_has: str, val_has_new: set[str]) -> None:
    splits = split_items(shelves(test_has), group="kind")
    trained, selecting = splits["train"], splits["val"]
    assert 20 <= len(selecting) <= 120
    for column in ("sku", "kind"):
        known = {item.fields[column] for item in trained} & {item.fields[column] for item in selecting}
        assert bool(known) == (column not in val_has_new), column


def test_a_given_val_that_is_easier_than_test_is_told() -> None:
    shop = shelves("products")
    given = [
        dataclasses.replace(item, split="val") if item.split == "train" and index % 7 == 0 else item
        for index, item in enumerate(shop.items)
    ]
    trained, selecting, judged = ([item for item in given if item.split == name] for name in ("train", "val", "test"))
    told = promises(trained, selecting, judged, columns=shop.schema.names, group="kind")
    assert [sentence[:72] for sentence in told] == [
        "training knows the sku of 100% of val's images, and of 0% of test's: val"
    ]
    assert promises(trained, judged[:40], judged[40:], columns=shop.schema.names, group="kind") == []


def test_a_group_that_became_whole_floats_changes_no_side() -> None:
    sides = []
    for kind in (int, float):
        shop = catalogue(400)
        items = [dataclasses.replace(one, fields={"product": kind(one.fields["product"][1:])}) for one in shop]
        sides.append(split_items(dataclasses.replace(shop, items=tuple(items)), group="product"))
    assert [[one.id for one in found["val"]] for found in sides] == [[one.id for one in sides[0]["val"]]] * 2


@pytest.mark.parametrize(("word", "split"), [("Train ", "train"), (" gate ", "gate"), (" ", None)])
def test_spaces_around_a_split_count_for_nothing(word: str, split: str | None) -> None:
    assert split_of("a.png", word) == split

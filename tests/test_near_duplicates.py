"""Copies of a picture: found among others, kept on one side of a split, and told where a given split shares them."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pinembed.errors import DataError
from pinembed.images.near_duplicates import find_near_duplicates, near_duplicate_pairs
from pinembed.images.perceptual_hash import PerceptualHash, perceptual_hash
from pinembed.nouns.item import Item
from pinembed.nouns.progress import SILENT
from pinembed.training.datasets import read_splits
from tests.conftest import CliResult, write_catalogue


def photo(seed: int, side_px: int = 192) -> Image.Image:
    """Smooth blobs of colour, as different from each other as photos are."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((side_px, side_px), Image.Resampling.BICUBIC)


def encoded(picture: Image.Image, quality: int, side_px: int | None = None) -> bytes:
    file = io.BytesIO()
    (picture.resize((side_px, side_px)) if side_px else picture).save(file, "JPEG", quality=quality)
    return file.getvalue()


def looked_at(content: bytes) -> PerceptualHash:
    from pinembed.images.decode import decode_image

    return perceptual_hash(decode_image(content, name="photo", at_least_px=64))


def test_a_copy_that_was_encoded_anew_or_resized_is_alike() -> None:
    picture = photo(0)
    variants = [
        encoded(picture, 95),
        encoded(picture, 40),
        encoded(picture, 85, side_px=100),
    ]
    found = near_duplicate_pairs([looked_at(content) for content in variants])
    assert found.tolist() == [[0, 1], [0, 2], [1, 2]]


def test_other_pictures_are_not_alike_and_no_more_is_the_same_in_another_colour() -> None:
    red, green, blue = photo(0).split()
    others = [photo(seed) for seed in range(40)]
    recoloured = Image.merge("RGB", (blue, red, green))
    assert len(near_duplicate_pairs([looked_at(encoded(picture, 90)) for picture in (*others, recoloured)])) == 0


def test_pairs_do_not_depend_on_the_size_of_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = [looked_at(encoded(photo(seed % 7), 60 + seed)) for seed in range(30)]
    whole = near_duplicate_pairs(looks)
    monkeypatch.setattr("pinembed.images.near_duplicates.BLOCK_SCORES", 100)
    monkeypatch.setattr("pinembed.images.near_duplicates.PAIRS_AT_ONCE", 3)
    assert near_duplicate_pairs(looks).tolist() == whole.tolist()
    assert {(one % 7, other % 7) for one, other in whole.tolist()} == {(seed, seed) for seed in range(7)}
    assert all(one < other for one, other in whole.tolist())


def test_a_placeholder_that_very_many_show_is_paired_with_its_first_place_alone() -> None:
    shop = [looked_at(encoded(photo(1), 90)), *[looked_at(encoded(photo(0), 90))] * 300]
    assert near_duplicate_pairs(shop).tolist() == [[1, index] for index in range(2, 301)]


def test_a_large_jpeg_is_looked_at_small(tmp_path: Path) -> None:
    from pinembed.images.decode import decode_image

    assert decode_image(encoded(photo(0, 800), 80), name="photo", at_least_px=64).size == (100, 100)
    assert decode_image(encoded(photo(0, 800), 80), name="photo").size == (800, 800)


def write_shop(root: Path, pictures: dict[str, bytes], **columns: list[str]) -> Path:
    (root / "images").mkdir(parents=True)
    with (root / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file_name", "id", *columns])
        for index, (name, content) in enumerate(pictures.items()):
            (root / "images" / name).write_bytes(content)
            writer.writerow([f"images/{name}", name, *(values[index] for values in columns.values())])
    return root


def test_items_are_told_apart_by_files_that_are_the_same_and_pictures_that_are_alike(tmp_path: Path) -> None:
    contents = [encoded(photo(0), 90), encoded(photo(1), 90), encoded(photo(0), 90), encoded(photo(0), 50), b"no image"]
    items = []
    for index, content in enumerate(contents):
        path = tmp_path / f"{index}.jpg"
        path.write_bytes(content)
        items.append(Item(id=str(index), file_name=path.name, path=path))
    found = find_near_duplicates(items, root=tmp_path, progress=SILENT)
    assert sorted(found.pairs) == [(0, 2), (0, 3), (2, 3)]
    assert found.identical == {(0, 2)}
    assert found.broken == (4,)


def test_a_hashed_split_keeps_copies_under_other_ids_on_one_side(tmp_path: Path) -> None:
    # 60 pictures, each three times: by id alone half of them would lie on two sides
    pictures = {
        f"{copy}-{seed:02}.jpg": encoded(photo(seed, 96), quality)
        for copy, quality in enumerate((90, 70, 50))
        for seed in range(60)
    }
    titles = [f"thing {name.split('-')[1]}" for name in pictures]
    texts = read_splits(write_shop(tmp_path / "shop", pictures, title=titles), text=(), group=None)
    sides = [{item.id.split("-")[1] for item in items} for items in (texts.train, texts.val, texts.test)]
    assert sum(map(len, sides)) == 60
    assert min(map(len, sides)) > 0
    assert texts.report.leaks == ()
    assert texts.report.copies == 180


def test_finetune_tells_what_there_is_before_it_trains(
    cli: Callable[..., CliResult], tiny_encoder: Path, tmp_path: Path
) -> None:
    data = write_catalogue(tmp_path / "data", views=4)
    metadata = data / "metadata.csv"
    rows = list(csv.DictReader(metadata.open(encoding="utf-8")))
    rows[0]["title"] = ""
    rows[4]["title"] = rows[8]["title"]
    (data / rows[13]["file_name"]).write_bytes(b"broken")
    with metadata.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    result = cli(
        "finetune", data, "--base", tiny_encoder, "--out", tmp_path / "out", "--epochs", "1", "--group",
        "product", "--json",
    )  # fmt: skip
    train = result.json["data"]["splits"][0]
    assert train == {
        "split": "train", "images": 16, "broken": 1, "without_text": 1, "texts": 8, "repeated": 3, "groups": 8,
    }  # fmt: skip
    told = "train: 16 images of 8 groups, 8 texts (1 without text, 3 with a text that others have too, 1 broken)"
    assert told in result.stderr
    assert "warning: test has 8 group(s), few to tell a gain from luck by." in result.stderr
    assert result.stderr.index(told) < result.stderr.index("base:")


def test_finetune_refuses_a_gate_that_could_promote_nothing_also_for_scripts(
    cli: Callable[..., CliResult], catalogue_folder: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    metadata = catalogue_folder / "metadata.csv"
    rows = list(csv.DictReader(metadata.open(encoding="utf-8")))
    judging = [row for row in rows if row["split"] == "test"]
    for row in judging[3:]:
        row["split"] = "train"
    with metadata.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    result = cli("finetune", catalogue_folder, "--base", tiny_encoder, "--out", tmp_path / "out", "--json")
    assert result.exit_code == 1
    assert "has 3 item(s); with fewer than 5 the gate can promote nothing" in result.json["error"]["message"]
    assert not (tmp_path / "out").exists()


def test_a_hash_that_leaves_nothing_to_judge_by_is_refused_and_a_column_without_test_is_not(tmp_path: Path) -> None:
    pictures = {f"{index:02}.jpg": encoded(photo(index, 96), 80) for index in range(40)}
    titles = [f"thing {index}" for index in range(40)]
    kinds = [f"kind {index % 2}" for index in range(40)]  # two groups: the hash has no third for test
    with pytest.raises(DataError, match=r"fewer than 2 distinct texts|test split .* has 0 item\(s\)"):
        read_splits(write_shop(tmp_path / "hashed", pictures, title=titles, kind=kinds), text=(), group="kind")
    splits = ["val" if index % 4 == 0 else "train" for index in range(40)]
    texts = read_splits(write_shop(tmp_path / "given", pictures, title=titles, split=splits), text=(), group=None)
    assert any("there is no test split" in warning for warning in texts.report.warnings)


def test_a_placeholder_that_many_items_show_is_named(tmp_path: Path) -> None:
    pictures = {f"{index:02}.jpg": encoded(photo(index if index % 5 else 0, 96), 80) for index in range(60)}
    splits = [("train", "train", "val", "test")[index % 4] for index in range(60)]
    shop = write_shop(tmp_path / "shop", pictures, title=[f"thing {index}" for index in range(60)], split=splits)
    texts = read_splits(shop, text=(), group=None)
    assert any("12 of 60 images show what images/00.jpg shows" in warning for warning in texts.report.warnings)
    assert {(leak.split, leak.also_in) for leak in texts.report.leaks} == {
        ("test", "train"), ("test", "val"), ("val", "train"),
    }  # fmt: skip

"""The demo: the whole way on a few of the sample shop's products."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest

from pinembed.jobs import demo as demo_module

SAMPLES = Path(__file__).parent.parent / "sample_images"
PRODUCTS_OF_SPLIT = {"train": 5, "val": 2, "test": 2}


@pytest.fixture
def small_shop(tmp_path: Path) -> Path:
    """Nine products of the sample shop."""
    with (SAMPLES / "metadata.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    products: dict[str, list[str]] = {split: [] for split in PRODUCTS_OF_SPLIT}
    for row in rows:
        wanted = products[row["split"]]
        if row["product"] not in wanted and len(wanted) < PRODUCTS_OF_SPLIT[row["split"]]:
            wanted.append(row["product"])
    kept = [row for row in rows if row["product"] in products[row["split"]]]
    folder = tmp_path / "shop"
    (folder / "images").mkdir(parents=True)
    for row in kept:
        shutil.copy(SAMPLES / row["file_name"], folder / row["file_name"])
    with (folder / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(kept)
    return folder


def test_demo_goes_the_whole_way_and_tells_what_each_step_took(cli, small_shop, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(demo_module, "EPOCHS", 2)
    monkeypatch.setattr(demo_module, "ALIGN_EPOCHS", 1)
    out = tmp_path / "demo"
    result = cli("demo", "--data", small_shop, "--out", out, "--json")
    assert result.exit_code == 0, result.stderr
    steps = {step["name"]: step for step in result.json["steps"]}
    assert steps["encode"]["result"] == "36 added, 0 unchanged, 0 failed"
    assert steps["encode again"]["result"] == "0 added, 36 unchanged, 0 failed"
    assert steps["learn what simulated shoppers like"]["result"].endswith("drawn events of 100 shoppers")
    likes = next(step for name, step in steps.items() if name.startswith("recommend to one of them, who likes"))
    assert "each with its reason: " in likes["result"]
    assert steps["verify every byte of it"]["result"] == "whole"
    assert "4 of 4 comparisons with the full model equal" in steps["take its vision tower out"]["result"]
    assert result.json["evaluation"]["images"] == 8
    asked = [answer["id"].partition(" of ") for answer in result.json["answers"]]
    assert [field for field, _, _ in asked] == ["category", "color", "pattern"] * (len(asked) // 3)
    assert len({item.partition("-")[0] for _, _, item in asked}) == len(asked) // 3
    right = [
        answer["answer"] == item.split("-")[index % 3]
        for index, (answer, (_, _, item)) in enumerate(zip(result.json["answers"], asked, strict=True))
    ]
    last = steps["ask about an unseen product of each category, without its picture"]
    assert f"{sum(right)} of {len(asked)} answers right" in last["result"]
    talked = steps["talk about the catalogue, three turns"]["result"]
    assert talked.startswith("search, modify, about; 'What is the color of the first one?': ")
    assert all(Path(step["path"]).exists() for step in steps.values() if step["path"])
    assert (out / "taste.png").read_bytes().startswith(b"\x89PNG")
    assert (out / "search.png").read_bytes().startswith(b"\x89PNG")

    again = cli("demo", "--data", small_shop, "--out", out)
    assert again.exit_code == 1
    assert "the output needs a new or empty folder" in again.words

    (out / "mine.txt").write_text("a stranger's file")
    kept = cli("demo", "--data", small_shop, "--out", out, "--overwrite")
    assert kept.exit_code == 1
    assert "holds 1 file(s) that pinembed did not write: mine.txt" in kept.words
    assert (out / "mine.txt").is_file()


def test_demo_without_the_sample_shop_names_the_remedy(cli, tmp_path) -> None:
    result = cli("demo", "--data", tmp_path / "nowhere", "--out", tmp_path / "demo")
    assert result.exit_code == 1
    assert "The sample shop is not at" in result.words
    assert "give --data with the folder sample_images" in result.words

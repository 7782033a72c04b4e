"""Align's held-out items: which of them have nearly the embedding of a training item, and that they are named."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pinembed.errors import UsageError
from pinembed.jobs import align as run
from pinembed.nouns.progress import Silent
from pinembed.settings.model import AlignSettings
from pinembed.source.writer import write_source
from pinembed.trimmed.align_dataset import AlignDataset, nearly_equal_pairs, read_align_dataset
from tests.source_material import SPEC

D = 32


def unit_rows(count: int, *, seed: int = 0) -> NDArray[np.float32]:
    rows_ND = np.random.default_rng(seed).normal(size=(count, D))
    return (rows_ND / np.linalg.norm(rows_ND, axis=1, keepdims=True)).astype(np.float32)


def turned(row_D: NDArray[np.float32], *, cosine: float, seed: int) -> NDArray[np.float32]:
    """A row of norm 1 with exactly this cosine to another."""
    across_D = np.random.default_rng(seed).normal(size=D)
    across_D -= across_D @ row_D * row_D
    across_D /= np.linalg.norm(across_D)
    return (cosine * row_D + np.sqrt(1 - cosine**2) * across_D).astype(np.float32)


def write_catalogue(folder: Path, *, items: int, splits: list[str] | None = None) -> Path:
    folder.mkdir(parents=True)
    with (folder / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file_name", "id", "color", *(["split"] if splits else [])])
        for number in range(items):
            (folder / f"{number}.png").touch()
            writer.writerow([f"{number}.png", f"i{number}", "red", *([splits[number]] if splits else [])])
    return folder


def write_rows(folder: Path, rows_ND: NDArray[np.float32]) -> Path:
    spec = dataclasses.replace(SPEC, dim=D)
    folder.mkdir(parents=True)
    ids = [f"i{number}" for number in range(len(rows_ND))]
    write_source(folder, spec, [(ids, rows_ND.astype(np.float16))], count=len(ids))
    return folder


def sides(material: AlignDataset) -> dict[str, str]:
    parts = {"train": material.train, "val": material.select, "test": material.held_out}
    return {item.id: name for name, rows in parts.items() for item in rows.items}


def test_pairs_are_the_rows_that_are_equal_or_nearly_so() -> None:
    rows_ND = unit_rows(300)
    rows_ND[7] = rows_ND[200]
    rows_ND[250] = turned(rows_ND[20], cosine=0.997, seed=1)
    rows_ND[260] = turned(rows_ND[30], cosine=0.99, seed=2)
    assert nearly_equal_pairs(rows_ND).tolist() == [[7, 200], [20, 250]]


def test_pairs_tie_a_crowd_of_equal_rows_to_its_first() -> None:
    rows_ND = unit_rows(80)
    rows_ND[10:70] = rows_ND[10]
    assert nearly_equal_pairs(rows_ND).tolist() == [[10, index] for index in range(11, 70)]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_pairs_of_hardly_any_rows_are_none(count: int) -> None:
    assert nearly_equal_pairs(unit_rows(count)).shape == (0, 2)


def test_nearly_equal_embeddings_do_not_move_a_hashed_split_and_are_named(tmp_path: Path) -> None:
    rows_ND = unit_rows(200)
    data = write_catalogue(tmp_path / "data", items=200)
    before = sides(material := read_align_dataset(data, write_rows(tmp_path / "source", rows_ND), group=None))
    assert set(before.values()) == {"train", "val", "test"}
    assert material.copies == ()

    for number in range(100):
        rows_ND[100 + number] = turned(rows_ND[number], cosine=0.9985, seed=number)
    material = read_align_dataset(data, write_rows(tmp_path / "other source", rows_ND), group=None)
    assert sides(material) == before
    across = {
        (f"i{here}", f"i{there}")
        for one in range(100)
        for here, there in ((one, 100 + one), (100 + one, one))
        if (before[f"i{here}"], before[f"i{there}"]) == ("test", "train")
    }
    assert across
    assert set(material.copies) == across


def test_every_held_out_item_of_a_crowd_of_equal_embeddings_is_named(tmp_path: Path) -> None:
    rows_ND = unit_rows(40)
    rows_ND[18:36] = rows_ND[18]  # the first of the crowd is held out
    splits = ["test"] * 20 + ["val"] * 5 + ["train"] * 15
    data = write_catalogue(tmp_path / "data", items=40, splits=splits)
    material = read_align_dataset(data, write_rows(tmp_path / "source", rows_ND), group=None)
    assert material.copies == (("i18", "i25"), ("i19", "i25"))


def test_copies_across_a_given_split_stay_where_they_are_and_are_told(
    trimmed_qwen3vl: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows_ND = unit_rows(40)
    rows_ND[39] = rows_ND[3]
    splits = ["train"] * 20 + ["val"] * 10 + ["test"] * 10
    data = write_catalogue(tmp_path / "data", items=40, splits=splits)
    source = write_rows(tmp_path / "source", rows_ND)
    assert sides(material := read_align_dataset(data, source, group=None))["i39"] == "test"
    assert material.copies == (("i39", "i3"),)

    said: list[str] = []
    monkeypatch.setattr(Silent, "say", lambda _, text: said.append(text))
    settings = AlignSettings(data=data, model=trimmed_qwen3vl, source=source, out=tmp_path / "out", fields=("shape",))
    with pytest.raises(UsageError, match="--fields names shape"):  # told before anything takes time
        run.align(settings)
    assert said == [
        "1 test item(s) have nearly the embedding of a training item, e.g. i39 that of i3: positives about such "
        "say little about unseen items."
    ]


def test_an_unknown_group_column_is_refused(tmp_path: Path) -> None:
    data, source = write_catalogue(tmp_path / "data", items=40), write_rows(tmp_path / "source", unit_rows(40))
    with pytest.raises(UsageError, match=r"--group names kind, which .* does not have; its columns are"):
        read_align_dataset(data, source, group="kind")

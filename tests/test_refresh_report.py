"""The report's parts: a map that does not jump, items that are found better or worse, and what a page escapes."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pinembed.nightly.atlas import make_atlas, read_atlas, write_atlas
from pinembed.nightly.charts import draw
from pinembed.nightly.figures import wilson
from pinembed.nightly.neighbours import neighbour_changes
from pinembed.nightly.pictures import Pictures
from pinembed.nightly.sample import Sample, SampleRow
from pinembed.reports.refresh import MetricRow


def sample(vector_ND: np.ndarray, groups: list[str], *, ids: list[str] | None = None) -> Sample:
    ids = ids or [f"item-{number}" for number in range(len(groups))]
    rows = tuple(
        SampleRow(id=item, path=Path("nowhere.png"), title=f"<b>{item}</b>", group=group)
        for item, group in zip(ids, groups, strict=True)
    )
    unit_ND = vector_ND / np.linalg.norm(vector_ND, axis=1, keepdims=True)
    return Sample(rows=rows, vector_ND=unit_ND.astype(np.float32))


@pytest.fixture
def drawn() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((40, 8)) * np.linspace(3, 0.2, 8)


def test_an_item_stays_in_its_place_while_the_encoder_stays(drawn: np.ndarray, tmp_path: Path) -> None:
    first = make_atlas(sample(drawn[:30], [""] * 30), "one", None)
    write_atlas(first, tmp_path)
    kept = read_atlas(tmp_path)
    second = make_atlas(sample(drawn, [""] * 40), "one", kept)
    assert np.abs(second.place_N2[:30] - first.place_N2).max() < 1e-4


def test_a_new_encoder_that_turns_the_space_leaves_the_map_as_it_was(drawn: np.ndarray) -> None:
    turn, _ = np.linalg.qr(np.random.default_rng(1).standard_normal((8, 8)))
    first = make_atlas(sample(drawn, [""] * 40), "one", None)
    second = make_atlas(sample(drawn @ turn, [""] * 40), "two", first)
    assert np.abs(second.place_N2 - first.place_N2).max() < 1e-3
    third = make_atlas(sample(drawn @ turn, [""] * 40), "two", dataclasses.replace(second))
    assert np.abs(third.place_N2 - second.place_N2).max() < 1e-3


def test_a_map_of_nothing_and_of_one_item_can_be_made() -> None:
    assert make_atlas(sample(np.ones((1, 4)), [""]), "one", None).place_N2.shape == (1, 2)


def test_no_earlier_map_is_none(tmp_path: Path) -> None:
    assert read_atlas(tmp_path) is None
    (tmp_path / "map.parquet").write_text("{}")
    assert read_atlas(tmp_path) is None


def test_items_are_ranked_by_how_their_own_kind_is_found() -> None:
    groups = ["a", "a", "b", "b"]
    apart = np.array([[1, 0.1], [1, 0], [0, 1], [0.1, 1]], dtype=float)
    mixed = np.array([[1, 0.1], [0, 1], [1, 0], [0.1, 1]], dtype=float)
    changes = neighbour_changes(sample(mixed, groups), sample(apart, groups))
    assert [change.after for change in changes] == [1.0] * 4
    assert all(change.before < 1 for change in changes)
    assert [row.id for row in changes[0].new][:1] in (["item-1"], ["item-0"], ["item-3"], ["item-2"])
    worse = neighbour_changes(sample(apart, groups), sample(mixed, groups))
    assert worse[0].change < 0


def test_items_without_another_of_their_kind_tell_nothing() -> None:
    vectors = np.eye(3)
    assert neighbour_changes(sample(vectors, ["a", "b", "c"]), sample(vectors, ["a", "b", "c"])) == []
    assert neighbour_changes(sample(vectors, [""] * 3), sample(vectors, [""] * 3)) == []


def test_a_drawing_escapes_what_it_is_told_and_shows_every_generation() -> None:
    points = [
        MetricRow(generation=number, at="", name="map", value=0.5 + number / 10, low=0.4, high=0.9) for number in (1, 2)
    ]
    svg = draw("<script>", points)
    assert "<script>" not in svg
    assert svg.count("<circle") == 2
    assert "generation 2: 0.7 (0.4 to 0.9)" in svg
    assert draw("one", points[:1]).count("<line") == 1


def test_the_interval_of_a_share_is_wilsons() -> None:
    assert wilson(0.5, 100) == pytest.approx((0.4038, 0.5962), abs=1e-4)
    assert wilson(1.0, 10)[1] == 1.0
    assert wilson(0.0, 0) == (0.0, 1.0)


def rows_with_pictures(folder: Path, numbers: range) -> list[SampleRow]:
    rows = []
    for number in numbers:
        path = folder / f"{number}.png"
        Image.new("RGB", (8, 8), (number, 0, 0)).save(path)
        rows.append(SampleRow(id=str(number), path=path, title="", group="", content=f"{number:016x}"))
    return rows


def test_a_night_writes_only_the_pictures_that_are_new_to_it(tmp_path: Path) -> None:
    report, shown = None, 40
    for night in range(60):
        rows = rows_with_pictures(tmp_path, range(night, night + shown))
        pictures, made = Pictures(report), tmp_path / f"report-{night}"
        data = [pictures.make(row, 8) for row in rows]
        pictures.write(made)
        packs = sorted((made / "pictures").iterdir())
        own = [pack for pack in packs if pack.stat().st_nlink == 1]
        assert sum(len(json.loads(pack.read_text())) for pack in packs) <= 2 * shown
        assert len(packs) <= 8
        if night:
            assert len(own) == 1
        read = Pictures(made)
        assert [read.get(row.content, 8) for row in rows] == data
        assert all(address.startswith("data:image/webp") for address in data)
        report = made


def test_a_picture_that_is_gone_is_empty_until_it_is_back(tmp_path: Path) -> None:
    [row] = rows_with_pictures(tmp_path, range(1))
    row.path.unlink()
    pictures = Pictures(None)
    assert pictures.make(row, 8) == ""
    pictures.write(tmp_path / "one")
    rows_with_pictures(tmp_path, range(1))
    assert Pictures(tmp_path / "one").make(row, 8) != ""

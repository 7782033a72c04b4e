"""The report's parts: a map that does not jump, items that are found better or worse, and what a page escapes."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pinembed.nightly.atlas import make_atlas, read_atlas, write_atlas
from pinembed.nightly.charts import draw
from pinembed.nightly.history import wilson
from pinembed.nightly.pictures import Pictures
from pinembed.nightly.sample import Sample, SampleRow, neighbour_changes
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


def clusters(count: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Items in ten groups that lie apart in 32 dimensions, and the number of each item's group."""
    rng = np.random.default_rng(0)
    group_N = np.arange(count) % 10
    return rng.standard_normal((10, 32))[group_N] + 0.3 * np.random.default_rng(seed).standard_normal(
        (count, 32)
    ), group_N


def share_beside_their_group(place_N2: np.ndarray, group_N: np.ndarray) -> float:
    apart_NN = np.linalg.norm(place_N2[:, None] - place_N2[None], axis=-1)
    np.fill_diagonal(apart_NN, np.inf)
    return float((group_N[apart_NN.argmin(axis=1)] == group_N).mean())


def test_with_its_extra_the_map_keeps_neighbours_together_and_begins_where_the_last_one_was(tmp_path: Path) -> None:
    pytest.importorskip("openTSNE", reason="the extra `map` is not installed")
    vector_ND, group_N = clusters(200, seed=1)
    first = make_atlas(sample(vector_ND[:180], [""] * 180), "one", None)
    assert first.axes_2D is None
    assert share_beside_their_group(first.place_N2, group_N[:180]) > 0.95
    assert np.array_equal(first.place_N2, make_atlas(sample(vector_ND[:180], [""] * 180), "one", None).place_N2)
    write_atlas(first, tmp_path)
    second = make_atlas(sample(vector_ND, [""] * 200), "one", read_atlas(tmp_path))
    assert np.abs(second.place_N2[:180] - first.place_N2).max() < 1e-3
    assert share_beside_their_group(second.place_N2, group_N) > 0.9
    turned = make_atlas(sample(clusters(200, seed=2)[0], [""] * 200), "two", second)
    middles = [
        np.array([atlas.place_N2[group_N == group].mean(axis=0) for group in range(10)]) for atlas in (second, turned)
    ]
    moved, between = (
        np.linalg.norm(one - other, axis=1).mean() for one, other in (middles, (middles[0], middles[0][::-1]))
    )
    assert moved < 0.5 * between


@pytest.mark.parametrize("fingerprint", ["one", "two"])
def test_a_map_of_t_sne_is_gone_on_with_where_the_extra_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fingerprint: str
) -> None:
    monkeypatch.setitem(sys.modules, "openTSNE", None)
    vector_ND, _ = clusters(110, seed=1)
    by_axes = make_atlas(sample(vector_ND[:100], [""] * 100), "one", None)
    assert by_axes.axes_2D is not None
    write_atlas(dataclasses.replace(by_axes, axes_2D=None, mean_D=None), tmp_path)
    last = read_atlas(tmp_path)
    assert last is not None
    assert last.axes_2D is None
    made = make_atlas(sample(vector_ND, [""] * 110), fingerprint, last)
    assert (made.axes_2D is None) == (fingerprint == "one")
    assert np.abs(made.place_N2[:100] - by_axes.place_N2).max() < (1e-6 if fingerprint == "one" else 0.5)
    inside = (made.place_N2.min(axis=0) >= by_axes.place_N2.min(axis=0)).all()
    assert inside or fingerprint == "two"
    (tmp_path / "next").mkdir()
    write_atlas(made, tmp_path / "next", last=tmp_path)
    again = read_atlas(tmp_path / "next")
    assert again is not None
    assert (again.fingerprint, again.axes_2D is None) == (fingerprint, made.axes_2D is None)


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

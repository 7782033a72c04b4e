"""Encoding with an encoder whose items are image and metadata: what a vector depends on, and what is not done twice."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from pinembed.encoder.encoder import Encoder, load_encoder
from pinembed.encoder.fusion import fuse, write_fusion
from pinembed.errors import EncoderMismatchError
from pinembed.images.decode import read_image
from pinembed.images.preprocess import preprocess
from pinembed.jobs.encode import encode
from pinembed.jobs.export import export
from pinembed.jobs.search import search
from pinembed.nouns.encoder_spec import make_fusion
from pinembed.nouns.progress import SILENT, Progress
from pinembed.reports.encode import EncodeReport
from pinembed.settings.encoding import EncodeSettings, SearchSettings
from pinembed.settings.source import ExportSettings
from tests.conftest import Said
from tests.encoding import counts, rows_of, touch

WEIGHTS = {"image": 0.6, "title": 0.3, "color": 0.1}
ONE = "red-circle-0"


@pytest.fixture(scope="module")
def fusing_encoder(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = shutil.copytree(tiny_encoder, tmp_path_factory.mktemp("fusing") / "encoder")
    write_fusion(folder, make_fusion(WEIGHTS, {"color": "something {}"}))
    return folder


@pytest.fixture(scope="module")
def loaded(fusing_encoder: Path) -> Encoder:
    return load_encoder(str(fusing_encoder))


@pytest.fixture
def table(tmp_path: Path) -> str:
    return str(tmp_path / "catalog" / "pins")


@pytest.fixture
def run(catalogue_folder: Path, table: str, fusing_encoder: Path) -> Callable[..., EncodeReport]:
    def encode_folder(*, progress: Progress = SILENT, **changes: Any) -> EncodeReport:
        given = {"table": table, "encoder": str(fusing_encoder), "workers": 1, **changes}
        return encode(EncodeSettings(images=catalogue_folder, **given), progress=progress)

    return encode_folder


def change_metadata(folder: Path, item_id: str, **values: str) -> None:
    with (folder / "metadata.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        if row["id"] == item_id:
            row.update(values)
    with (folder / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def expected_vector(encoder: Encoder, image: Path, title: str | None, color: str | None) -> np.ndarray[Any, Any]:
    pixels_BCHW = torch.from_numpy(preprocess(read_image(image), encoder.preprocessing))[None]
    image_1D = encoder.embed_images(pixels_BCHW).numpy()
    texts = [f"something {color}" if color else None, title]
    text_F1D = np.stack([encoder.embed_texts([text]).numpy() if text else np.zeros_like(image_1D) for text in texts])
    return fuse(image_1D, text_F1D, WEIGHTS["image"], [WEIGHTS["color"], WEIGHTS["title"]])[0]


def is_close(vector: list[float], expected_D: np.ndarray[Any, Any]) -> bool:
    return bool(np.abs(np.asarray(vector, dtype=np.float32) - expected_D).max() < 2e-3)


def test_encode_stores_the_mean_of_image_and_texts(
    run: Callable[..., EncodeReport], table: str, catalogue_folder: Path, loaded: Encoder
) -> None:
    change_metadata(catalogue_folder, "blue-square-1", title="", color="")
    change_metadata(catalogue_folder, "blue-square-2", title="")
    assert counts(run()) == {"added": 24}
    rows = rows_of(table)
    for item_id, title, color in (
        (ONE, "A red circle", "red"),
        ("blue-square-1", None, None),
        ("blue-square-2", None, "blue"),
    ):
        expected_D = expected_vector(loaded, catalogue_folder / f"images/{item_id}.png", title, color)
        assert is_close(rows[item_id]["vector"], expected_D), item_id
    assert rows["blue-square-1"]["vector"] == rows["blue-square-1"]["image_vector"]
    assert rows[ONE]["vector"] != rows[ONE]["image_vector"]


def test_new_title_changes_its_own_vector_without_reading_an_image(
    run: Callable[..., EncodeReport], table: str, catalogue_folder: Path, loaded: Encoder
) -> None:
    run()
    before = rows_of(table)
    change_metadata(catalogue_folder, ONE, title="Completely other words")
    report = run()
    assert (counts(report), report.counts.encoded) == ({"updated": 1, "unchanged": 23}, 0)
    after = rows_of(table)
    expected_D = expected_vector(loaded, catalogue_folder / f"images/{ONE}.png", "Completely other words", "red")
    assert is_close(after[ONE]["vector"], expected_D)
    assert {item: row for item, row in after.items() if item != ONE} == {
        item: row for item, row in before.items() if item != ONE
    }


def test_new_price_leaves_the_vector_and_loads_no_text_tower(
    run: Callable[..., EncodeReport], table: str, catalogue_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run()
    vector = rows_of(table)[ONE]["vector"]
    change_metadata(catalogue_folder, ONE, price="99.0")
    monkeypatch.setattr("pinembed.encoder.encoder.build_encoder", None)
    assert counts(run()) == {"updated": 1, "unchanged": 23}
    row = rows_of(table)[ONE]
    assert (row["price"], row["vector"]) == (99.0, vector)


def test_vector_does_not_depend_on_the_run_that_met_the_content(
    run: Callable[..., EncodeReport], table: str, catalogue_folder: Path, tmp_path: Path
) -> None:
    title = "The words of today"
    run()
    change_metadata(catalogue_folder, ONE, title=title)
    run()
    at_once = str(tmp_path / "catalog" / "again")
    run(table=at_once)
    assert rows_of(table)[ONE]["vector"] == rows_of(at_once)[ONE]["vector"]


def test_one_picture_under_two_titles_is_encoded_once_and_has_two_vectors(
    run: Callable[..., EncodeReport], table: str, catalogue_folder: Path, loaded: Encoder
) -> None:
    copy = catalogue_folder / "images/blue-circle-0.png"
    shutil.copyfile(catalogue_folder / f"images/{ONE}.png", copy)
    report = run()
    assert (counts(report), report.counts.encoded) == ({"added": 23, "duplicate": 1}, 23)
    rows = rows_of(table)
    assert rows[ONE]["image_vector"] == rows["blue-circle-0"]["image_vector"]
    assert is_close(rows["blue-circle-0"]["vector"], expected_vector(loaded, copy, "A blue circle", "blue"))
    assert is_close(rows[ONE]["vector"], expected_vector(loaded, copy, "A red circle", "red"))


def test_known_content_under_a_new_file_takes_the_words_of_its_own_row(
    run: Callable[..., EncodeReport], table: str, catalogue_folder: Path, loaded: Encoder
) -> None:
    run()
    copy = catalogue_folder / "images/blue-circle-0.png"
    shutil.copyfile(catalogue_folder / f"images/{ONE}.png", copy)
    touch(copy)
    report = run()
    assert report.counts.encoded == 0
    rows = rows_of(table)
    assert is_close(rows["blue-circle-0"]["vector"], expected_vector(loaded, copy, "A blue circle", "blue"))


def test_table_of_the_images_alone_refuses_the_fused_encoder(
    run: Callable[..., EncodeReport], tiny_encoder: Path
) -> None:
    run(encoder=str(tiny_encoder))
    with pytest.raises(EncoderMismatchError, match="holds"):
        run()


def test_encode_without_metadata_says_what_is_lacking_and_stores_the_images(
    catalogue_folder: Path, table: str, fusing_encoder: Path, cli: Callable[..., Any]
) -> None:
    (catalogue_folder / "metadata.csv").unlink()
    result = cli("encode", catalogue_folder, "--table", table, "--encoder", fusing_encoder, "--json")
    assert result.exit_code == 0
    assert "the metadata has no column color, title; items are fused without" in result.words
    row = rows_of(table)["images/red-circle-0.png"]
    assert row["vector"] == row["image_vector"]


def test_inspect_says_what_an_item_is(run: Callable[..., EncodeReport], table: str, cli: Callable[..., Any]) -> None:
    run()
    result = cli("inspect", "--table", table, "--json")
    assert "image 0.6, color 0.1, title 0.3" in result.words
    assert result.json["encoder"]["fusion"]["image"] == 0.6


def test_search_asks_with_bare_texts_and_images_and_shows_no_vector(
    run: Callable[..., EncodeReport], table: str, catalogue_folder: Path, loaded: Encoder
) -> None:
    run()
    rows = rows_of(table)
    by_text = search(SearchSettings(table=table, text="A red circle", k=3))
    query_D = loaded.embed_texts(["A red circle"]).numpy()[0]
    best = max(rows, key=lambda item: float(np.asarray(rows[item]["vector"], np.float32) @ query_D))
    assert by_text.results[0].id == best
    assert not {"vector", "image_vector"} & set(by_text.results[0].fields)
    by_image = search(SearchSettings(table=table, image=catalogue_folder / f"images/{ONE}.png", k=3))
    image_D = np.asarray(rows[ONE]["image_vector"], np.float32)
    best = max(rows, key=lambda item: float(np.asarray(rows[item]["vector"], np.float32) @ image_D))
    assert by_image.results[0].id == best
    assert search(SearchSettings(table=table, item=ONE, k=3)).results[0].id != ONE


def test_export_hands_on_the_items_vectors_only(run: Callable[..., EncodeReport], table: str, tmp_path: Path) -> None:
    run()
    export(ExportSettings(table=table, out=tmp_path / "parquet", format="parquet"))
    exported = pq.read_table(sorted((tmp_path / "parquet").glob("*.parquet")))
    assert "image_vector" not in exported.column_names
    vectors = dict(zip(exported["id"].to_pylist(), exported["vector"].to_pylist(), strict=True))
    assert vectors == {item: row["vector"] for item, row in rows_of(table).items()}


def test_encode_tells_of_fused_texts_that_are_cut(run: Callable[..., EncodeReport], catalogue_folder: Path) -> None:
    said = Said()
    run(progress=said)
    assert not any("are cut" in line for line in said.lines)
    for item_id in (ONE, "blue-square-1"):
        change_metadata(catalogue_folder, item_id, title="a very long description that says nothing " * 4 + item_id)
    run(progress=said)
    assert (
        "texts in items' vectors: 2 of 4 texts are longer than the 16 tokens that the encoder reads: 0 are shortened "
        "to whole fields and sentences, 2 are cut; 1 become equal to another one. Fuse columns of shorter texts with "
        "`pinembed fuse --fusion`."
    ) in said.lines

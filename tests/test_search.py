"""search: by text, by picture and by item, and a sheet to look at."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pinembed.encoder.encoder import Encoder, load_encoder
from pinembed.encoding.run_backend import BackendOfRun
from pinembed.jobs.encode import encode
from pinembed.jobs.search import search
from pinembed.reports.table import SearchResult
from pinembed.settings.encoding import EncodeSettings, SearchSettings
from pinembed.table.embedding_table import EmbeddingTable
from tests.conftest import CliResult, draw_item, encoded_shop, make_encoder

Cli = Callable[..., CliResult]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be changed."""
    return encoded_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture
def table(shop: Path) -> str:
    return str(shop / "db/pins")


def test_search_by_text_ranks_by_cosine_as_numpy_does(shop: Path, table: str) -> None:
    opened = EmbeddingTable.open(table)
    rows = [row for batch in opened.batches(["id", "vector"]) for row in batch.to_pylist()]
    query = load_encoder(str(shop / "encoder")).embed_texts(["a red circle"])[0].numpy()
    scores = np.array([row["vector"] for row in rows], np.float32) @ query
    best = np.argsort(-scores, kind="stable")[:5]

    report = search(SearchSettings(table=table, text="a red circle", k=5))

    assert [hit.rank for hit in report.results] == [1, 2, 3, 4, 5]
    np.testing.assert_allclose([hit.score for hit in report.results], scores[best], atol=2e-3)
    assert report.results[0].id == rows[best[0]]["id"]


def test_search_by_image_finds_that_image_first(shop: Path, table: str) -> None:
    report = search(SearchSettings(table=table, image=shop / "data/images/blue-square-0.png", k=3))

    assert report.results[0].id == "blue-square-0"
    assert report.results[0].score == pytest.approx(1, abs=2e-3)


def test_search_by_image_embeds_the_very_pixels_that_encode_stored(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw_item("blue", "square", 0, side_px=200).save(tmp_path / "photo.jpg", quality=85)
    table = str(tmp_path / "db/photos")
    seen: list[NDArray[np.uint8]] = []
    submit = BackendOfRun.submit
    monkeypatch.setattr(
        BackendOfRun, "submit", lambda self, pixels_BCHW: (seen.append(pixels_BCHW), submit(self, pixels_BCHW))[1]
    )
    encode(EncodeSettings(images=tmp_path, table=table, encoder=str(shop / "encoder"), workers=1, dtype="fp32"))
    embed = Encoder.embed_images
    monkeypatch.setattr(
        Encoder, "embed_images", lambda self, pixels: (seen.append(pixels.numpy()), embed(self, pixels))[1]
    )

    report = search(SearchSettings(table=table, image=tmp_path / "photo.jpg", k=1))

    stored, asked = seen
    np.testing.assert_array_equal(stored, asked)
    assert report.results[0].score == pytest.approx(1, abs=1e-6)


def test_search_by_item_leaves_the_item_out_and_loads_no_encoder(table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pinembed.encoder.encoder.build_encoder", lambda *args, **kwargs: pytest.fail("loaded"))

    report = search(SearchSettings(table=table, item="blue-square-0", k=23))

    assert len(report.results) == 23
    assert "blue-square-0" not in {hit.id for hit in report.results}


def test_search_where_leaves_only_matching_rows(table: str) -> None:
    report = search(SearchSettings(table=table, item="blue-square-0", where="color = 'red' and price < 12", k=50))

    assert {hit.fields["color"] for hit in report.results} == {"red"}
    assert len(report.results) == 4


def test_search_prints_a_table_with_titles(cli: Cli, table: str) -> None:
    result = cli("search", "--table", table, "--item", "red-circle-0", "-k", "2")

    assert result.exit_code == 0
    assert "item: red-circle-0" in result.words
    assert "A red" in result.words
    assert "2 of 24 rows in" in result.words


def test_search_json_holds_the_results_and_nothing_else(cli: Cli, table: str) -> None:
    result = cli("search", "--table", table, "--item", "red-circle-0", "-k", "2", "--json", "--quiet")

    assert result.stderr == ""
    first = result.json["results"][0]
    assert first.keys() == {"rank", "score", "id", "file_name", "folder", "fields"}
    assert first["fields"]["title"].startswith("A ")


def test_search_sheet_shows_every_result(shop: Path, table: str, tmp_path: Path) -> None:
    report = search(SearchSettings(table=table, item="red-circle-0", k=7, sheet=tmp_path / "new/sheet.png"))

    sheet = Image.open(tmp_path / "new/sheet.png").convert("RGB")
    assert sheet.width > 1000
    assert sheet.height > 500
    shown = np.asarray(sheet).reshape(-1, 3)
    colour = np.asarray(Image.open(report.results[6].path).convert("RGB"))[20, 20]
    assert (np.abs(shown.astype(int) - colour.astype(int)).max(axis=1) < 3).any()


def test_search_sheet_without_the_files_still_draws(shop: Path, tmp_path: Path) -> None:
    shutil.copytree(shop / "data", tmp_path / "data")
    table = str(tmp_path / "db/pins")
    encode(EncodeSettings(images=tmp_path / "data", table=table, encoder=str(shop / "encoder"), workers=1))
    shutil.rmtree(tmp_path / "data")

    search(SearchSettings(table=table, item="red-circle-0", k=3, sheet=tmp_path / "sheet.png"))

    assert (tmp_path / "sheet.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        ([], 2, "search needs one of TEXT, --image and --item; found none"),
        (["red", "--item", "red-circle-0"], 2, "found text, item"),
        (["--item", "nobody"], 1, "holds no item 'nobody' among its 24 rows"),
        (["--item", "red-circle-0", "--where", "colour = 1"], 2, "The condition 'colour = 1' cannot be used"),
        (["--image", "{shop}/data/metadata.csv"], 1, "is not an image"),
        (["--image", "{shop}/none.jpg"], 1, "none.jpg is missing"),
        (["--item", "red-circle-0", "--sheet", "{shop}/data/metadata.csv/x.png"], 2, "which is no folder; wanted a"),
    ],
)
def test_search_explains_bad_arguments(
    cli: Cli, shop: Path, table: str, arguments: list[str], exit_code: int, words: str
) -> None:
    result = cli("search", "--table", table, *(argument.format(shop=shop) for argument in arguments))

    assert result.exit_code == exit_code
    assert words in result.words
    assert "remedy:" in result.words


def test_search_in_a_table_that_is_not_there_names_those_that_are(cli: Cli, shop: Path) -> None:
    result = cli("search", "--table", shop / "db/pens", "red")

    assert result.exit_code == 1
    assert f"There is no table {shop}/db/pens; {shop}/db holds pins." in result.words


def test_search_with_another_encoder_is_refused(cli: Cli, table: str, other_encoder: Path) -> None:
    result = cli("search", "--table", table, "red", "--encoder", other_encoder)

    assert result.exit_code == 1
    assert "this run makes other" in result.words


def test_search_notices_that_the_remembered_encoder_was_replaced(cli: Cli, shop: Path, tmp_path: Path) -> None:
    make_encoder(tmp_path / "encoder")
    table = str(tmp_path / "db/pins")
    encode(EncodeSettings(images=shop / "data", table=table, encoder=str(tmp_path / "encoder"), workers=1))
    make_encoder(tmp_path / "encoder", seed=5)

    result = cli("search", "--table", table, "red")

    assert result.exit_code == 1
    assert "what lies there now is another encoder" in result.words


def test_the_title_of_a_hit_is_its_first_value_and_not_a_gap() -> None:
    hit = SearchResult(
        rank=1, score=0.5, id="a", file_name="a.png", folder="shop", fields={"title": float("nan"), "name": "Tall\nmug"}
    )
    assert hit.title == "Tall mug"
    assert dataclasses.replace(hit, fields={"title": " "}).title == "a"

"""The evaluate command, on a drawn catalogue with tiny random encoders."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import CliResult


def test_evaluate_prints_every_direction_with_counts_and_intervals(
    cli: Callable[..., CliResult], catalogue_folder: Path, tiny_encoder: Path
) -> None:
    result = cli(
        "evaluate", catalogue_folder, "--encoder", tiny_encoder, "--split", "all", "--group", "product", "--json"
    )
    assert result.exit_code == 0
    report = result.json
    for direction, queries, gallery in (
        ("text_to_image", 8, 24),
        ("image_to_text", 24, 8),
        ("image_to_image", 24, 23),
    ):
        figures = report[direction]
        assert (figures["queries"], figures["gallery"]) == (queries, gallery)
        for metric in ("recall@1", "recall@5", "recall@10", "mrr", "map"):
            low, high = figures["interval_95"][metric]
            assert 0 <= low <= figures[metric] <= high <= 1
    assert report["knn5"]["gallery_split"] == "all"
    assert report["label_zero_shot"]["gallery"] == 8
    assert report["fingerprint"]


def test_evaluate_lets_training_images_vote_on_the_test_split(
    cli: Callable[..., CliResult], catalogue_folder: Path, tiny_encoder: Path
) -> None:
    report = cli("evaluate", catalogue_folder, "--encoder", tiny_encoder, "--group", "product", "--json").json
    assert (report["knn5"]["gallery_split"], report["knn5"]["gallery"], report["knn5"]["queries"]) == ("train", 8, 8)
    assert report["image_to_image"] is None  # one view of each product


def test_evaluate_shows_the_table_to_people(
    cli: Callable[..., CliResult], catalogue_folder: Path, tiny_encoder: Path
) -> None:
    words = cli("evaluate", catalogue_folder, "--encoder", tiny_encoder, "--group", "product").words
    assert "text > image: 8 queries, each against a gallery of 8" in words
    assert "image > image: no query has a positive; give --group" in words
    assert "zero-shot" in words


def test_evaluate_against_itself_differs_by_nothing(
    cli: Callable[..., CliResult], catalogue_folder: Path, tiny_encoder: Path
) -> None:
    report = cli(
        "evaluate", catalogue_folder, "--encoder", tiny_encoder, "--against", tiny_encoder, "--group", "color", "--json"
    ).json
    assert report["against"]["image_to_image"] == report["image_to_image"]
    assert report["difference"]["image_to_image"]["map"] == 0
    assert report["difference"]["image_to_image"]["interval_95"]["map"] == [0, 0]
    assert report["difference"]["knn5"]["accuracy"] == 0


def test_evaluate_against_itself_keeps_the_champion_with_exit_code_4(
    cli: Callable[..., CliResult], catalogue_folder: Path, tiny_encoder: Path
) -> None:
    result = cli("evaluate", catalogue_folder, "--encoder", tiny_encoder, "--against", tiny_encoder, "--group", "color")
    assert result.exit_code == 4
    assert "B stays. The mean mAP is not higher with confidence: +0.000" in result.words


def test_evaluate_against_another_gives_the_difference_of_the_two(
    cli: Callable[..., CliResult], catalogue_folder: Path, tiny_encoder: Path, other_encoder: Path
) -> None:
    arguments = ("evaluate", catalogue_folder, "--group", "color", "--json", "--encoder")
    both = cli(*arguments, tiny_encoder, "--against", other_encoder).json
    alone = cli(*arguments, other_encoder).json
    assert both["against"]["text_to_image"] == alone["text_to_image"]
    assert both["difference"]["image_to_image"]["map"] == pytest.approx(
        both["image_to_image"]["map"] - alone["image_to_image"]["map"]
    )


def test_evaluate_names_a_broken_image_and_goes_on(
    cli: Callable[..., CliResult], catalogue_folder: Path, tiny_encoder: Path
) -> None:
    (catalogue_folder / "images" / "red-circle-2.png").write_bytes(b"not an image")
    report = cli("evaluate", catalogue_folder, "--encoder", tiny_encoder, "--json").json
    assert report["broken"] == ["images/red-circle-2.png"]
    assert report["images"] == 7


def test_evaluate_of_nothing_but_broken_images_is_refused(
    cli: Callable[..., CliResult], catalogue_folder: Path, tiny_encoder: Path
) -> None:
    for path in (catalogue_folder / "images").glob("*-2.png"):
        path.write_bytes(b"")
    result = cli("evaluate", catalogue_folder, "--encoder", tiny_encoder)
    assert result.exit_code == 1
    assert "None of the 8 images of the split test can be decoded" in result.words


def test_evaluate_without_a_split_column_uses_the_hash(
    cli: Callable[..., CliResult], catalogue_folder: Path, tiny_encoder: Path
) -> None:
    metadata = catalogue_folder / "metadata.csv"
    rows = list(csv.DictReader(metadata.open(encoding="utf-8")))
    with metadata.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=["file_name", "title"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    images = [
        cli("evaluate", catalogue_folder, "--encoder", tiny_encoder, "--split", split, "--json").json.get("images", 0)
        for split in ("train", "val", "test", "all")
    ]
    assert images[-1] == 24
    assert sum(images[:3]) == 24


@pytest.mark.parametrize(
    ("arguments", "exit_code", "sentence"),
    [
        (["--split", "gate"], 2, "--split gate does not occur"),
        (["--group", "brand"], 2, "--group names brand"),
        (["--text", "titel"], 2, "--text names titel"),
        (["--device", "nonsense"], 2, "--device nonsense cannot be used here"),
    ],
)
def test_evaluate_refuses_what_cannot_be_meant(
    cli: Callable[..., CliResult],
    catalogue_folder: Path,
    tiny_encoder: Path,
    arguments: list[str],
    exit_code: int,
    sentence: str,
) -> None:
    result = cli("evaluate", catalogue_folder, "--encoder", tiny_encoder, *arguments)
    assert result.exit_code == exit_code
    assert sentence in result.words
    assert "remedy:" in result.words


def test_evaluate_refuses_a_folder_without_metadata(
    cli: Callable[..., CliResult], catalogue_folder: Path, tiny_encoder: Path
) -> None:
    (catalogue_folder / "metadata.csv").unlink()
    result = cli("evaluate", catalogue_folder, "--encoder", tiny_encoder)
    assert result.exit_code == 1
    assert "has no metadata" in result.words


def test_evaluate_shows_what_smaller_stored_forms_cost(
    cli: Callable[..., CliResult], catalogue_folder: Path, tiny_encoder: Path
) -> None:
    arguments = ("evaluate", catalogue_folder, "--encoder", tiny_encoder, "--group", "color", "--storage-formats")
    report = cli(*arguments, "--json").json
    forms = {found["form"]: found for found in report["storage_formats"]}
    assert forms["fp32"]["bytes_per_item"] == 64
    assert forms["fp32"]["image_to_image"]["map"] == report["image_to_image"]["map"]
    assert forms["int8"]["bytes_per_item"] == 20
    assert report["split"] == "val"
    assert forms["int8"]["table_bytes"] == 20 * 24
    assert forms["fp32"]["largest_loss"] == 0
    assert forms["binary, then int8"]["largest_loss"] >= 0
    (best,) = [found for found in forms.values() if found["recommended"]]
    assert {form for form, found in forms.items() if found["encode_options"] is None} >= {"int8", "binary, then int8"}
    stored = [found for found in forms.values() if found["encode_options"]]
    smaller = [found for found in stored if found["bytes_per_item"] < best["bytes_per_item"]]
    assert best["largest_loss"] <= 0.01 < min(found["largest_loss"] for found in smaller)
    result = cli(*arguments, "--split", "all", "--plot", catalogue_folder / "bytes.png")
    assert "Stored forms of the image embeddings" in result.words
    assert "is the smallest that encode stores and that loses at most .01 mAP with 95 % confidence" in result.words
    assert f"Get it with: pinembed encode ... {best['encode_options']}" in result.words
    assert (catalogue_folder / "bytes.png").read_bytes().startswith(b"\x89PNG")


def test_evaluate_asks_with_the_template(
    cli: Callable[..., CliResult], catalogue_folder: Path, tiny_encoder: Path
) -> None:
    arguments = ("evaluate", catalogue_folder, "--encoder", tiny_encoder, "--template")
    report = cli(*arguments, "something {color}", "--json").json
    assert report["texts"] == 4
    assert report["text"] == ["something {color}"]
    refused = cli(*arguments, "something {colour}")
    assert refused.exit_code == 2
    assert "--template names colour" in refused.words


def test_evaluate_of_items_without_texts_is_refused(
    cli: Callable[..., CliResult], catalogue_folder: Path, tiny_encoder: Path
) -> None:
    path = catalogue_folder / "metadata.csv"
    with path.open(newline="", encoding="utf-8") as file:
        rows = [{**row, "title": ""} for row in csv.DictReader(file)]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    found = cli("evaluate", catalogue_folder, "--encoder", tiny_encoder, "--text", "title", "--group", "product")
    assert found.exit_code == 1
    assert "None of the 8 test item(s)" in found.words
    assert "has a text in title" in found.words

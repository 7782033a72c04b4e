"""Fine-tuning and evaluating encoders whose items are image and metadata."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pinembed.encoder.fusion import FUSION_NAME, read_fusion, write_fusion
from pinembed.encoder.locate import encoder_spec, locate_encoder
from pinembed.nouns.encoder_spec import make_fusion
from pinembed.settings.training import FinetuneSettings
from tests.conftest import CliResult, make_encoder, write_catalogue

MATERIALS = {"red": "brick", "green": "moss", "blue": "sea water", "yellow": "sand"}
SIZES = {"circle": "a round one", "square": "one with corners"}


def add_descriptions(data: Path) -> Path:
    """A second text in other words than the title's, lacking for one view in five."""
    with (data / "metadata.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        color, shape, view = row["id"].split("-")
        row["description"] = "" if view == "1" else f"Made of {MATERIALS[color]}, {SIZES[shape]}, number {view}"
    with (data / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return data


@pytest.fixture(scope="module")
def fused_by_hand(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with weights that were given; not to be changed."""
    from pinembed.jobs.finetune import finetune

    folder = tmp_path_factory.mktemp("fused")
    data = add_descriptions(write_catalogue(folder / "data", views=5))
    report = finetune(
        FinetuneSettings(
            data=data,
            base=str(make_encoder(folder / "base")),
            out=folder / "out",
            text=("title", "description"),
            group="product",
            epochs=8,
            batch_size=16,
            lr=3e-3,
            heads=False,
            fusion="image=.95,description=.05",
        )
    )
    assert report.promoted
    return folder


def test_given_weights_are_stored_where_the_gate_lets_them_pass(fused_by_hand: Path) -> None:
    out = fused_by_hand / "out"
    run = json.loads((out / "run.json").read_text(encoding="utf-8"))
    assert read_fusion(out) == make_fusion({"image": 0.95, "description": 0.05})
    spec = encoder_spec(locate_encoder(str(out)))
    assert run["fingerprint"] == spec.fingerprint
    assert run["encoder"]["fusion"]["image"] == 0.95
    assert run["fusion"]["reason"] == "The weights were given by hand."
    card = (out / "README.md").read_text(encoding="utf-8")
    assert "metadata: image 0.95, description 0.05." in card
    assert "| text to item | 8 | 8 |" in card
    judged = run["fusion"]["test"]
    assert judged["query_fields"] == ["title"]
    assert (judged["text_to_item"]["queries"], judged["text_to_item"]["gallery"]) == (8, 8)
    assert judged["image_to_item"] is None  # one view of a product is left to judge


def test_evaluate_shows_items_beside_images_and_keeps_its_keys(
    cli: Callable[..., CliResult], fused_by_hand: Path, tmp_path: Path
) -> None:
    plain = shutil.copytree(fused_by_hand / "out", tmp_path / "plain")
    (plain / FUSION_NAME).unlink()
    command = (
        "evaluate",
        fused_by_hand / "data",
        "--text",
        "title,description",
        "--group",
        "product",
        "--split",
        "val",
    )
    fused = cli(*command, "--encoder", fused_by_hand / "out", "--json")
    assert fused.exit_code == 0, fused.words
    assert "Items of image and metadata, as encode stores them" in fused.words
    items = fused.json["fused_items"]
    assert items["fusion"]["fields"] == [{"name": "description", "weight": 0.05, "template": "{}"}]
    assert set(items["text_to_item"]) >= {"recall@1", "map", "interval_95", "queries", "gallery"}
    assert set(items["difference"]) == {"text_to_item", "image_to_item"}
    alone = cli(*command, "--encoder", plain, "--json").json
    assert alone["fused_items"] is None
    for key in ("text_to_image", "image_to_text", "image_to_image", "knn5", "label_zero_shot"):
        assert fused.json[key] == alone[key]  # what images and texts do does not change with what items are made of


def test_auto_says_why_whatever_it_chooses(fused_by_hand: Path) -> None:
    from pinembed.encoder.encoder import load_encoder
    from pinembed.nouns.progress import SILENT
    from pinembed.training.datasets import load_split, read_splits
    from pinembed.training.gate import FusionStep, parse_fusion_options

    texts = read_splits(fused_by_hand / "data", text=("title", "description"), group="product")
    encoder = load_encoder(str(fused_by_hand / "out"))
    val = load_split(texts.val, texts, encoder.preprocessing, split="val", progress=SILENT)
    reports = [
        FusionStep(encoder, texts, parse_fusion_options(words, texts), seed=0, progress=SILENT).decide(
            encoder.model.state_dict(), val, None
        )
        for words in ("auto", "off")
    ]
    assert reports[1] is None
    assert reports[0] is not None
    assert reports[0].val is not None
    assert reports[0].val.query_fields
    assert ("better" in reports[0].reason) if reports[0].fusion else ("images alone: " in reports[0].reason)


def test_base_that_stays_keeps_the_fusion_that_it_came_with(
    cli: Callable[..., CliResult], catalogue_folder: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    base = shutil.copytree(tiny_encoder, tmp_path / "base")
    write_fusion(base, make_fusion({"image": 0.9, "title": 0.1}))
    result = cli("finetune", catalogue_folder, "--base", base, "--out", tmp_path / "out", "--epochs", "1", "--lr", "0",
                 "--no-heads", "--json")  # fmt: skip
    assert result.exit_code == 4
    assert read_fusion(tmp_path / "out") == read_fusion(base)
    assert result.json["fusion"] is None


@pytest.mark.parametrize(
    ("fusion", "words"),
    [
        ("image=.9", "--fusion 'image=.9' cannot be read: wanted a weight for image and one for at least one column"),
        ("image=.9,shape=.1", "--fusion names shape, which the metadata does not have"),
        ("image=.9,price=.1", "--fusion names price, which holds numbers"),
        ("on", "--fusion 'on' cannot be read"),
    ],
)
def test_fusion_that_cannot_be_meant_is_refused_before_training(
    cli: Callable[..., CliResult], catalogue_folder: Path, tiny_encoder: Path, tmp_path: Path, fusion: str, words: str
) -> None:
    result = cli("finetune", catalogue_folder, "--base", tiny_encoder, "--out", tmp_path / "out", "--fusion", fusion)
    assert result.exit_code == 2
    assert words in result.words
    assert not (tmp_path / "out").exists()


def test_fuse_gives_an_encoder_a_fusion_and_leaves_its_weights(
    cli: Callable[..., CliResult], fused_by_hand: Path, tmp_path: Path
) -> None:
    encoder, out = fused_by_hand / "out", tmp_path / "fused"
    result = cli("fuse", fused_by_hand / "data", "--encoder", encoder, "--out", out, "--text", "title,description",
                 "--group", "product", "--fusion", "image=.97,description=.03", "--json")  # fmt: skip
    assert result.exit_code == 0, result.words
    assert read_fusion(out) == make_fusion({"image": 0.97, "description": 0.03})
    before, after = encoder_spec(locate_encoder(str(encoder))), encoder_spec(locate_encoder(str(out)))
    assert before.weights_sha256 == after.weights_sha256
    assert (result.json["encoder_fingerprint"], result.json["fingerprint"]) == (before.fingerprint, after.fingerprint)
    assert "text > item mAP" in result.words


def test_fuse_tells_of_texts_that_would_be_cut_in_items(
    cli: Callable[..., CliResult], catalogue_folder: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    metadata = catalogue_folder / "metadata.csv"
    rows = metadata.read_text(encoding="utf-8").replace("A red", "A very " + "long " * 20 + "red")
    metadata.write_text(rows, encoding="utf-8")
    result = cli("fuse", catalogue_folder, "--encoder", tiny_encoder, "--out", tmp_path / "out", "--json")
    told = r"texts in items' vectors: (\d+) of \d+ texts are longer than the 16 tokens.* \1 are cut"
    assert re.search(told, result.words)


def test_fuse_ends_with_the_gates_exit_code_where_items_stay_images(
    cli: Callable[..., CliResult], catalogue_folder: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    result = cli("fuse", catalogue_folder, "--encoder", tiny_encoder, "--out", tmp_path / "out", "--json")
    assert result.exit_code == 4
    assert "with title as the only text, every query would be the item's own text" in result.words
    assert result.json["fingerprint"] == result.json["encoder_fingerprint"]


def test_fuse_refuses_to_do_nothing(
    cli: Callable[..., CliResult], catalogue_folder: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    result = cli("fuse", catalogue_folder, "--encoder", tiny_encoder, "--out", tmp_path / "out", "--fusion", "off")
    assert result.exit_code == 2
    assert "--fusion off leaves nothing to do" in result.words

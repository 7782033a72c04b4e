"""The table of starting encoders, licences, and what is said where the hub cannot be reached."""

from __future__ import annotations

import json
from pathlib import Path

import open_clip
import pytest
import torch

from pinembed.encoder.encoder import load_encoder
from pinembed.encoder.locate import EncoderFiles, locate_encoder
from pinembed.encoder.save import licence_of
from pinembed.errors import EncoderError, MissingExtraError
from tests.conftest import make_encoder

TABLE = (Path(__file__).parent.parent / "docs" / "bases.md").read_text(encoding="utf-8")
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in TABLE.splitlines() if line.startswith("| `")]


def files_of(reference: str) -> EncoderFiles:
    return EncoderFiles(
        reference=reference, architecture=reference, model_cfg={}, preprocess_cfg={}, weights=None, folder=None
    )


def reference_of(row: list[str]) -> str:
    return row[0].split("`")[1]


@pytest.mark.parametrize("row", ROWS, ids=reference_of)
def test_the_table_of_bases_says_what_open_clip_builds(row: list[str]) -> None:
    name, _, tag = reference_of(row).partition("/")
    cfg = open_clip.get_model_config(name)
    with torch.device("meta"):
        model = open_clip.create_model(name, device="meta")
    parameters = sum(parameter.numel() for parameter in model.parameters())
    assert tag in open_clip.list_pretrained_tags_by_model(name)
    assert [int(cell) for cell in row[2:5]] == [
        round(parameters / 1e6), cfg["vision_cfg"]["image_size"], cfg["embed_dim"],
    ]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=reference_of)
def test_the_table_of_bases_and_the_model_card_state_the_same_licence(row: list[str]) -> None:
    assert licence_of(files_of(reference_of(row))).name == row[1].lower()


def test_one_default_for_each_kind_of_machine_allows_commercial_use() -> None:
    for machine in ("CPU", "GPU"):
        (row,) = [row for row in ROWS if f"default for a {machine}" in row[0]]
        assert row[1] in {"MIT", "Apache-2.0"}


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("hf-hub:laion/CLIP-ViT-B-32-DataComp.XL-s13B-b90K", "mit"),
        ("hf-hub:Marqo/marqo-ecommerce-embeddings-B", "apache-2.0"),
        ("MobileCLIP-S1/datacompdr", "apple-amlr"),
        ("hf-hub:somebody/something", None),
        ("ViT-B-32", None),
    ],
)
def test_a_licence_is_told_by_the_place_on_the_hub(reference: str, name: str | None) -> None:
    assert licence_of(files_of(reference)).name == name


def test_a_folder_states_its_licence_in_the_header_of_its_card_or_in_a_file(tmp_path: Path) -> None:
    folder = make_encoder(tmp_path / "base")
    assert licence_of(locate_encoder(str(folder))).source == ""
    (folder / "LICENSE").write_text("MIT License\n", encoding="utf-8")
    found = licence_of(locate_encoder(str(folder)))
    assert (found.name, found.files) == (None, (folder / "LICENSE",))
    (folder / "README.md").write_text('---\ntags: [clip]\nlicense: "apache-2.0"\n---\n# Base\n', encoding="utf-8")
    assert licence_of(locate_encoder(str(folder))).name == "apache-2.0"


def test_weights_that_cannot_be_fetched_are_asked_for_by_name_and_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(EncoderError, match="are not in the local cache and cannot be fetched") as caught:
        load_encoder("ViT-B-32-256/datacomp_s34b_b86k")
    remedy = caught.value.remedy
    assert "from https://huggingface.co/laion/CLIP-ViT-B-32-256x256-DataComp-s34B-b86K into a folder" in remedy
    assert "open_clip_config.json, open_clip_model.safetensors and the tokenizer's files" in remedy


def test_a_tokenizer_that_cannot_be_fetched_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_encoder_with_tokenizer(tmp_path)
    monkeypatch.setattr("open_clip.get_tokenizer", lambda name: (_ for _ in ()).throw(OSError("no network")))
    with pytest.raises(EncoderError, match=r"The tokenizer of .*, timm/ViT-B-16-SigLIP, is not in the local") as caught:
        load_encoder(str(folder))
    assert "https://huggingface.co/timm/ViT-B-16-SigLIP" in caught.value.remedy


def test_a_tokenizer_that_needs_an_extra_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_encoder_with_tokenizer(tmp_path)
    monkeypatch.setattr("pinembed.encoder.encoder.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="needs the package transformers, which is not installed") as caught:
        load_encoder(str(folder))
    assert 'pip install "pinembed[vlm]"' in caught.value.remedy


def make_encoder_with_tokenizer(folder: Path) -> Path:
    base = make_encoder(folder / "base")
    config = json.loads((base / "open_clip_config.json").read_text(encoding="utf-8"))
    config["model_cfg"]["text_cfg"]["hf_tokenizer_name"] = "timm/ViT-B-16-SigLIP"
    (base / "open_clip_config.json").write_text(json.dumps(config), encoding="utf-8")
    return base

"""One vector of image and metadata: the pure function, its weights, and their place in an encoder's folder."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pinembed.encoder.fusion import FUSION_NAME, fuse, parse_fusion, read_fusion, write_fusion
from pinembed.encoder.locate import encoder_spec, locate_encoder
from pinembed.errors import EncoderError, UsageError
from pinembed.nouns.encoder_spec import EncoderSpec, make_fusion

Floats = NDArray[np.float32]


def unit_rows(rng: np.random.Generator, *shape: int) -> Floats:
    rows = rng.normal(size=shape).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def mean_over_what_is_there(image_D: Floats, texts: list[Floats | None], weights: list[float]) -> list[float]:
    """One item, in plain Python: weights of the present parts brought to 1, weighted mean, norm 1."""
    parts = [(weight, part) for weight, part in zip(weights, [image_D, *texts], strict=True) if part is not None]
    total = sum(weight for weight, _ in parts)
    mean = [sum(weight / total * float(part[d]) for weight, part in parts) for d in range(len(image_D))]
    norm = math.sqrt(sum(value * value for value in mean))
    return [value / norm for value in mean]


def test_fused_vectors_equal_a_mean_written_out_item_by_item() -> None:
    rng = np.random.default_rng(0)
    image_ND, text_FND = unit_rows(rng, 20, 8), unit_rows(rng, 3, 20, 8)
    text_FND[rng.random((3, 20)) < 0.4] = 0  # missing fields
    fused_ND = fuse(image_ND, text_FND, 0.7, [0.1, 0.05, 0.15])
    for index in range(20):
        texts = [row if row.any() else None for row in text_FND[:, index]]
        expected = mean_over_what_is_there(image_ND[index], texts, [0.7, 0.1, 0.05, 0.15])
        np.testing.assert_allclose(fused_ND[index], expected, atol=1e-6)
    assert fused_ND.dtype == np.float32


def test_item_without_any_text_keeps_its_image_embedding() -> None:
    image_ND = unit_rows(np.random.default_rng(1), 4, 8)
    np.testing.assert_allclose(fuse(image_ND, np.zeros((2, 4, 8), np.float32), 0.5, [0.3, 0.2]), image_ND, atol=1e-6)


def test_image_and_text_that_cancel_leave_the_image() -> None:
    image_ND = unit_rows(np.random.default_rng(2), 3, 8)
    np.testing.assert_array_equal(fuse(image_ND, -image_ND[None], 0.5, [0.5]), image_ND)


def test_weights_of_any_sum_give_one_fusion() -> None:
    assert make_fusion({"image": 9, "title": 1}) == make_fusion({"title": 0.1, "image": 0.9})
    assert str(make_fusion({"image": 9, "title": 1})) == "image 0.9, title 0.1"


@pytest.mark.parametrize("weights", [{"image": 1, "a": 1, "b": 1}, {"image": 0.9, "a": 0.07, "b": 0.07, "c": 0.003}])
def test_stored_weights_are_read_as_they_were_written(weights: dict[str, float], tmp_path: Path) -> None:
    fusion = make_fusion(weights, {"a": "a photo of {}"})
    write_fusion(tmp_path, fusion)
    assert read_fusion(tmp_path) == fusion
    assert sum(fusion.weights.values()) == pytest.approx(1, abs=1e-9)


def test_template_phrases_a_value_and_leaves_a_missing_one_out() -> None:
    field = make_fusion({"image": 1, "title": 1}, {"title": "a photo of {}, from the shop"}).fields[0]
    assert field.text("a teal mug") == "a photo of a teal mug, from the shop"
    assert field.text("") == ""


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ({"title": 1.0}, "wanted a weight for image and one for at least one column"),
        ({"image": 1.0}, "wanted a weight for image and one for at least one column"),
        ({"image": 1.0, "title": 0.0}, "the weight of title is 0.0; wanted a positive number"),
        ({"image": float("nan"), "title": 1.0}, "the weight of image is nan"),
        ({"image": 1.0, "title": 1e-9}, "does nothing"),
    ],
)
def test_weights_that_cannot_be_meant_are_refused(weights: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make_fusion(weights)


@pytest.mark.parametrize("words", ["image=.9", "image=.9,title", "image=.9,title=x", "image=.9,title=.1,title=.2"])
def test_typed_weights_that_cannot_be_read_are_refused_with_an_example(words: str) -> None:
    with pytest.raises(UsageError, match="cannot be read") as refused:
        parse_fusion(words)
    assert "image=.9,title=.1" in refused.value.remedy


def test_typed_weights_are_read() -> None:
    assert parse_fusion("image=.9, title=.1") == make_fusion({"image": 0.9, "title": 0.1})


@pytest.fixture
def copied_encoder(tiny_encoder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_encoder, tmp_path / "encoder")


def spec_of(folder: Path) -> EncoderSpec:
    return encoder_spec(locate_encoder(str(folder)))


def with_fusion(folder: Path, weights: dict[str, float], templates: dict[str, str] | None = None) -> EncoderSpec:
    write_fusion(folder, make_fusion(weights, templates))
    return spec_of(folder)


def test_fingerprint_of_an_encoder_without_fusion_is_what_it_was_before_there_was_any() -> None:
    # stored in tables and sources of earlier versions
    stored = {
        "architecture": "x",
        "config_sha256": "c",
        "weights_sha256": "w",
        "dim": 4,
        "preprocessing": {"image_px": 32, "mean": [0.5] * 3, "std": [0.5] * 3},
        "normalise": True,
    }
    spec = EncoderSpec.from_json(stored)
    assert spec.fingerprint == "ba63966d2ba02c74"
    assert "fusion" not in spec.to_json()


def test_fingerprints_differ_by_fields_weights_and_phrasing(copied_encoder: Path) -> None:
    fingerprints = [
        spec_of(copied_encoder).fingerprint,
        with_fusion(copied_encoder, {"image": 0.9, "title": 0.1}).fingerprint,
        with_fusion(copied_encoder, {"image": 0.8, "title": 0.2}).fingerprint,
        with_fusion(copied_encoder, {"image": 0.9, "label": 0.1}).fingerprint,
        with_fusion(copied_encoder, {"image": 0.9, "title": 0.1}, {"title": "a photo of {}"}).fingerprint,
    ]
    assert len(set(fingerprints)) == 5
    write_fusion(copied_encoder, None)
    assert spec_of(copied_encoder).fingerprint == fingerprints[0]


def test_spec_with_fusion_survives_json(copied_encoder: Path) -> None:
    spec = with_fusion(copied_encoder, {"image": 0.6, "title": 0.3, "tags": 0.1}, {"tags": "tagged {}"})
    assert EncoderSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


def test_open_clip_loads_a_folder_with_fusion_as_it_loads_one_without(copied_encoder: Path, tiny_encoder: Path) -> None:
    import open_clip
    import torch

    with_fusion(copied_encoder, {"image": 0.9, "title": 0.1})
    pixels_BCHW = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    features = []
    for folder in (copied_encoder, tiny_encoder):
        model = open_clip.create_model(f"local-dir:{folder}").eval()
        with torch.no_grad():
            features.append(model.encode_image(pixels_BCHW))
        assert open_clip.get_tokenizer(f"local-dir:{folder}")(["a mug"]).shape == (1, 16)
    assert torch.equal(*features)


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"image": 0.9}',
        '{"image": 0.9, "fields": [{"name": "title", "weight": -1}]}',
        '{"image": 0.9, "fields": [{"name": "title", "weight": 0.1, "colour": 3}]}',
        '{"image": 0.9, "fields": [{"name": "title", "weight": 0.1, "template": "no place"}]}',
        '{"image": 0.9, "fields": [{"name": "a", "weight": 0.1}, {"name": "a", "weight": 0.1}]}',
        '{"image": 0.9, "fields": [{"name": ["a"], "weight": 0.1}]}',
        '{"image": true, "fields": [{"name": "a", "weight": 0.1}]}',
    ],
)
def test_damaged_fusion_is_refused_with_what_it_should_look_like(content: str, copied_encoder: Path) -> None:
    (copied_encoder / FUSION_NAME).write_text(content, encoding="utf-8")
    with pytest.raises(EncoderError, match="holds no weights of a fusion") as refused:
        locate_encoder(str(copied_encoder))
    assert '"weight": 0.1' in refused.value.remedy

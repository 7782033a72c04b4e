"""The vectors of stock open_clip, whatever a folder's configuration says, before and after tuning."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from pinembed.encoder.locate import locate_encoder, preprocessing_of
from pinembed.errors import EncoderError
from pinembed.jobs.finetune import finetune
from pinembed.settings.training import FinetuneSettings
from tests.conftest import draw_item, make_encoder, write_catalogue
from tests.families import CLIP_TEXT, SIGLIP_TEXT, VIT, Family, timm_tower, write_bert_tokenizer, write_family
from tests.stock import largest_difference

PICTURES = [
    draw_item("red", "circle", 0).resize((61, 48)),
    draw_item("blue", "square", 1, side_px=90).resize((33, 130)),
    draw_item("green", "circle", 2, side_px=20),
]
TEXTS = ["a red circle", "A Blue  square, yellow.", ""]

SIDES = (32, 48, 64)
VISION = st.one_of(
    st.fixed_dictionaries({"image_size": st.sampled_from(SIDES)}).map(lambda drawn: {**VIT, **drawn}),
    st.fixed_dictionaries({"image_size": st.sampled_from(SIDES)}).map(
        lambda drawn: timm_tower("test_convnext", timm_pool="", timm_proj="linear") | drawn
    ),
)
CHANNELS = st.one_of(st.none(), st.floats(0.2, 0.8), st.lists(st.floats(0.2, 0.8), min_size=3, max_size=3))
PREPROCESS = st.fixed_dictionaries(
    {},
    optional={
        "size": st.one_of(st.sampled_from((None, 24, 224)), st.just([40, 24])),
        "mean": CHANNELS,
        "std": CHANNELS,
        "interpolation": st.sampled_from((None, "bicubic", "bilinear", "random")),
        "resize_mode": st.sampled_from((None, "shortest", "longest", "squash")),
        "fill_color": st.integers(0, 255),
        "mode": st.just("RGB"),
    },
)
TEXT = st.one_of(
    st.just(CLIP_TEXT),
    st.fixed_dictionaries(
        {"clean": st.sampled_from(("whitespace", "lower", "canonicalize")), "no_causal_mask": st.booleans()}
    ).map(
        lambda drawn: {
            **CLIP_TEXT,
            **SIGLIP_TEXT,
            "no_causal_mask": drawn["no_causal_mask"],
            "tokenizer_kwargs": {"clean": drawn["clean"]},
        }
    ),
)
MODELS = st.fixed_dictionaries(
    {"embed_dim": st.just(32), "vision_cfg": VISION, "text_cfg": TEXT},
    optional={
        "quick_gelu": st.booleans(),
        "custom_text": st.booleans(),
        "init_logit_bias": st.sampled_from((None, -10.0)),
        "nonscalar_logit_scale": st.booleans(),
    },
)


def family(model_cfg: dict[str, Any], preprocess_cfg: dict[str, Any]) -> Family:
    has_tokenizer = "hf_tokenizer_name" in model_cfg["text_cfg"]
    return Family(
        model_cfg=model_cfg,
        preprocess_cfg=preprocess_cfg,
        write=write_bert_tokenizer if has_tokenizer else None,
    )


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(model_cfg=MODELS, preprocess_cfg=PREPROCESS, seed=st.integers(0, 99))
def test_vectors_are_those_of_stock_open_clip(model_cfg, preprocess_cfg, seed) -> None:
    with tempfile.TemporaryDirectory() as work:
        folder = write_family(Path(work) / "base", family(model_cfg, preprocess_cfg), seed=seed)
        assert largest_difference(folder, PICTURES, TEXTS) < 1e-5


@settings(max_examples=3, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(model_cfg=MODELS, preprocess_cfg=PREPROCESS)
def test_vectors_of_what_was_tuned_are_those_of_stock_open_clip(model_cfg, preprocess_cfg) -> None:
    with tempfile.TemporaryDirectory() as work:
        folder = write_family(Path(work) / "base", family(model_cfg, preprocess_cfg))
        out, data = Path(work) / "out", write_catalogue(Path(work) / "data", views=5)
        finetune(FinetuneSettings(data=data, base=str(folder), out=out, group="color", epochs=1, fusion="off"))
        assert largest_difference(out, PICTURES, TEXTS) < 1e-5


def test_the_side_is_the_image_towers_whatever_the_preprocessing_says(tmp_path) -> None:
    tower = timm_tower("mobilenetv2_035", timm_pool="avg", timm_proj="linear", image_size=96)
    cfg = {"embed_dim": 32, "vision_cfg": tower, "text_cfg": CLIP_TEXT}
    folder = write_family(tmp_path / "base", Family(model_cfg=cfg, preprocess_cfg={"size": 64}))
    assert preprocessing_of(locate_encoder(str(folder))).image_px == 96
    assert largest_difference(folder, PICTURES, TEXTS) < 1e-5


@pytest.mark.parametrize(("key", "value"), [("resize_mode", "crop"), ("interpolation", "lanczos"), ("mean", [1, 2])])
def test_a_preprocessing_that_stock_open_clip_does_not_know_is_refused(tmp_path, key, value) -> None:
    folder = make_encoder(tmp_path)
    config = json.loads((folder / "open_clip_config.json").read_text())
    config["preprocess_cfg"][key] = value
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(EncoderError, match="cannot be used: "):
        preprocessing_of(locate_encoder(str(folder)))

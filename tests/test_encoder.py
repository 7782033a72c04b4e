"""Encoders: found, identified, loaded, saved; and refused in a sentence."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import hashlib
import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from pinembed.encoder import locate as weights_hash
from pinembed.encoder import towers
from pinembed.encoder.backends.with_torch import ImageTower
from pinembed.encoder.encoder import build_encoder, load_encoder, unit_rows
from pinembed.encoder.locate import EncoderFiles, encoder_spec, locate_encoder
from pinembed.encoder.save import save_encoder
from pinembed.encoder.towers import as_local_dir
from pinembed.errors import EncoderError, InstallationError, NonFiniteEmbeddingError, UsageError
from pinembed.images.preprocess import preprocess
from pinembed.nouns.encoder_spec import EncoderSpec
from tests.conftest import draw_item


def random_pixels(count: int = 3, side_px: int = 32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, side_px, side_px), dtype=torch.uint8, generator=generator)


def test_embeddings_are_unit_rows_of_the_models_width(tiny_encoder) -> None:
    embedding_BD = load_encoder(str(tiny_encoder)).embed_images(random_pixels())
    assert embedding_BD.shape == (3, 16)
    assert torch.allclose(embedding_BD.norm(dim=1), torch.ones(3), atol=1e-6)


def test_embedding_of_a_picture_equals_open_clips_own(tiny_encoder) -> None:
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{tiny_encoder}")
    picture = draw_item("red", "circle", 0).resize((61, 48))
    with torch.inference_mode():
        expected_BD = model.eval().encode_image(transform(picture)[None], normalize=True)
    encoder = load_encoder(str(tiny_encoder))
    pixels_CHW = torch.from_numpy(preprocess(picture, encoder.preprocessing))
    assert torch.allclose(encoder.embed_images(pixels_CHW[None]), expected_BD, atol=1e-6)


def test_texts_embed_as_open_clips_own(tiny_encoder) -> None:
    model = open_clip.create_model(f"local-dir:{tiny_encoder}").eval()
    tokens_BT = open_clip.get_tokenizer(f"local-dir:{tiny_encoder}")(["a red mug", "a lamp"])
    with torch.inference_mode():
        expected_BD = model.encode_text(tokens_BT, normalize=True)
    embedding_BD = load_encoder(str(tiny_encoder)).embed_texts(["a red mug", "a lamp"], batch_size=1)
    assert torch.allclose(embedding_BD, expected_BD, atol=1e-6)


def test_no_texts_embed_to_no_rows(tiny_encoder) -> None:
    assert load_encoder(str(tiny_encoder)).embed_texts([]).shape == (0, 16)


def test_saved_encoder_loads_again_with_equal_vectors_and_in_open_clip(tiny_encoder, tmp_path) -> None:
    encoder = load_encoder(str(tiny_encoder))
    save_encoder(encoder, tmp_path)
    assert torch.equal(load_encoder(str(tmp_path)).embed_images(random_pixels()), encoder.embed_images(random_pixels()))
    model, _, _ = open_clip.create_model_and_transforms(f"local-dir:{tmp_path}")
    assert torch.equal(model.logit_scale, encoder.model.logit_scale)


def test_saved_encoder_can_hold_other_weights(tiny_encoder, tmp_path) -> None:
    encoder = load_encoder(str(tiny_encoder))
    weights = {name: torch.zeros_like(tensor) for name, tensor in encoder.model.state_dict().items()}
    save_encoder(encoder, tmp_path, weights=weights)
    assert not load_encoder(str(tmp_path)).model.state_dict()["logit_scale"].any()


def test_fingerprint_is_the_same_for_a_copy_elsewhere(tiny_encoder, tmp_path) -> None:
    shutil.copytree(tiny_encoder, tmp_path / "copy")
    assert spec_of(tmp_path / "copy").fingerprint == spec_of(tiny_encoder).fingerprint


def test_fingerprint_differs_for_other_weights(tiny_encoder, other_encoder) -> None:
    assert spec_of(tiny_encoder).fingerprint != spec_of(other_encoder).fingerprint


def test_hash_of_weights_is_remembered_until_the_file_changes(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PINEMBED_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(weights_hash, "SETTLED_S", -1.0)
    read, honest = [], weights_hash._sha256
    monkeypatch.setattr(weights_hash, "_sha256", lambda path: read.append(path) or honest(path))
    weights = tmp_path / "weights"
    weights.write_bytes(b"a")
    as_they_were = weights.stat()

    first, again = (weights_hash.sha256_of_weights(weights) for _ in range(2))
    weights.write_bytes(b"b")
    os.utime(weights, ns=(as_they_were.st_atime_ns, as_they_were.st_mtime_ns))  # as `cp --preserve` does
    other = weights_hash.sha256_of_weights(weights)

    assert first == again == hashlib.sha256(b"a").hexdigest()
    assert other == hashlib.sha256(b"b").hexdigest()
    assert len(read) == 2


def test_hash_of_weights_that_were_written_a_moment_ago_is_not_remembered(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PINEMBED_CACHE", str(tmp_path / "cache"))
    weights = tmp_path / "weights"
    weights.write_bytes(b"a")

    weights_hash.sha256_of_weights(weights)

    assert not (tmp_path / "cache").exists()


def test_fingerprint_differs_for_another_preprocessing(tiny_encoder) -> None:
    spec = spec_of(tiny_encoder)
    squashed = dataclasses.replace(spec.preprocessing, resize_mode="squash")
    assert dataclasses.replace(spec, preprocessing=squashed).fingerprint != spec.fingerprint


def test_spec_survives_json(tiny_encoder) -> None:
    spec = spec_of(tiny_encoder)
    assert EncoderSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


def spec_of(folder: Path) -> EncoderSpec:
    return encoder_spec(locate_encoder(str(folder)))


def test_random_weights_are_the_same_for_the_same_seed_and_leave_the_callers_random_state_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    first = load_encoder("pinembed-tiny", random_init=True, seed=3)
    assert torch.equal(torch.rand(1), expected)
    second = load_encoder("pinembed-tiny", random_init=True, seed=3)
    third = load_encoder("pinembed-tiny", random_init=True, seed=4)
    states = [encoder.model.state_dict() for encoder in (first, second, third)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not all(torch.equal(states[0][name], states[2][name]) for name in states[0])


def test_architecture_of_open_clips_list_builds_with_random_weights() -> None:
    files = locate_encoder("RN50", random_init=True)
    assert files.weights is None
    assert files.model_cfg["embed_dim"] == 1024


def test_encoder_without_a_file_has_no_identity() -> None:
    with pytest.raises(EncoderError, match="architecture without weights; embeddings need a fixed encoder"):
        encoder_spec(locate_encoder("pinembed-tiny", random_init=True))


def test_files_without_a_folder_load_through_a_linked_one(tiny_encoder) -> None:
    files = dataclasses.replace(locate_encoder(str(tiny_encoder)), folder=None)
    with as_local_dir(files) as folder:
        assert folder != tiny_encoder
    expected_BD = load_encoder(str(tiny_encoder)).embed_images(random_pixels())
    assert torch.equal(build_encoder(files).embed_images(random_pixels()), expected_BD)


def test_nan_is_refused_with_its_place() -> None:
    features_BD = torch.ones(3, 4)
    features_BD[1, 2] = float("nan")
    with pytest.raises(NonFiniteEmbeddingError, match=r"NaN or inf for 1 of 3 inputs, places \[1\]"):
        unit_rows(features_BD)


def test_bare_architecture_needs_the_explicit_choice() -> None:
    with pytest.raises(UsageError, match="RN50 is an architecture without weights; its embeddings would be random"):
        locate_encoder("RN50")


def test_random_init_is_refused_where_there_are_weights(tiny_encoder) -> None:
    with pytest.raises(UsageError, match=r"--random-init was given with .* which has weights"):
        locate_encoder(str(tiny_encoder), random_init=True)


@pytest.mark.parametrize(
    ("reference", "text"),
    [
        ("no-such-encoder", "There is no encoder no-such-encoder: no such folder, and no architecture of that name"),
        ("no/such", "no/such is neither a folder nor NAME/PRETRAINED of open_clip's list"),
    ],
)
def test_unknown_encoder_is_refused(reference, text) -> None:
    with pytest.raises(EncoderError, match=text):
        locate_encoder(reference)


def test_unreachable_hub_tells_how_to_bring_the_files(monkeypatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(EncoderError, match="is not in the local cache and cannot be fetched") as caught:
        locate_encoder("hf-hub:nobody/nothing")
    assert "bring that folder here and give its path as ENCODER" in caught.value.remedy


def test_folder_without_configuration_is_refused(tmp_path) -> None:
    with pytest.raises(EncoderError, match=r"has no open_clip_config\.json"):
        locate_encoder(str(tmp_path))


def test_broken_configuration_is_refused(tiny_encoder, tmp_path) -> None:
    shutil.copytree(tiny_encoder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "open_clip_config.json").write_text("{")
    with pytest.raises(EncoderError, match="is not an open_clip configuration"):
        locate_encoder(str(tmp_path))


def test_pickled_weights_are_refused_unopened(tiny_encoder, tmp_path) -> None:
    shutil.copy(tiny_encoder / "open_clip_config.json", tmp_path)
    (tmp_path / "open_clip_pytorch_model.bin").write_bytes(b"not opened")
    with pytest.raises(
        EncoderError, match=r"only pickled weights \(open_clip_pytorch_model.bin\), which pinembed never"
    ):
        locate_encoder(str(tmp_path))


def test_truncated_weights_are_refused(tiny_encoder, tmp_path) -> None:
    shutil.copytree(tiny_encoder, tmp_path, dirs_exist_ok=True)
    weights = tmp_path / "open_clip_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(EncoderError, match="open_clip cannot load"):
        load_encoder(str(tmp_path))


def test_weights_of_another_architecture_are_refused(tiny_encoder, tmp_path) -> None:
    shutil.copytree(tiny_encoder, tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "open_clip_config.json").read_text())
    config["model_cfg"]["embed_dim"] = 24
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(EncoderError, match=r"open_clip cannot load .*size mismatch"):
        load_encoder(str(tmp_path))


def test_oblong_image_side_is_refused(tiny_encoder, tmp_path) -> None:
    shutil.copytree(tiny_encoder, tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "open_clip_config.json").read_text())
    config["model_cfg"]["vision_cfg"]["image_size"] = [32, 64]
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(EncoderError, match=r"image side \[32, 64\] is not square"):
        spec_of(tmp_path)


def test_foreign_torchvision_becomes_a_sentence(monkeypatch) -> None:
    def refuse(name: str) -> None:
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr("importlib.import_module", refuse)
    with pytest.raises(InstallationError, match="operator torchvision::nms does not exist") as caught:
        load_encoder("pinembed-tiny", random_init=True)
    assert "torch and torchvision must be one pair" in caught.value.remedy


def test_grey_picture_is_refused_nowhere(tiny_encoder) -> None:
    encoder = load_encoder(str(tiny_encoder))
    pixels_CHW = preprocess(Image.new("L", (40, 40), 128).convert("RGB"), encoder.preprocessing)
    assert torch.isfinite(encoder.embed_images(torch.from_numpy(pixels_CHW)[None])).all()


def test_convolutional_tower_gives_open_clips_embeddings() -> None:
    encoder = load_encoder("pinembed-tiny", random_init=True)
    pixels_BCHW = random_pixels(4, 96)
    with torch.inference_mode():
        plain = copy.deepcopy(encoder.model).to(memory_format=torch.contiguous_format)
        expected_BD = plain.encode_image(encoder.standardise(pixels_BCHW), normalize=True)
    assert torch.allclose(encoder.embed_images(pixels_BCHW), expected_BD, atol=1e-5)


TEXT = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
VISION = {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16}
TIMM = {"timm_pool": "avg", "timm_proj": "linear", "image_size": 32}
SIGLIP_TEXT = {**TEXT, "no_causal_mask": True, "proj_bias": True, "pool_type": "last", "norm_kwargs": {"eps": 1e-6}}
ARCHITECTURES = {
    "ViT": {"vision_cfg": VISION, "text_cfg": TEXT},
    "ViT, custom text": {"vision_cfg": VISION, "text_cfg": TEXT, "custom_text": True},
    "ResNet": {"vision_cfg": {**VISION, "layers": [1, 1, 1, 1], "width": 16, "head_width": 64}, "text_cfg": TEXT},
    "timm ConvNeXt": {"vision_cfg": {**TIMM, "timm_model_name": "test_convnext"}, "text_cfg": TEXT},
    "timm ResNet": {"vision_cfg": {**TIMM, "timm_model_name": "test_resnet"}, "text_cfg": TEXT},
    "SigLIP": {
        "vision_cfg": {**TIMM, "timm_model_name": "test_vit", "image_size": 64},
        "text_cfg": SIGLIP_TEXT,
        "custom_text": True,
        "init_logit_bias": -10,
    },
    "Hugging Face text": {
        "vision_cfg": VISION,
        "text_cfg": {"hf_model_name": "{folder}", "hf_proj_type": "mlp", "hf_pooler_type": "mean_pooler"},
    },
}
BERT = {
    "model_type": "bert",
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "vocab_size": 49408,
    "max_position_embeddings": 80,
}


@pytest.fixture(params=ARCHITECTURES)
def stored(request, tmp_path) -> EncoderFiles:
    """An encoder of each kind of tower, written by open_clip's own model and read from its file."""
    (tmp_path / "config.json").write_text(json.dumps(BERT))
    model_cfg = json.loads(json.dumps(ARCHITECTURES[request.param]).replace("{folder}", str(tmp_path)))
    files = EncoderFiles(
        reference="stored",
        architecture="stored",
        model_cfg={"embed_dim": 16, **model_cfg},
        preprocess_cfg={"size": model_cfg["vision_cfg"]["image_size"]},
        weights=tmp_path / "weights.safetensors",
        folder=None,
    )
    with as_local_dir(dataclasses.replace(files, weights=None)) as folder:
        torch.manual_seed(1)
        save_file(open_clip.create_model(f"local-dir:{folder}", pretrained_text=False).state_dict(), files.weights)
    return files


@pytest.mark.filterwarnings("ignore")
def test_tower_alone_gives_the_bits_of_open_clips_whole_model(stored) -> None:
    with as_local_dir(stored) as folder:
        whole = open_clip.create_model(f"local-dir:{folder}").eval()
    pixels_BCHW = random_pixels(2, stored.preprocess_cfg["size"])
    tokens_BT = open_clip.tokenize(["a red mug", "a lamp"], 16)
    texts, images, both = (build_encoder(stored, tower=tower) for tower in ("text", "image", None))
    whole = whole.to(memory_format=torch.channels_last)
    with torch.inference_mode():
        features_BD = whole.encode_image(both.standardise(pixels_BCHW))
        assert torch.equal(images.model.encode_image(images.standardise(pixels_BCHW)), features_BD)
        assert torch.equal(ImageTower(images.model.visual, images.preprocessing)(pixels_BCHW), features_BD)
        assert torch.equal(texts.model.encode_text(tokens_BT), whole.encode_text(tokens_BT))
    assert not hasattr(texts.model, "visual")
    state = whole.state_dict()
    assert both.model.state_dict().keys() == state.keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in both.model.state_dict().items())


def test_tower_alone_reads_no_tensor_of_the_other(stored, monkeypatch) -> None:
    read, honest = [], towers.safe_open

    @contextlib.contextmanager
    def recorded(path, framework):
        with honest(path, framework=framework) as file:
            get = lambda name: read.append(name) or file.get_tensor(name)  # noqa: E731
            yield SimpleNamespace(keys=file.keys, get_slice=file.get_slice, get_tensor=get)

    monkeypatch.setattr(towers, "safe_open", recorded)
    build_encoder(stored, tower="text")
    texts = set(read)
    read.clear()
    build_encoder(stored, tower="image")
    assert texts
    assert read
    assert all(name.startswith("visual.") for name in read)
    assert not any(name.startswith("visual.") for name in texts)


def test_weights_under_older_names_load_through_open_clip(tiny_encoder, tmp_path) -> None:
    files = locate_encoder(str(tiny_encoder))
    older = dataclasses.replace(files, folder=None, model_cfg={**files.model_cfg, "custom_text": True})
    expected_BD = load_encoder(str(tiny_encoder)).embed_texts(["a red mug"])
    assert torch.equal(build_encoder(older, tower="text").embed_texts(["a red mug"]), expected_BD)
    assert torch.equal(build_encoder(older).embed_texts(["a red mug"]), expected_BD)

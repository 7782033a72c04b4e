"""Folders as people bring them: one file of weights, a tokenizer that travels, and outputs that are loaded again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file

from pinembed.encoder.encoder import load_encoder
from pinembed.encoder.locate import encoder_spec, locate_encoder
from pinembed.encoder.reload import Sample, check_written
from pinembed.encoder.save import copy_encoder, save_encoder
from pinembed.errors import EncoderError, InstallationError
from pinembed.jobs.finetune import finetune
from pinembed.jobs.fuse import fuse
from pinembed.settings.training import FinetuneSettings, FuseSettings
from tests.conftest import draw_item, make_encoder, write_catalogue
from tests.families import FAMILIES, Family, write_family
from tests.stock import largest_difference, stock_vectors

TEXTS = ["a red circle", "a green square"]
BERT = FAMILIES["text tower of transformers (BERT)"]


@pytest.fixture
def trap(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pickle may be opened."""

    def spring(*args: object, **options: object) -> None:
        raise AssertionError(f"torch.load was called with {args}")

    monkeypatch.setattr(torch, "load", spring)


def two_weight_files(folder: Path, *, own: str, pickle: str) -> Path:
    """An encoder whose pickle holds other weights than its safetensors."""
    make_encoder(folder)
    first = folder / "open_clip_model.safetensors"
    tensors = load_file(first)
    torch.save(tensors, folder / pickle)
    generator = torch.Generator().manual_seed(3)
    noisy = {
        name: tensor + tensor.std() / 2 * torch.randn(tensor.shape, generator=generator)
        if tensor.is_floating_point() and tensor.numel() > 1
        else tensor
        for name, tensor in tensors.items()
    }
    first.unlink()
    save_file(noisy, folder / own)
    return folder


@pytest.mark.usefixtures("trap")
@pytest.mark.parametrize("pickle", ["open_clip_pytorch_model.bin", "pytorch_model.bin", "open_clip_pytorch_model.pth"])
def test_of_two_files_of_weights_all_take_the_safetensors_and_nobody_opens_the_pickle(tmp_path, pickle) -> None:
    folder = two_weight_files(tmp_path / "base", own="model.safetensors", pickle=pickle)
    plain = tmp_path / "plain"
    plain.mkdir()
    for name in ("open_clip_config.json", "model.safetensors"):
        shutil.copy(folder / name, plain)
    encoder, alone = load_encoder(str(folder)), load_encoder(str(plain))
    assert encoder.spec.fingerprint == alone.spec.fingerprint
    assert torch.equal(encoder.embed_texts(TEXTS), alone.embed_texts(TEXTS))
    data = write_catalogue(tmp_path / "data", views=5)
    fuse(FuseSettings(encoder=str(folder), data=data, out=tmp_path / "fused", group="color"))
    finetune(
        FinetuneSettings(
            data=data, base=str(folder), out=tmp_path / "tuned", group="color", epochs=1, lr=1e-9, fusion="off"
        )
    )
    stock_BD, _ = stock_vectors(tmp_path / "fused", [draw_item("red", "circle", 0)], TEXTS)
    expected_BD, _ = stock_vectors(plain, [draw_item("red", "circle", 0)], TEXTS)
    assert torch.allclose(stock_BD, expected_BD, atol=1e-6)
    assert not list(tmp_path.glob("fused/*.bin")) + list(tmp_path.glob("fused/*.pth"))


@pytest.mark.usefixtures("trap")
def test_table_search_and_figures_are_of_one_and_the_same_file(tmp_path, cli) -> None:
    data = write_catalogue(tmp_path / "data")
    found = []
    for name, pickle in (("two", "open_clip_pytorch_model.bin"), ("one", "removed.bin")):
        folder = two_weight_files(tmp_path / name, own="model.safetensors", pickle=pickle)
        (folder / "removed.bin").unlink(missing_ok=True)
        table = tmp_path / f"{name}-db" / "t"
        assert cli("encode", data, "--table", table, "--encoder", folder, "--quiet").exit_code == 0
        hits = cli("search", "--table", table, TEXTS[0], "--json").json["results"]
        figures = cli("evaluate", data, "--encoder", folder, "--text", "title", "--json").json
        found.append(([(hit["id"], round(hit["score"], 5)) for hit in hits], figures["fingerprint"]))
    assert found[0] == found[1]


@pytest.mark.usefixtures("trap")
def test_weights_that_open_clip_converts_are_taken_from_the_same_file(tmp_path) -> None:
    """Its own loading knows older names and sizes; it must not look for the file again."""
    folder = two_weight_files(tmp_path, own="model.safetensors", pickle="open_clip_pytorch_model.bin")
    tensors = load_file(folder / "model.safetensors")
    save_file({f"module.{name}": tensor for name, tensor in tensors.items()}, folder / "model.safetensors")
    loaded = load_encoder(str(folder)).model.state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in tensors.items())


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (("model-00001-of-00002.safetensors", "model.safetensors.index.json"), r"weights in shards \(model-00001-of-0"),
        (("pytorch_model.bin.index.json", "pytorch_model-00001-of-00002.bin"), "only pickled weights"),
        (("a.safetensors", "b.safetensors"), r"2 files of weights \(a.safetensors, b.safetensors\)"),
        (("adapter_model.safetensors", "adapter_config.json"), "an adapter without its base"),
        (("fp16/model.safetensors",), "no weights but fp16/model.safetensors in a folder of their own"),
        ((), "no weights"),
    ],
)
def test_a_folder_without_one_file_of_weights_is_refused_with_what_it_holds(tmp_path, names, text) -> None:
    folder = make_encoder(tmp_path)
    (folder / "open_clip_model.safetensors").unlink()
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"{}")
    with pytest.raises(EncoderError, match=f"holds {text}.*; wanted open_clip_model.safetensors"):
        locate_encoder(str(folder))


def test_weights_of_another_name_are_taken_where_they_are_the_only_ones(tmp_path) -> None:
    folder = make_encoder(tmp_path)
    (folder / "open_clip_model.safetensors").rename(folder / "epoch_5.safetensors")
    assert locate_encoder(str(folder)).weights == folder / "epoch_5.safetensors"
    assert largest_difference(folder, [draw_item("red", "circle", 0)], TEXTS) < 1e-5


def test_the_model_in_transformers_form_is_named(tmp_path) -> None:
    folder = make_encoder(tmp_path)
    (folder / "open_clip_model.safetensors").unlink()
    save_file({"text_model.embeddings.position_ids": torch.zeros(1)}, folder / "model.safetensors")
    with pytest.raises(EncoderError, match=r"model.safetensors holds the model in transformers' form"):
        load_encoder(str(folder))


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module._orig_mod.", "state_dict."])
def test_names_that_a_wrapper_has_lengthened_are_told(tmp_path, prefix) -> None:
    weights = make_encoder(tmp_path) / "open_clip_model.safetensors"
    save_file({f"{prefix}{name}": tensor for name, tensor in load_file(weights).items()}, weights)
    with pytest.raises(EncoderError, match=rf"the names of all tensors in {weights.name} begin with {prefix}"):
        load_encoder(str(tmp_path))


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.float8_e4m3fn])
def test_quantised_weights_are_refused_and_never_taken_for_floats(tmp_path, dtype) -> None:
    weights = make_encoder(tmp_path) / "open_clip_model.safetensors"
    tensors = load_file(weights)
    save_file({**tensors, "visual.proj": (50 * tensors["visual.proj"]).to(dtype)}, weights)
    with pytest.raises(EncoderError, match=r"holds quantised weights \(see visual.proj\); wanted FP32, FP16 or BF16"):
        load_encoder(str(tmp_path))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_of_half_the_width_are_read_by_stock_open_clip_alike(tmp_path, dtype) -> None:
    weights = make_encoder(tmp_path) / "open_clip_model.safetensors"
    save_file({name: t.to(dtype) if t.ndim else t for name, t in load_file(weights).items()}, weights)
    assert largest_difference(tmp_path, [draw_item("red", "circle", 0)], TEXTS) < 1e-5


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("snapshots/abc/open_clip_config.json", r"found snapshots/abc/open_clip_config.json"),
        ("encoder/open_clip_config.json", r"found encoder/open_clip_config.json"),
        ("config.json", "found a siglip model in transformers' form"),
    ],
)
def test_a_folder_around_or_beside_the_encoder_is_told_from_it(tmp_path, place, told) -> None:
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / place).write_text(json.dumps({"model_type": "siglip"}))
    with pytest.raises(EncoderError, match=f"has no open_clip_config.json; {told}"):
        locate_encoder(str(tmp_path))


def test_a_champion_is_copied_with_the_weights_that_were_loaded_alone(tmp_path) -> None:
    folder = two_weight_files(tmp_path / "base", own="model.safetensors", pickle="open_clip_pytorch_model.bin")
    (tmp_path / "out").mkdir()
    copy_encoder(load_encoder(str(folder)), tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["model.safetensors", "open_clip_config.json"]


TOKENIZED = [
    "text tower of transformers (BERT)",
    "SigLIP",
    "SigLIP 2 (Gemma's tokenizer)",
]


@pytest.mark.parametrize("name", TOKENIZED)
def test_a_written_encoder_keeps_every_file_of_its_tokenizer(tmp_path, name) -> None:
    folder = write_family(tmp_path / "base", FAMILIES[name])
    encoder = load_encoder(str(folder))
    (tmp_path / "out").mkdir()
    save_encoder(encoder, tmp_path / "out")
    again = load_encoder(str(tmp_path / "out"))
    assert torch.equal(again.tokenizer(TEXTS), encoder.tokenizer(TEXTS))
    assert len(set(encoder.tokenizer(TEXTS)[0].tolist())) > 3  # words, not one and the same unknown token
    assert largest_difference(tmp_path / "out", [draw_item("red", "circle", 0)], TEXTS) < 1e-5


def test_another_vocabulary_is_another_fingerprint(tmp_path) -> None:
    folder = write_family(tmp_path / "base", BERT)
    before = encoder_spec(locate_encoder(str(folder)))
    words = (folder / "vocab.txt").read_text().split("\n")
    (folder / "vocab.txt").write_text("\n".join([*words[:5], words[6], words[5], *words[7:]]))
    after = encoder_spec(locate_encoder(str(folder)))
    assert before.fingerprint != after.fingerprint
    assert type(before).from_json(json.loads(json.dumps(before.to_json()))) == before


def test_an_encoder_does_without_the_place_that_its_text_tower_came_from(tmp_path) -> None:
    """Its configuration names that place: a folder of the base, which may be gone by now."""
    folder = write_family(tmp_path / "base", BERT)
    (folder / "config.json").unlink()  # it lies in the other place alone
    encoder = load_encoder(str(folder))
    (tmp_path / "out").mkdir()
    save_encoder(encoder, tmp_path / "out")
    copy_encoder(encoder, tmp_path / "copy")
    tokenizer = encoder.spec.tokenizer_sha256
    (tmp_path / "base-text").rename(tmp_path / "gone")
    for name in ("out", "copy"):
        again = load_encoder(str(tmp_path / name))
        assert torch.equal(again.embed_texts(TEXTS), encoder.embed_texts(TEXTS))
        assert again.spec.tokenizer_sha256 == tokenizer
    with pytest.raises(EncoderError, match=r"has its text tower's configuration in .*base-text, which does not exist"):
        load_encoder(str(folder))


def test_a_tokenizer_that_needs_a_package_names_it(tmp_path, monkeypatch) -> None:
    folder = write_family(tmp_path / "base", FAMILIES["SigLIP"])
    (folder / "vocab.txt").unlink()
    (folder / "spiece.model").write_bytes(b"sentencepiece's")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "T5Tokenizer"}))
    monkeypatch.setattr("pinembed.encoder.encoder.find_spec", lambda name: None if name == "sentencepiece" else name)
    with pytest.raises(InstallationError, match=r"spiece.model, needs the package sentencepiece"):
        load_encoder(str(folder))


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Path:
    """The folder of a repository's snapshot, somebody/siglip, in a cache without a network."""
    for where in ("HF_HUB_CACHE", "HF_HUB_OFFLINE"):
        monkeypatch.setattr(f"huggingface_hub.constants.{where}", str(tmp_path / "hub") if "CACHE" in where else True)
    monkeypatch.setattr("huggingface_hub._snapshot_download.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    cached = tmp_path / "hub/models--somebody--siglip"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs/main").write_text("abc")
    return cached / "snapshots/abc"


@pytest.mark.usefixtures("trap")
@pytest.mark.parametrize("own", ["open_clip_pytorch_model.safetensors", "model.safetensors"])
def test_of_a_repository_on_the_hub_the_same_file_is_taken_as_of_its_folder(hub, own) -> None:
    hub.mkdir(parents=True)
    two_weight_files(hub, own=own, pickle="open_clip_pytorch_model.bin")
    of_hub, of_folder = locate_encoder("hf-hub:somebody/siglip"), locate_encoder(str(hub))
    assert of_hub.weights == of_folder.weights
    assert encoder_spec(of_hub).fingerprint == encoder_spec(of_folder).fingerprint


def test_a_tokenizer_on_the_hub_has_the_fingerprint_of_its_files_in_a_folder(tmp_path, hub) -> None:
    folder = write_family(tmp_path / "base", FAMILIES["SigLIP 2 (Gemma's tokenizer)"])
    config = json.loads((folder / "open_clip_config.json").read_text())
    config["model_cfg"]["text_cfg"]["hf_tokenizer_name"] = "somebody/siglip"
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    shutil.copytree(folder, hub)
    of_folder, of_hub = (locate_encoder(name) for name in (str(folder), "hf-hub:somebody/siglip"))
    assert [path.name for path in of_hub.tokenizer] == [path.name for path in of_folder.tokenizer]
    assert encoder_spec(of_hub).fingerprint == encoder_spec(of_folder).fingerprint


def test_a_folder_that_lost_a_file_of_its_tokenizer_is_not_called_done(tmp_path) -> None:
    encoder = load_encoder(str(write_family(tmp_path / "base", BERT)))
    (tmp_path / "out").mkdir()
    save_encoder(encoder, tmp_path / "out")
    (tmp_path / "out/vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n")
    data = write_catalogue(tmp_path / "data")
    sample = Sample(images=[data / "images/red-circle-0.png"], texts=TEXTS)
    with pytest.raises(EncoderError, match=r"gives other vectors than .*: images differ by up to 0.0e\+00, texts by "):
        check_written(tmp_path / "out", encoder, sample)


def test_a_written_encoder_is_checked_on_the_cpu_wherever_it_was_trained(tmp_path) -> None:
    encoder = load_encoder(str(write_family(tmp_path / "base", BERT)))
    (tmp_path / "out").mkdir()
    save_encoder(encoder, tmp_path / "out")
    data = write_catalogue(tmp_path / "data")
    encoder.device = torch.device("cuda")
    check_written(tmp_path / "out", encoder, Sample(images=[data / "images/red-circle-0.png"], texts=TEXTS))


def run_fuse(folder: Path, data: Path, out: Path) -> None:
    fuse(FuseSettings(encoder=str(folder), data=data, out=out, group="color"))


def run_finetune(folder: Path, data: Path, out: Path) -> None:
    finetune(FinetuneSettings(data=data, base=str(folder), out=out, group="color", epochs=1))


@pytest.mark.parametrize("run", [run_finetune, run_fuse])
def test_what_is_written_is_loaded_before_it_is_done(tmp_path, monkeypatch, run) -> None:
    """A writer that loses something ends the run, and nothing stays."""
    folder = write_family(tmp_path / "base", BERT)
    data = write_catalogue(tmp_path / "data", views=5)
    honest = shutil.copyfile

    def loses(source: Path, target: Path) -> None:
        honest(source, target)
        if Path(source).name == "vocab.txt":
            Path(target).write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n")

    monkeypatch.setattr("pinembed.encoder.save.shutil.copyfile", loses)
    monkeypatch.setattr(
        "pinembed.encoder.save.shutil.copytree",
        lambda source, target, **_: [loses(path, target / path.name) for path in source.iterdir()],
    )
    with pytest.raises(EncoderError, match="The encoder that was written gives other vectors"):
        run(folder, data, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("run", [run_finetune, run_fuse])
def test_no_name_of_a_temporary_folder_stays_in_what_is_written(tmp_path, run) -> None:
    folder = write_family(tmp_path / "base", FAMILIES["SigLIP 2 (Gemma's tokenizer)"])
    run(folder, write_catalogue(tmp_path / "data", views=5), tmp_path / "out")
    kept = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(kept) > 4
    for path in kept:
        assert not any(name in path.read_bytes() for name in (b".partial-", b"/pinembed-")), path


def quick_gelu_pairs() -> list[tuple[str, str]]:
    """References whose tag was trained with another activation than the name says."""
    return [
        (name, tag)
        for name, tag in open_clip.list_pretrained()
        if open_clip.get_pretrained_cfg(name, tag).get("quick_gelu")
        and not open_clip.get_model_config(name).get("quick_gelu")
        and "hf_tokenizer_name" not in open_clip.get_model_config(f"{name}-quickgelu")["text_cfg"]
    ]


def test_a_tag_that_was_trained_with_quick_gelu_is_computed_with_it(tmp_path, monkeypatch) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"weights")
    monkeypatch.setattr("open_clip.pretrained.download_pretrained", lambda cfg: str(tmp_path / "w.safetensors"))
    pairs = quick_gelu_pairs()
    assert {("RN50", "openai"), ("ViT-B-32", "metaclip_400m")} <= set(pairs)
    for name, tag in pairs:
        plain, right = (locate_encoder(reference) for reference in (f"{name}/{tag}", f"{name}-quickgelu/{tag}"))
        assert plain.model_cfg["quick_gelu"] is True
        assert encoder_spec(plain).fingerprint == encoder_spec(right).fingerprint, name


PROJECTIONS = {
    "a bias, CLIP": {"text_cfg": {"proj_bias": True}},
    "a bias, CustomTextCLIP": {"custom_text": True, "text_cfg": {"proj_bias": True}},
    "no projection of texts": {"embed_dim": 32, "text_cfg": {"proj_type": "none"}},
    "a logit scale of one float": {"nonscalar_logit_scale": True},
    "an own end of text": {"text_cfg": {"pool_type": "eos", "eos_id": 49407}},
    "texts pooled first": {"text_cfg": {"pool_type": "first"}},
    "images pooled by mean": {"vision_cfg": {"pool_type": "avg", "final_ln_after_pool": True}},
    "images pooled by attention": {"vision_cfg": {"attentional_pool": True, "attn_pooler_heads": 2}},
    "sines for places": {"vision_cfg": {"pos_embed_type": "sin_cos_2d", "no_ln_pre": True}},
    "blocks of its own": {"vision_cfg": {"qk_norm": True, "scale_fc": True}, "text_cfg": {"scale_attn": True}},
}


def odd(changes: dict) -> Family:
    cfg = FAMILIES["ViT"].model_cfg
    towers = {name: {**cfg[name], **changes.get(name, {})} for name in ("vision_cfg", "text_cfg")}
    return Family(model_cfg={**cfg, **changes, **towers})


@pytest.mark.parametrize("name", PROJECTIONS)
def test_every_form_of_towers_that_open_clip_builds_is_tuned_and_stored(tmp_path, name) -> None:
    folder = write_family(tmp_path / "base", odd(PROJECTIONS[name]))
    pictures = [draw_item("red", "circle", 0), draw_item("blue", "square", 1)]
    assert largest_difference(folder, pictures, TEXTS) < 1e-5
    report = finetune(
        FinetuneSettings(
            data=write_catalogue(tmp_path / "data", views=5),
            base=str(folder),
            out=tmp_path / "out",
            group="color",
            epochs=1,
            lr=1e-3,
        )
    )
    assert report.stopped is None
    assert largest_difference(tmp_path / "out", pictures, TEXTS) < 1e-5


@pytest.mark.parametrize(
    "changes",
    [
        {"vision_cfg": {"pool_type": "none"}},
        {"text_cfg": {"pool_type": "none"}},
        {"vision_cfg": {"output_tokens": True}},
        {"embed_dim": 16, "text_cfg": {"proj_type": "none"}},
    ],
    ids=str,
)
def test_towers_that_give_no_vector_of_embed_dim_are_refused_before_any_work(tmp_path, changes, monkeypatch) -> None:
    folder = write_family(tmp_path / "base", odd(changes))
    monkeypatch.setattr("pinembed.jobs.finetune.read_splits", lambda *_, **__: pytest.fail("work was begun"))
    with pytest.raises(EncoderError, match=r"wanted one vector of (16|32) floats for each input"):
        finetune(FinetuneSettings(data=tmp_path, base=str(folder), out=tmp_path / "out"))

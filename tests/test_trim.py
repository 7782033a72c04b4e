"""Trim: what is written, what is refused, and that stock transformers reads it back."""

from __future__ import annotations

import json
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from pinembed.errors import ModelError
from pinembed.jobs.trim import trim
from pinembed.settings.model import TrimSettings
from pinembed.trimmed.checkpoint import INDEX_NAME, read_checkpoint
from pinembed.trimmed.families import family_of
from pinembed.trimmed.measure import LARGE_TOWER, ROPE, SHAPES, VisionShape, prefill_flops, shape_config
from pinembed.trimmed.trim import stub_tensors, trimmed_config
from tests.conftest import CliResult, make_qwen3vl

KINDS = {
    "dense tied, one file": {},
    "dense untied, sharded": {"tied": False, "max_shard": "40KB"},
    "moe untied, sharded": {"experts": 4, "tied": False, "max_shard": "40KB"},
    "moe tied, one file": {"experts": 4},
}


def all_weights(folder: Path) -> dict[str, torch.Tensor]:
    return {name: tensor for path in sorted(folder.glob("*.safetensors")) for name, tensor in load_file(path).items()}


@pytest.mark.parametrize("kind", KINDS)
def test_trimmed_checkpoint_reloads_with_stock_transformers(tmp_path: Path, kind: str) -> None:
    from transformers import AutoModelForImageTextToText

    model = make_qwen3vl(tmp_path / "model", **KINDS[kind])  # type: ignore[arg-type]

    report = trim(TrimSettings(model=model, out=tmp_path / "out"))

    _, info = AutoModelForImageTextToText.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert not info["mismatched_keys"]
    before, after = all_weights(model), all_weights(tmp_path / "out")
    language = {name for name in before if not name.startswith("model.visual.")}
    assert {name for name in after if not name.startswith("model.visual.")} == language
    assert all(torch.equal(before[name], after[name]) for name in language)
    assert report.parameters_kept == sum(before[name].numel() for name in language)
    assert report.parameters == report.parameters_kept + report.parameters_removed
    assert read_checkpoint(tmp_path / "out").is_trimmed


def test_trim_carries_tokenizer_template_generation_config_and_licence(
    tiny_qwen3vl: Path, trimmed_qwen3vl: Path
) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json", "LICENSE"):
        assert (trimmed_qwen3vl / name).read_bytes() == (tiny_qwen3vl / name).read_bytes()


def test_trim_leaves_weights_of_other_formats_behind(tmp_path: Path) -> None:
    model = make_qwen3vl(tmp_path / "model")
    (model / "pytorch_model.bin").write_bytes(b"pickle")
    (model / "consolidated.safetensors").write_bytes(b"another layout")

    trim(TrimSettings(model=model, out=tmp_path / "out"))

    assert not (tmp_path / "out" / "pytorch_model.bin").exists()
    assert not (tmp_path / "out" / "consolidated.safetensors").exists()


def test_trim_sharded_index_names_every_tensor_and_its_bytes(tmp_path: Path) -> None:
    trim(TrimSettings(model=make_qwen3vl(tmp_path / "model", max_shard="40KB"), out=tmp_path / "out"))

    index = json.loads((tmp_path / "out" / INDEX_NAME).read_text(encoding="utf-8"))

    weights = all_weights(tmp_path / "out")
    assert set(index["weight_map"]) == set(weights)
    assert index["metadata"]["total_size"] == sum(t.numel() * t.element_size() for t in weights.values())


def published(size: str) -> Any:
    """Transformers' config of a published checkpoint."""
    import transformers

    if size in SHAPES:
        return shape_config(size)
    text = {
        "hidden_size": 2048,
        "intermediate_size": 6144,
        "moe_intermediate_size": 768,
        "num_hidden_layers": 48,
        "num_attention_heads": 32,
        "num_key_value_heads": 4,
        "head_dim": 128,
        "num_experts": 128,
        "num_experts_per_tok": 8,
        "rope_parameters": dict(ROPE),
        "vocab_size": 151_936,
    }
    vision = {**LARGE_TOWER, "num_heads": 16, "out_hidden_size": 2048}
    return transformers.Qwen3VLMoeConfig(text_config=text, vision_config=vision, tie_word_embeddings=False)


@pytest.mark.parametrize(("size", "billions"), [("2B", 2.13), ("4B", 4.44), ("8B", 8.77), ("30B-A3B", 31.07)])
def test_what_is_left_of_a_published_size_is_what_the_architecture_asks_for(size: str, billions: float) -> None:
    import transformers

    config = published(size)
    architecture = getattr(transformers, type(config).__name__.replace("Config", "ForConditionalGeneration"))
    family = family_of(config.to_dict())
    assert family is not None
    left_config = trimmed_config(config.to_dict(), family)
    with torch.device("meta"):
        full = architecture(config).state_dict()
        wanted = architecture(type(config)(**left_config)).state_dict()

    stub = stub_tensors(left_config, tower="model.visual.", dtype="BF16")
    left = {name: tuple(tensor.shape) for name, tensor in full.items() if not name.startswith("model.visual.")}
    left |= {tensor.name: tensor.shape for tensor in stub}

    assert left == {name: tuple(tensor.shape) for name, tensor in wanted.items()}
    tied = full["lm_head.weight"].numel() if config.tie_word_embeddings else 0
    assert (sum(tensor.numel() for tensor in full.values()) - tied) / 1e9 == pytest.approx(billions, abs=0.01)


@pytest.mark.parametrize("kind", ["dense tied, one file", "moe untied, sharded"])
def test_trim_verify_compares_with_the_full_model(tmp_path: Path, kind: str) -> None:
    model = make_qwen3vl(tmp_path / "model", **KINDS[kind])  # type: ignore[arg-type]

    report = trim(TrimSettings(model=model, out=tmp_path / "out", verify=True))

    assert [check.name for check in report.parity] == ["one item", "two items", "left-padded batch", "beams"]
    assert all(check.equal and check.max_difference < 1e-6 for check in report.parity)


def test_trim_verify_finds_a_changed_weight(tmp_path: Path, tiny_qwen3vl: Path, trimmed_qwen3vl: Path) -> None:
    from pinembed.trimmed.trim import compare

    changed = tmp_path / "changed"
    shutil.copytree(trimmed_qwen3vl, changed)
    weights = load_file(changed / "model.safetensors")
    weights["model.language_model.norm.weight"][0] += 1
    save_file(weights, changed / "model.safetensors", metadata={"format": "pt"})

    assert not any(check.equal for check in compare(tiny_qwen3vl, changed)[:3])


def test_trim_command_reports_what_it_removed(
    cli: Callable[..., CliResult], tmp_path: Path, tiny_qwen3vl: Path
) -> None:
    result = cli("trim", tiny_qwen3vl, "--out", tmp_path / "out", "--json")

    assert result.exit_code == 0
    assert result.json["model_type"] == "qwen3_vl"
    assert result.json["parameters_removed"] > 0
    assert result.json["tokens_per_image"] == 1024
    assert "vision FLOPs" in result.stderr


def test_trim_refuses_an_output_folder_that_exists(
    cli: Callable[..., CliResult], tmp_path: Path, tiny_qwen3vl: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine", encoding="utf-8")

    result = cli("trim", tiny_qwen3vl, "--out", tmp_path / "out", "--overwrite")

    assert result.exit_code == 1
    assert "did not write: mine.txt" in result.words
    assert (tmp_path / "out" / "mine.txt").read_text(encoding="utf-8") == "mine"


def edit_config(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, **changes}), encoding="utf-8")


@pytest.fixture
def broken(tmp_path: Path, tiny_qwen3vl: Path) -> Path:
    """A copy of the tiny checkpoint for the test to break."""
    shutil.copytree(tiny_qwen3vl, tmp_path / "broken")
    return tmp_path / "broken"


def refused(model: Path, tmp_path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        trim(TrimSettings(model=model, out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()
    assert caught.value.remedy
    return caught.value.message


def test_trim_refuses_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert "does not exist; wanted a folder with a Qwen3-VL or Qwen3.5 checkpoint" in refused(
        tmp_path / "none", tmp_path
    )


def test_trim_refuses_a_folder_without_config(broken: Path, tmp_path: Path) -> None:
    (broken / "config.json").unlink()
    assert (
        "has no config.json; found LICENSE, chat_template.jinja, generation_config.json ...; wanted a Qwen3-VL"
        in refused(broken, tmp_path)
    )


def test_trim_refuses_another_family_and_names_it(broken: Path, tmp_path: Path) -> None:
    edit_config(broken, model_type="qwen2_5_vl")
    assert "describes a qwen2_5_vl model; wanted qwen3_vl or qwen3_vl_moe or qwen3_5 or qwen3_5_moe" in refused(
        broken, tmp_path
    )


def test_trim_refuses_a_config_that_is_no_object(broken: Path, tmp_path: Path) -> None:
    (broken / "config.json").write_text("[1]", encoding="utf-8")
    assert "holds no JSON object" in refused(broken, tmp_path)


def test_trim_refuses_a_config_without_a_vision_part(broken: Path, tmp_path: Path) -> None:
    edit_config(broken, vision_config=None)
    assert "has no vision_config" in refused(broken, tmp_path)


def test_trim_refuses_pickled_weights(broken: Path, tmp_path: Path) -> None:
    (broken / "model.safetensors").rename(broken / "pytorch_model.bin")
    assert "pickled weights only (pytorch_model.bin)" in refused(broken, tmp_path)


def test_trim_refuses_weights_in_gguf_and_takes_no_notice_of_them_beside_safetensors(
    broken: Path, tmp_path: Path
) -> None:
    (broken / "model-q4.gguf").write_bytes(b"GGUF")
    trim(TrimSettings(model=broken, out=tmp_path / "beside"))
    (broken / "model.safetensors").unlink()
    assert "holds weights in GGUF only (model-q4.gguf)" in refused(broken, tmp_path)


def test_trim_refuses_a_folder_without_weights(broken: Path, tmp_path: Path) -> None:
    (broken / "model.safetensors").unlink()
    assert "holds no weights; wanted model.safetensors" in refused(broken, tmp_path)


def test_trim_refuses_truncated_weights(broken: Path, tmp_path: Path) -> None:
    path = broken / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    assert "is no whole safetensors file" in refused(broken, tmp_path)


def test_trim_refuses_a_pickle_with_the_name_of_a_safetensors_file(broken: Path, tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(2)}, broken / "model.safetensors")
    assert "is no whole safetensors file" in refused(broken, tmp_path)


def test_trim_refuses_an_index_that_points_outside(broken: Path, tmp_path: Path) -> None:
    index = {"weight_map": {"a": "../../elsewhere.safetensors"}}
    (broken / INDEX_NAME).write_text(json.dumps(index), encoding="utf-8")
    assert "names '../../elsewhere.safetensors'; wanted safetensors files in the same folder" in refused(
        broken, tmp_path
    )


def test_trim_refuses_an_index_with_a_missing_shard(broken: Path, tmp_path: Path) -> None:
    (broken / INDEX_NAME).write_text(json.dumps({"weight_map": {"a": "model-1.safetensors"}}), encoding="utf-8")
    assert "names model-1.safetensors, which is missing" in refused(broken, tmp_path)


def test_trim_refuses_weights_without_a_vision_tower(broken: Path, tmp_path: Path) -> None:
    save_file({"lm_head.weight": torch.zeros(2, 2)}, broken / "model.safetensors")
    assert "none of a vision tower" in refused(broken, tmp_path)


def test_trim_refuses_a_trimmed_checkpoint(trimmed_qwen3vl: Path, tmp_path: Path) -> None:
    assert "it is trimmed already" in refused(trimmed_qwen3vl, tmp_path)


def test_trim_verify_without_transformers_names_the_extra(
    cli: Callable[..., CliResult], tmp_path: Path, tiny_qwen3vl: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pinembed.trimmed.checkpoint.importlib.util.find_spec", lambda name: None)

    result = cli("trim", tiny_qwen3vl, "--out", tmp_path / "out", "--verify")

    assert result.exit_code == 1
    assert "needs the package transformers, which is not installed" in result.words
    assert 'pip install "pinembed[vlm]"' in result.words


def test_vision_flops_follow_the_formula() -> None:
    shape = VisionShape(
        depth=2, hidden=8, intermediate=16, channels=3, patch_px=4, frames=2, merge=2, levels=1, out_hidden=10
    )
    n, h, i, out = 16, 8, 16, 10

    assert shape.tokens(16) == 4
    assert shape.flops(16) == (
        2 * n * h * 3 * 2 * 16
        + 2 * (2 * n * (4 * h * h + 2 * h * i) + 4 * n * n * h)
        + 2 * (n // 2) * (16 * h * h + 4 * h * out)
    )


def test_prefill_flops_agree_with_the_flop_counter_of_torch(tiny_qwen3vl: Path) -> None:
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import AutoModelForImageTextToText

    model = AutoModelForImageTextToText.from_pretrained(tiny_qwen3vl, attn_implementation="eager").eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(input_ids=torch.arange(64)[None], logits_to_keep=1)

    ours = prefill_flops(model.config.text_config.to_dict(), 64)
    full_attention = 2 * 64 * 64 * 32 * 2  # the eager kernel also computes the half that the causal mask drops
    assert ours + full_attention == counter.get_total_flops()


def test_trim_holds_a_block_in_memory_and_never_a_whole_tensor(
    tmp_path: Path, tiny_qwen3vl: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_qwen3vl, model)
    tensor_bytes = 32 << 20
    weights = {
        "model.visual.pos_embed.weight": torch.zeros(4, 4),
        "model.language_model.embed_tokens.weight": torch.zeros(tensor_bytes // 4 // 32, 32),
    }
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    monkeypatch.setattr("pinembed.trimmed.shards.COPY_BYTES", 1 << 20)

    tracemalloc.start()
    trim(TrimSettings(model=model, out=tmp_path / "out"))
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert (tmp_path / "out" / "model.safetensors").stat().st_size > tensor_bytes
    assert peak_bytes < tensor_bytes / 4


def test_trim_of_a_hub_checkpoint_that_cannot_be_fetched_says_what_to_do(
    cli: Callable[..., CliResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*arguments: object, **options: object) -> str:
        from huggingface_hub.errors import LocalEntryNotFoundError

        raise LocalEntryNotFoundError("outgoing traffic is off")

    monkeypatch.setattr("huggingface_hub.snapshot_download", unreachable)
    result = cli("trim", "hf-hub:Qwen/Qwen3-VL-2B-Instruct", "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "is not in the local cache and cannot be fetched: outgoing traffic is off" in result.words
    assert "Bring the checkpoint's folder by hand" in result.words


def test_trim_takes_a_hub_checkpoint_from_the_cache(
    tmp_path: Path, tiny_qwen3vl: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def cached(repo: str, *, allow_patterns: list[str]) -> str:
        asked.append(repo)
        assert not any("bin" in pattern or "*.py" in pattern for pattern in allow_patterns)
        return str(tiny_qwen3vl)

    monkeypatch.setattr("huggingface_hub.snapshot_download", cached)
    trim(TrimSettings(model="hf-hub:owner/tiny", out=tmp_path / "out"))
    assert asked == ["owner/tiny"]
    assert read_checkpoint(tmp_path / "out").is_trimmed

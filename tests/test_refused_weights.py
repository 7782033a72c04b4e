"""Weights that pinembed does not read are refused before any work, in words that tell what to do."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from pinembed.errors import ModelError
from pinembed.jobs.trim import trim
from pinembed.settings.model import TrimSettings
from pinembed.trimmed.checkpoint import read_checkpoint
from pinembed.trimmed.model import load_parts
from tests.conftest import CliResult
from tests.published_forms import (
    FORMS,
    FP8,
    Made,
    dump,
    in_fp8,
    one_by_one,
    write_form,
)

pytest_plugins = ("tests.forms_fixtures",)


QUANTISED: dict[str, dict[str, Any]] = {
    "awq": {"quantization_config": {"quant_method": "awq", "bits": 4}},
    "gptq": {"quantization_config": {"quant_method": "gptq", "bits": 4}},
    "bitsandbytes": {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}},
    "compressed-tensors": {"quantization_config": {"quant_method": "compressed-tensors"}},
    "mlx": {"quantization": {"group_size": 64, "bits": 4}},
    "fp8 without blocks": {"quantization_config": {"quant_method": "fp8", "activation_scheme": "static"}},
}


@pytest.mark.parametrize("method", QUANTISED)
@pytest.mark.parametrize("command", ["trim", "align", "ask", "bench"])
def test_other_quantised_checkpoints_are_refused_before_any_work(
    made: Made, shop: Path, source: Path, tmp_path: Path, cli: Callable[..., CliResult], method: str, command: str
) -> None:
    model = copy_with(made("Qwen3-VL-2B-Instruct")[command in {"align", "ask"}], tmp_path, QUANTISED[method])
    out = tmp_path / "out"
    done = {
        "trim": lambda: cli("trim", model, "--out", out),
        "align": lambda: cli("align", shop, "--model", model, "--source", source, "--out", out),
        "ask": lambda: cli("ask", "color?", "--model", model, "--source", source, "--item", "i0"),
        "bench": lambda: cli("bench", "vlm", model),
    }[command]()
    assert done.exit_code == 1
    assert f"holds weights quantised by {method}; wanted BF16, FP16 or FP32 ones, or FP8 in blocks" in done.words
    assert not out.exists()


def copy_with(folder: Path, tmp_path: Path, entries: dict[str, Any]) -> Path:
    model = Path(shutil.copytree(folder, tmp_path / "copy"))
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    dump(model / "config.json", {**config, **entries})
    return model


@pytest.mark.parametrize(
    ("file", "dtype", "told"),
    [
        ("quantize_config.json", torch.bfloat16, "see quantize_config.json"),
        ("NOTICE", torch.int32, "see model.language_model.layers.0.mlp.down_proj.weight"),
        ("NOTICE", torch.float8_e4m3fn, "see model.language_model.layers.0.mlp.down_proj.weight"),
    ],
)
def test_a_quantisation_that_config_does_not_tell_is_refused(
    made: Made, tmp_path: Path, file: str, dtype: torch.dtype, told: str
) -> None:
    model = copy_with(made("Qwen3-VL-2B-Instruct")[0], tmp_path, {})
    (model / file).write_text("{}", encoding="utf-8")
    stored = load_file(model / "model.safetensors")
    name = "model.language_model.layers.0.mlp.down_proj.weight"
    save_file({**stored, name: stored[name].to(dtype)}, model / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"a method that config\.json does not name") as caught:
        trim(TrimSettings(model=str(model), out=tmp_path / "out"))
    assert told in caught.value.message


def test_fp8_weights_without_their_scales_are_refused(made: Made, tmp_path: Path) -> None:
    model = copy_with(made("Qwen3-VL-2B-Instruct-FP8")[0], tmp_path, {})
    stored = load_file(model / "model.safetensors")
    del stored["model.language_model.layers.0.self_attn.q_proj.weight_scale_inv"]
    save_file(stored, model / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"fp8, without a scale or of another type in .*q_proj\.weight"):
        trim(TrimSettings(model=str(model), out=tmp_path / "out"))


def scaled_at_once(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Experts of a layer in one FP8 tensor, with its scales beside it."""
    found = {}
    for name, tensor in in_fp8(weights).items():
        if ".experts." not in name:
            found[name] = tensor
            continue
        scale_E11 = tensor.float().abs().amax(dim=(1, 2), keepdim=True) / 448
        found |= {name: (tensor / scale_E11).to(torch.float8_e4m3fn), f"{name}_scale_inv": scale_E11.bfloat16()}
    return found


@pytest.mark.parametrize("name", ["Qwen3-VL-30B-A3B-Instruct", "Qwen3.5-35B-A3B"])
def test_fp8_experts_in_one_tensor_are_refused_as_transformers_reads_them_unscaled(tmp_path: Path, name: str) -> None:
    form = dataclasses.replace(FORMS[name], config=FP8, tensors=scaled_at_once, shards=1)
    with pytest.raises(ModelError, match=r"fp8, with all experts in one tensor in .*experts"):
        trim(TrimSettings(model=str(write_form(tmp_path / "full", form)), out=tmp_path / "out"))


def test_scales_that_transformers_does_not_apply_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    form = dataclasses.replace(FORMS["Qwen3-VL-30B-A3B-Instruct"], config=FP8, tensors=scaled_at_once, shards=1)
    monkeypatch.setattr("pinembed.trimmed.checkpoint.check_quantisation", lambda *_: None)
    with pytest.raises(ModelError, match=r"does not apply 4 scale\(s\) of quantised weights"):
        load_parts(write_form(tmp_path / "full", form))


@pytest.mark.parametrize("quantised", [False, True])
def test_single_experts_of_a_family_that_reads_none_are_refused_before_any_work(
    tmp_path: Path, quantised: bool
) -> None:
    """Transformers would draw random ones in their place."""
    form = dataclasses.replace(
        FORMS["Qwen3-VL-30B-A3B-Instruct"],
        tensors=lambda weights: in_fp8(one_by_one(weights)) if quantised else one_by_one(weights),
        config=FP8 if quantised else {},
    )
    with pytest.raises(ModelError, match=r"holds Qwen3-VL MoE's experts one by one .*; wanted all of a layer"):
        trim(TrimSettings(model=str(write_form(tmp_path / "full", form)), out=tmp_path / "out"))


@pytest.mark.parametrize("beside_weights", [False, True])
def test_an_adapter_is_to_be_merged_first(made: Made, tmp_path: Path, beside_weights: bool) -> None:
    model = copy_with(made("Qwen3-VL-2B-Instruct")[0], tmp_path, {})
    dump(model / "adapter_config.json", {"peft_type": "LORA", "base_model_name_or_path": "Qwen/Qwen3-VL-2B-Instruct"})
    if not beside_weights:
        (model / "model.safetensors").rename(model / "adapter_model.safetensors")
        (model / "config.json").unlink()
    with pytest.raises(ModelError, match=r"holds an adapter .* of Qwen/Qwen3-VL-2B-Instruct") as caught:
        trim(TrimSettings(model=str(model), out=tmp_path / "out"))
    assert caught.value.remedy.startswith("Merge it into its base first")


def test_weights_that_lie_there_twice_are_refused_before_any_work(made: Made, tmp_path: Path) -> None:
    """Transformers reads the single file, the index names the shards: trim and what it is held against would differ."""
    model = copy_with(made("Qwen3-VL-4B-Instruct")[0], tmp_path, {})
    first, second = sorted(model.glob("model-*.safetensors"))
    stored = load_file(first)
    save_file({**load_file(second), **dict(list(stored.items())[:1])}, second, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=rf"in {first.name} and in {second.name}"):
        read_checkpoint(model)
    save_file(stored, model / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"holds its weights twice: model.safetensors, which transformers reads"):
        trim(TrimSettings(model=str(model), out=tmp_path / "out"))


def test_an_untied_model_without_a_head_is_refused(made: Made, tmp_path: Path) -> None:
    model = copy_with(made("Qwen3-VL-Embedding-2B")[0], tmp_path, {"tie_word_embeddings": False})
    with pytest.raises(ModelError, match=r"has no lm_head\.weight and does not tie it"):
        trim(TrimSettings(model=str(model), out=tmp_path / "out"))

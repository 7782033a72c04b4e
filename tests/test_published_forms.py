"""Every published form of a checkpoint goes through trim, align, ask, bench and both servers' formats, and stays so."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from pinembed import ServingRequests
from pinembed.errors import ModelError, UsageError
from pinembed.jobs.bench_vlm import bench_vlm
from pinembed.jobs.trim import trim
from pinembed.settings.measuring import BenchVlmSettings
from pinembed.settings.model import TrimSettings
from pinembed.trimmed.checkpoint import INDEX_NAME, read_checkpoint
from pinembed.trimmed.families import FAMILIES
from pinembed.trimmed.measure import prefill_flops
from pinembed.trimmed.model import TrimmedModel, load_parts
from pinembed.trimmed.soft_tokens import from_base64
from tests.conftest import CliResult
from tests.published_forms import (
    FORMS,
    HEAD,
    HEADS,
    LINEAR,
    Form,
    Made,
    aligned,
    headers,
    served_by_vllm,
    split_experts,
    weights,
    write_form,
)

pytest_plugins = ("tests.forms_fixtures",)


@pytest.mark.parametrize("name", FORMS)
def test_a_trimmed_form_says_what_the_full_one_says(made: Made, name: str) -> None:
    _, _, report = made(name)
    assert [check.name for check in report.parity] == ["one item", "two items", "left-padded batch", "beams"]
    assert [check.max_difference for check in report.parity] == [0.0] * 4
    assert all(check.equal for check in report.parity)


@pytest.mark.parametrize("name", FORMS)
def test_a_trimmed_form_reloads_in_stock_transformers_without_a_missing_or_unexpected_key(
    made: Made, name: str
) -> None:
    from transformers import AutoModelForImageTextToText

    _, trimmed, _ = made(name)
    model, info = AutoModelForImageTextToText.from_pretrained(trimmed, output_loading_info=True)
    assert [list(info[key]) for key in ("missing_keys", "unexpected_keys", "mismatched_keys")] == [[], [], []]
    assert len(model.model.visual.blocks) == 1
    assert not any(parameter.any() for parameter in model.model.visual.parameters())


@pytest.mark.parametrize("name", FORMS)
def test_a_trimmed_form_keeps_every_other_tensor_byte_for_byte(made: Made, name: str) -> None:
    full, trimmed, _ = made(name)
    before, after = headers(full), headers(trimmed)
    kept = {tensor: entry[:2] for tensor, entry in before.items() if "visual." not in tensor}
    assert {tensor: entry[:2] for tensor, entry in after.items() if "visual." not in tensor} == kept
    old, new = weights(full), weights(trimmed)
    assert all(torch.equal(old[tensor].view(torch.uint8), new[tensor].view(torch.uint8)) for tensor in kept)


@pytest.mark.parametrize("learns", ["projector", "all", "lora"])
@pytest.mark.parametrize("name", FORMS)
def test_an_aligned_form_has_the_tensors_of_its_base_in_their_types_and_layouts(
    made: Made, name: str, learns: str, shop: Path, source: Path, tmp_path: Path
) -> None:
    _, trimmed, _ = made(name)
    settings = {
        "projector": {"train_language_model": False},
        "all": {"train_language_model": True, "language_lr": 0.05},
        "lora": {"lora": 2, "language_lr": 0.5},
    }[learns]
    if FORMS[name].config and learns != "projector":
        with pytest.raises(ModelError, match="holds quantised weights, which cannot learn"):
            aligned(trimmed, shop, source, tmp_path / "out", **settings)
        assert not (tmp_path / "out").exists()
        return

    out = aligned(trimmed, shop, source, tmp_path / "out", **settings)

    assert headers(out) == headers(trimmed)
    assert (out / "config.json").read_bytes() == (trimmed / "config.json").read_bytes()
    index = json.loads((out / INDEX_NAME).read_text(encoding="utf-8"))
    assert index["weight_map"] == {tensor: entry[2] for tensor, entry in headers(out).items()}
    old, new = weights(trimmed), weights(out)
    changed = {
        tensor for tensor in old if not torch.equal(old[tensor].view(torch.uint8), new[tensor].view(torch.uint8))
    }
    assert bool(changed) == (learns != "projector")
    assert not any("visual." in tensor or tensor.startswith("mtp.") for tensor in changed)
    if learns == "all" and "A3B" in name:
        assert any(".experts." in tensor for tensor in changed)
    loaded = TrimmedModel.load(out)
    assert loaded.generate(["color?"], [np.ones((1, 16), np.float16)], max_new_tokens=2) is not None


@pytest.mark.parametrize("name", ["Qwen3.5-4B", "Qwen3.5-35B-A3B", "Qwen3.5-35B-A3B, experts one by one"])
def test_low_rank_layers_of_a_hybrid_model_reach_its_linear_attention(
    made: Made, name: str, shop: Path, source: Path, tmp_path: Path
) -> None:
    _, trimmed, _ = made(name)
    out = aligned(trimmed, shop, source, tmp_path / "out", lora=2, language_lr=0.5)
    old, new = weights(trimmed), weights(out)
    changed = {tensor.rsplit(".", 2)[-2] for tensor in old if not torch.equal(old[tensor], new[tensor])}
    assert {"in_proj_qkv", "in_proj_z", "in_proj_a", "in_proj_b", "out_proj", "q_proj", "down_proj"} <= changed


@pytest.mark.parametrize("name", FORMS)
def test_bench_measures_every_form(made: Made, name: str) -> None:
    full, _, _ = made(name)
    report = bench_vlm(
        BenchVlmSettings(model=full, images=(1,), image_px=64, dim=8, tokens=2, repeats=1, dtype="float32")
    )
    assert [cost.full.images for cost in report.comparisons] == [1]
    assert report.comparisons[0].full.flops > report.comparisons[0].trimmed.flops


@pytest.mark.parametrize("linear", [0, 3])
def test_the_counted_prefill_of_a_hybrid_model_is_what_the_flop_counter_of_torch_counts(
    tmp_path: Path, linear: int
) -> None:
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import AutoModelForImageTextToText

    tokens, layers = 64, 4
    kinds = ["linear_attention"] * linear + ["full_attention"] * (layers - linear)
    form = Form(model_type="qwen3_5", layers=(layers, 1), deepstack=None, text={**LINEAR, "layer_types": kinds})
    full = write_form(tmp_path / "full", form)
    model = AutoModelForImageTextToText.from_pretrained(full, dtype=torch.float32, attn_implementation="eager").eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(input_ids=torch.arange(tokens)[None], logits_to_keep=1)

    ours, counted = prefill_flops(model.config.text_config.to_dict(), tokens), counter.get_total_flops()

    dropped_by_the_mask = 2 * tokens**2 * HEADS * HEAD * (layers - linear)
    if not linear:
        assert ours + dropped_by_the_mask == counted
    else:  # torch's reference computes the delta rule in chunks, with more products than the rule has
        delta_rule = 6 * tokens * 4 * 8 * 8 * linear
        assert ours + dropped_by_the_mask - delta_rule < counted < 2 * ours


@pytest.mark.parametrize("name", FORMS)
def test_both_server_formats_of_every_form_hold_what_ask_feeds_the_model(
    made: Made, name: str, shop: Path, source: Path, tmp_path: Path
) -> None:
    _, trimmed, _ = made(name)
    out = aligned(trimmed, shop, source, tmp_path / "out", train_language_model=False)
    model = TrimmedModel.load(out)
    requests = ServingRequests.open(model=out, source=source)
    batch, soft_ImH = model.write(["color?"], [requests.source.get(["i0", "i1"])])

    request = requests.sglang(["i0", "i1"], "color?")
    body = requests.vllm(["i0", "i1"], "color?", model="shop")

    assert request["input_ids"] == batch.input_ids_BT[0].tolist()
    [entry] = request["image_data"]
    wire_ImH = soft_ImH.detach().half()
    assert torch.equal(entry["precomputed_embeddings"], wire_ImH.reshape(-1, wire_ImH.shape[2]))
    parts = [part for part in body["messages"][0]["content"] if part["type"] == "image_embeds"]
    for part, soft_mH in zip(parts, wire_ImH, strict=True):
        assert from_base64(part["image_embeds"]["image_embeds"]).tobytes() == soft_mH.numpy().tobytes()
    assert served_by_vllm(body, model) == model.writer.tokenizer.decode(
        [token for token in request["input_ids"] if token != model.writer.pad_id]
    )


@pytest.mark.parametrize("name", [name for name in FORMS if name.startswith("Qwen3.5")])
def test_deepstack_levels_of_a_family_without_them_are_refused(
    made: Made, name: str, shop: Path, source: Path, tmp_path: Path
) -> None:
    out = aligned(made(name)[1], shop, source, tmp_path / "out", train_language_model=False)
    with pytest.raises(UsageError, match=r"3 DeepStack levels were asked for; Qwen3\.5.* has none"):
        ServingRequests.open(model=out, source=source, deepstack_levels=3)


@pytest.mark.parametrize("name", FORMS)
def test_every_form_answers_quietly(
    made: Made, name: str, shop: Path, source: Path, tmp_path: Path, cli: Callable[..., CliResult]
) -> None:
    out = aligned(made(name)[1], shop, source, tmp_path / "out", train_language_model=False)
    for dtype in ("auto", "float32"):
        done = cli(
            "ask", "color?", "--model", out, "--source", source, "--item", "i0", "--dtype", dtype, "--quiet",
            "--max-new-tokens", "4",
        )  # fmt: skip
        assert (done.exit_code, done.stderr) == (0, "")


def test_fp8_weights_are_read_with_their_scales(made: Made, tmp_path: Path) -> None:
    name = "Qwen3.5-35B-A3B-FP8"
    plain = write_form(tmp_path / "plain", dataclasses.replace(FORMS[name], config={}, tensors=split_experts))
    read, meant = (load_parts(folder)[0].state_dict() for folder in (made(name)[0], plain))
    for key in meant:
        difference = (read[key].float() - meant[key].float()).norm()
        assert float(difference) <= 0.05 * float(meant[key].float().norm()), key


def test_a_trimmed_fp8_checkpoint_is_always_verified_and_leaves_the_stub_plain(made: Made, tmp_path: Path) -> None:
    full, _, _ = made("Qwen3-VL-2B-Instruct-FP8")
    report = trim(TrimSettings(model=str(full), out=tmp_path / "out"))
    assert len(report.parity) == 4
    stored = json.loads((tmp_path / "out" / "config.json").read_text(encoding="utf-8"))["quantization_config"]
    linear = {name.removesuffix(".weight") for name, (_, shape, _) in headers(tmp_path / "out").items()
              if "visual." in name and len(shape) == 2}  # fmt: skip
    assert linear <= set(stored["modules_to_not_convert"])


def test_every_family_has_a_published_form() -> None:
    assert {form.model_type for form in FORMS.values()} == {family.model_type for family in FAMILIES}


@pytest.mark.parametrize("name", FORMS)
def test_a_form_runs_in_the_type_that_its_text_config_alone_gives(made: Made, name: str) -> None:
    _, trimmed, _ = made(name)
    assert read_checkpoint(trimmed).dtype == "bfloat16"
    assert TrimmedModel.load(trimmed).token_embeddings_VH.dtype == torch.bfloat16

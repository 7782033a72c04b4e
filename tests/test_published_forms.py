"""Every published form of a checkpoint goes through trim, align, ask, bench and both servers' formats, and stays so."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from pinembed import ServingRequests
from pinembed.errors import ModelError, UsageError
from pinembed.jobs.bench_vlm import bench_vlm
from pinembed.jobs.trim import trim
from pinembed.reports.trimmed import TrimReport
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
    FP8,
    GENERATION,
    HEAD,
    HEADS,
    INSTRUCT,
    LINEAR,
    SWITCHED,
    THINKING,
    Form,
    aligned,
    dump,
    headers,
    in_fp8,
    one_by_one,
    served_by_vllm,
    split_experts,
    weights,
    write_form,
)
from tests.test_align import write_rows, write_shop

FP8_NAME = "Qwen3-VL-2B-Instruct-FP8"
ITEMS = 24


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shop(tmp_path_factory.mktemp("shop") / "data", items=ITEMS)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(tmp_path_factory.mktemp("source") / "source", items=ITEMS)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Path, TrimReport]]:
    """A form's checkpoint, the trimmed one, and the report of a verified trim; each is made once."""
    folder = tmp_path_factory.mktemp("forms")
    kept: dict[str, tuple[Path, Path, TrimReport]] = {}

    def make(name: str) -> tuple[Path, Path, TrimReport]:
        if name not in kept:
            full = write_form(folder / name, FORMS[name])
            out = folder / f"{name}-trimmed"
            kept[name] = full, out, trim(TrimSettings(model=str(full), out=out, verify=True))
        return kept[name]

    return make


Made = Callable[[str], tuple[Path, Path, TrimReport]]


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


THOUGHTLESS = "<|im_start|>assistant\n<think>\n\n</think>\n\nplum<|im_end|>"


@pytest.mark.parametrize(
    ("template", "trained"),
    [
        (INSTRUCT, "<|im_start|>assistant\nplum<|im_end|>"),
        (THINKING, THOUGHTLESS),
        (SWITCHED, THOUGHTLESS),
        (INSTRUCT[: -len("{% endif %}")] + "<think>\n{% endif %}", THOUGHTLESS),
        (INSTRUCT[: -len("{% endif %}")] + "<thoughts>{% endif %}",
         "<|im_start|>assistant\n<thoughts>\n\n</thoughts>\n\nplum<|im_end|>"),
        (INSTRUCT.replace("assistant\n", "assistant\n<think>\n").replace("{{ m.role }}\n", "{{ m.role }}\n<think>\n"),
         THOUGHTLESS),
        (INSTRUCT.replace("assistant\n", "assistant\n<reply>").replace("{{ m.role }}\n", "{{ m.role }}\n<reply>"),
         "<|im_start|>assistant\n<reply>plum<|im_end|>"),
    ],
    ids=[
        "instruct", "thinking", "switched", "finished answers without thoughts", "another tag",
        "finished answers within thoughts", "a tag that is no thought",
    ],
)  # fmt: skip
def test_an_answer_is_trained_in_the_form_that_the_chat_template_gives_it(
    tmp_path: Path, template: str, trained: str
) -> None:
    folder = trim_of(write_form(tmp_path / "full", Form(model_type="qwen3_vl", template=template)), tmp_path)
    writer = TrimmedModel.load(folder).writer

    batch = writer.write(["?"], [1], tokens=2, answers=["plum"])

    written = writer.tokenizer.decode(batch.input_ids_BT[0])
    assert written[written.index("<|im_start|>assistant") :] == trained
    assert batch.labels_BT is not None
    assert writer.tokenizer.decode(batch.labels_BT[batch.labels_BT >= 0]) == "plum<|im_end|>"
    asked = writer.write(["?"], [1], tokens=2).input_ids_BT[0].tolist()
    assert batch.input_ids_BT[0, : len(asked)].tolist() == asked


def begun_with(mark: str, *, history: str = "") -> str:
    """A template whose prompt begins the answer with a mark that finished answers do not have, or have closed."""
    return f"{{# {history} #}}" + INSTRUCT[: -len("{% endif %}")] + mark + "\n{% endif %}"


@pytest.mark.parametrize(
    ("mark", "closing"),
    [
        ("[THINK]", "[/THINK]"),
        ("<|thinking|>", "<|/thinking|>"),
        ("<|begin_of_thought|>", "<|end_of_thought|>"),
        ("<|think_start|>", "<|think_end|>"),
        ("◁think▷", "◁/think▷"),
    ],
)
def test_a_mark_of_thoughts_is_closed_where_the_template_tells_how_and_refused_elsewhere(
    tmp_path: Path, mark: str, closing: str
) -> None:
    told = Form(model_type="qwen3_vl", template=begun_with(mark, history=closing))
    folder = trim_of(write_form(tmp_path / "full", told), tmp_path)
    assert TrimmedModel.load(folder).writer.form.closing == f"\n{closing}\n\n"
    (folder / "chat_template.jinja").write_text(begun_with(mark), encoding="utf-8")
    with pytest.raises(ModelError, match=r"begins an answer with thoughts .* and does not tell how they end"):
        TrimmedModel.load(folder)


def test_thoughts_without_a_mark_are_refused_and_those_of_a_system_prompt_are_none(tmp_path: Path) -> None:
    system = "<|im_start|>system\nPut thoughts between <think> and its end.<|im_end|>\n"
    folder = trim_of(write_form(tmp_path / "full", Form(model_type="qwen3_vl", template=system + INSTRUCT)), tmp_path)
    assert TrimmedModel.load(folder).writer.form.closing == ""
    (folder / "chat_template.jinja").write_text(begun_with("<|channel|>analysis<|message|>"), encoding="utf-8")
    with pytest.raises(ModelError, match=r"begins an answer with thoughts \(analysis"):
        TrimmedModel.load(folder)


def test_of_several_chat_templates_the_default_one_is_taken(tmp_path: Path) -> None:
    folder = trim_of(write_form(tmp_path / "full", FORMS["Qwen3-VL-2B-Instruct"]), tmp_path)
    (folder / "chat_template.jinja").unlink()
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    for name in ("default", "rag"):
        named = [{"name": "tool_use", "template": "{{ 0 }}"}, {"name": name, "template": THINKING}]
        dump(folder / "tokenizer_config.json", {**settings, "chat_template": named})
        if name == "default":
            assert TrimmedModel.load(folder).writer.form.closing == "\n</think>\n\n"
    with pytest.raises(ModelError, match="has chat templates of the names tool_use, rag; wanted one"):
        TrimmedModel.load(folder)


def test_a_block_of_thoughts_that_a_chat_request_cannot_close_is_refused_there_alone(
    tmp_path: Path, shop: Path, source: Path
) -> None:
    for_strings = THINKING.replace(
        "m.content if m.content is string else m.content|map(attribute='text')|join", "m.content"
    )
    full = write_form(tmp_path / "full", Form(model_type="qwen3_vl", template=for_strings))
    out = aligned(trim_of(full, tmp_path), shop, source, tmp_path / "out", train_language_model=False)
    requests = ServingRequests.open(model=out, source=source)
    with pytest.raises(ModelError, match="opens a block of thoughts that a chat request cannot close"):
        requests.vllm(["i0"], "color?")
    assert requests.writer.tokenizer.decode(requests.sglang(["i0"], "color?")["input_ids"]).endswith("</think>\n\n")


def trim_of(full: Path, tmp_path: Path) -> Path:
    trim(TrimSettings(model=str(full), out=tmp_path / "trimmed"))
    return tmp_path / "trimmed"


def test_an_answer_ends_as_the_template_ends_a_turn_and_generation_stops_there(tmp_path: Path) -> None:
    full = write_form(tmp_path / "full", FORMS["Qwen3-VL-2B-Instruct"])
    settings = json.loads((full / "tokenizer_config.json").read_text(encoding="utf-8"))
    dump(full / "tokenizer_config.json", {**settings, "eos_token": "<|endoftext|>"})
    (full / "generation_config.json").unlink()

    model = TrimmedModel.load(trim_of(full, tmp_path))

    end = model.writer.tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert model.writer.answer_ids("plum")[-1] == end
    assert end in model.model.generation_config.eos_token_id


@pytest.mark.parametrize(
    "leaking",
    [
        GENERATION,
        {"no_repeat_ngram_size": 1, "suppress_tokens": list(range(40, 100)), "min_new_tokens": 5},
        {"length_penalty": 5.0, "num_beams": 3, "temperature": 0.1, "bad_words_ids": [[60]], "guidance_scale": 2.0},
    ],
)
def test_a_published_generation_config_changes_no_answer_and_says_nothing(
    tmp_path: Path, shop: Path, source: Path, cli: Callable[..., CliResult], leaking: dict[str, Any]
) -> None:
    full = write_form(tmp_path / "full", FORMS["Qwen3-VL-2B-Instruct"])
    ends = json.loads((full / "generation_config.json").read_text(encoding="utf-8"))["eos_token_id"]
    dump(full / "generation_config.json", {"eos_token_id": ends})
    out = aligned(trim_of(full, tmp_path), shop, source, tmp_path / "out", train_language_model=False)
    ask = ("ask", "color?", "--model", out, "--source", source, "--item", "i0", "--max-new-tokens", "12", "--quiet")
    plain = cli(*ask)

    dump(out / "generation_config.json", {"eos_token_id": ends, **leaking})
    leaked = cli(*ask)

    assert (leaked.exit_code, leaked.stdout, leaked.stderr) == (0, plain.stdout, "")


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
    model = copy_with(made(FP8_NAME)[0], tmp_path, {})
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


def test_fp8_weights_are_read_with_their_scales(made: Made, tmp_path: Path) -> None:
    name = "Qwen3.5-35B-A3B-FP8"
    plain = write_form(tmp_path / "plain", dataclasses.replace(FORMS[name], config={}, tensors=split_experts))
    read, meant = (load_parts(folder)[0].state_dict() for folder in (made(name)[0], plain))
    for key in meant:
        difference = (read[key].float() - meant[key].float()).norm()
        assert float(difference) <= 0.05 * float(meant[key].float().norm()), key


def test_a_trimmed_fp8_checkpoint_is_always_verified_and_leaves_the_stub_plain(made: Made, tmp_path: Path) -> None:
    full, _, _ = made(FP8_NAME)
    report = trim(TrimSettings(model=str(full), out=tmp_path / "out"))
    assert len(report.parity) == 4
    stored = json.loads((tmp_path / "out" / "config.json").read_text(encoding="utf-8"))["quantization_config"]
    linear = {name.removesuffix(".weight") for name, (_, shape, _) in headers(tmp_path / "out").items()
              if "visual." in name and len(shape) == 2}  # fmt: skip
    assert linear <= set(stored["modules_to_not_convert"])


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


def test_every_family_has_a_published_form() -> None:
    assert {form.model_type for form in FORMS.values()} == {family.model_type for family in FAMILIES}


@pytest.mark.parametrize("name", FORMS)
def test_a_form_runs_in_the_type_that_its_text_config_alone_gives(made: Made, name: str) -> None:
    _, trimmed, _ = made(name)
    assert read_checkpoint(trimmed).dtype == "bfloat16"
    assert TrimmedModel.load(trimmed).token_embeddings_VH.dtype == torch.bfloat16

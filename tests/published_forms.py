"""Tiny checkpoints of seeded weights in exactly the published forms: configs, names, layouts, types and templates.

Written from the published config.json files and tensor names, not by transformers' save_pretrained, which has forms of
its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from pinembed.jobs.align import align
from pinembed.jobs.trim import trim
from pinembed.reports.trimmed import TrimReport
from pinembed.settings.model import AlignSettings, TrimSettings
from pinembed.trimmed.families import FAMILIES
from pinembed.trimmed.model import TrimmedModel
from pinembed.trimmed.tiny import SPECIAL_TOKENS, train_tokenizer

HIDDEN, HEADS, HEAD = 32, 2, 16
INTERLEAVED = {"mrope_interleaved": True, "mrope_section": [4, 2, 2], "rope_type": "default"}
USER = (
    "<|im_start|>user\n{% if m.content is string %}{{ m.content }}{% else %}{% for part in m.content %}"
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif 'text' in part %}{{ part.text }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n"
)
INSTRUCT = (
    "{% for m in messages %}{% if m.role == 'user' %}" + USER + "{% else %}<|im_start|>{{ m.role }}\n"
    "{{ m.content }}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
REASONED = (
    "{% for m in messages %}{% if m.role == 'user' %}" + USER + "{% else %}"
    "{%- set reasoning, content = '', m.content if m.content is string else m.content|map(attribute='text')|join %}"
    "{%- if '</think>' in content %}"
    "{%- set reasoning = content.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}"
    "{%- set content = content.split('</think>')[-1].lstrip('\n') %}{%- endif %}"
    "{{- '<|im_start|>assistant\n<think>\n' + reasoning.strip('\n') + '\n</think>\n\n' + content.lstrip('\n') }}"
    "{{- '<|im_end|>\n' }}{% endif %}{% endfor %}"
)
THINKING = REASONED + "{% if add_generation_prompt %}{{- '<|im_start|>assistant\n<think>\n' }}{% endif %}"
SWITCHED = REASONED + (
    "{% if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}"
    "{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\n\n</think>\n\n' }}"
    "{%- else %}{{- '<think>\n' }}{%- endif %}{% endif %}"
)
GENERATION = {"do_sample": True, "temperature": 0.7, "top_p": 0.8, "top_k": 20, "repetition_penalty": 3.0}


PATCHES = {
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "merge_size": 2,
    "patch_size": 16,
    "processor_class": "Qwen3VLProcessor",
    "temporal_patch_size": 2,
}
PROCESSORS: dict[str, dict[str, Any]] = {
    "preprocessor_config.json": {
        "image_processor_type": "Qwen2VLImageProcessorFast",
        "size": {"longest_edge": 16_777_216, "shortest_edge": 65_536},
    },
    "video_preprocessor_config.json": {
        "size": {"longest_edge": 25_165_824, "shortest_edge": 4096},
        "video_processor_type": "Qwen3VLVideoProcessor",
    },
}


@dataclass(frozen=True, kw_only=True)
class Form:
    """One published checkpoint, scaled down.

    Attributes:
        layers: of the language model, and of the tower.
        deepstack: indexes of the tower's layers, as in vision_config; None where the family has none.
        tensors: renames, transposes, quantises or adds tensors, as the published files have them.
        config: entries on top of those that all have.
    """

    model_type: str
    tied: bool = True
    layers: tuple[int, int] = (2, 4)
    deepstack: tuple[int, ...] | None = (0, 1, 2)
    template: str = INSTRUCT
    text: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    tensors: Callable[[dict[str, Tensor]], dict[str, Tensor]] = dict
    shards: int = 1


def transposed_experts(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Qwen3-VL's experts: (E, H, 2I) and (E, I, H) on disk."""
    return {name: t.transpose(1, 2).contiguous() if ".experts." in name else t for name, t in weights.items()}


def hybrid(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Qwen3.5: a few tensors in FP32 among BF16, and a multi-token predictor that transformers does not load."""
    kept = {
        name: t.float() if name.endswith(("linear_attn.A_log", "linear_attn.norm.weight")) else t
        for name, t in weights.items()
    }
    drawn = torch.Generator().manual_seed(1)
    kept["mtp.fc.weight"] = torch.randn(HIDDEN, 2 * HIDDEN, generator=drawn).bfloat16()
    kept["mtp.norm.weight"] = torch.randn(HIDDEN, generator=drawn).bfloat16()
    return kept


def split_experts(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Experts one by one, as some of the Qwen3.5 MoE files have them."""
    return one_by_one(hybrid(weights))


def one_by_one(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Each expert's matrices in tensors of their own."""
    split: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        before, expert, part = name.partition(".experts.")
        if not expert:
            split[name] = tensor
            continue
        for number, weight in enumerate(tensor):
            named = {"down_proj": weight} if part == "down_proj" else dict(zip(GATE_UP, weight.chunk(2), strict=True))
            for one, value in named.items():
                split[f"{before}.experts.{number}.{one}.weight"] = value.contiguous()
    return split


GATE_UP = ("gate_proj", "up_proj")


def in_fp8(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """`*_proj.weight` of the language model in E4M3 with a scale for each block of 128."""
    quantised: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        if not name.endswith("_proj.weight") or "visual" in name:
            quantised[name] = tensor
            continue
        scale = tensor.float().abs().max() / 448
        quantised[name] = (tensor.float() / scale).to(torch.float8_e4m3fn)
        quantised[f"{name}_scale_inv"] = scale.reshape(1, 1).bfloat16()
    return quantised


def bare(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names as of the model below its head."""
    return {name.removeprefix("model."): tensor for name, tensor in weights.items()}


FP8 = {
    "quantization_config": {
        "activation_scheme": "dynamic",
        "fmt": "e4m3",
        "modules_to_not_convert": ["lm_head", "model.visual.merger.linear_fc1", "model.visual.merger.linear_fc2"],
        "quant_method": "fp8",
        "weight_block_size": [128, 128],
    }
}
LINEAR = {
    "attn_output_gate": True,
    "full_attention_interval": 4,
    "layer_types": ["linear_attention"] * 3 + ["full_attention"],
    "linear_conv_kernel_dim": 4,
    "linear_key_head_dim": 8,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_value_head_dim": 8,
    "mamba_ssm_dtype": "float32",
    "mtp_num_hidden_layers": 1,
    "rope_parameters": {
        "mrope_interleaved": True,
        "mrope_section": [1, 1, 0],
        "partial_rotary_factor": 0.25,
        "rope_theta": 10_000_000,
        "rope_type": "default",
    },
}
EXPERTS = {"moe_intermediate_size": 24, "num_experts": 4, "num_experts_per_tok": 2, "norm_topk_prob": True}
SPARSE = {**EXPERTS, "decoder_sparse_step": 1, "mlp_only_layers": []}
SHARED = {**LINEAR, **EXPERTS, "shared_expert_intermediate_size": 24}

FORMS = {
    "Qwen3-VL-2B-Instruct": Form(model_type="qwen3_vl"),
    "Qwen3-VL-4B-Instruct": Form(model_type="qwen3_vl", layers=(3, 4), shards=2),
    "Qwen3-VL-8B-Instruct": Form(model_type="qwen3_vl", tied=False, layers=(3, 5), deepstack=(1, 2, 3), shards=3),
    "Qwen3-VL-30B-A3B-Instruct": Form(
        model_type="qwen3_vl_moe", tied=False, text=SPARSE, tensors=transposed_experts, shards=3
    ),
    "Qwen3-VL-4B-Thinking": Form(model_type="qwen3_vl", template=THINKING),
    "Qwen3-VL-2B-Instruct-FP8": Form(model_type="qwen3_vl", tensors=in_fp8, config=FP8),
    "Qwen3-VL-Embedding-2B": Form(model_type="qwen3_vl", tensors=bare),
    "Qwen3.5-4B": Form(
        model_type="qwen3_5", layers=(4, 2), deepstack=None, text=LINEAR, tensors=hybrid, template=SWITCHED
    ),
    "Qwen3.5-35B-A3B": Form(
        model_type="qwen3_5_moe", tied=False, layers=(4, 2), deepstack=None, text=SHARED, tensors=hybrid,
        template=SWITCHED, shards=2,
    ),
    "Qwen3.5-35B-A3B, experts one by one": Form(
        model_type="qwen3_5_moe", tied=False, layers=(4, 2), deepstack=None, text=SHARED, tensors=split_experts,
        template=SWITCHED,
    ),
    "Qwen3.5-35B-A3B-FP8": Form(
        model_type="qwen3_5_moe", tied=False, layers=(4, 2), deepstack=None, text=SHARED, config=FP8,
        tensors=lambda weights: in_fp8(split_experts(weights)), template=SWITCHED,
    ),
}  # fmt: skip


def write_form(folder: Path, form: Form, *, texts: tuple[str, ...] = ("What colour is it? red green",)) -> Path:
    """Write the checkpoint with a tokenizer of these texts."""
    import transformers

    folder.mkdir(parents=True)
    tokenizer = train_tokenizer(transformers, texts, 320)
    tokenizer.add_tokens(["<think>", "</think>"])
    tokenizer.chat_template = form.template
    tokenizer.save_pretrained(folder)
    config = published_config(form, tokenizer)
    dump(folder / "config.json", config)
    ends = tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])
    dump(folder / "generation_config.json", {**GENERATION, "eos_token_id": ends, "pad_token_id": ends[1]})
    for file, of in PROCESSORS.items():
        dump(folder / file, {**PATCHES, **of})
    plain = {name: value for name, value in config.items() if name != "quantization_config"}
    architecture = getattr(transformers, config["architectures"][0])
    torch.manual_seed(0)
    model = architecture(type(transformers.AutoConfig.for_model(**plain))(**plain))
    weights = {name: t.detach().bfloat16() for name, t in model.state_dict().items()}
    if form.tied:
        del weights["lm_head.weight"]
    save(folder, form.tensors(weights), form.shards)
    return folder


def published_config(form: Form, tokenizer: Any) -> dict[str, Any]:
    """config.json, with its dtype in text_config alone."""
    family = next(one for one in FAMILIES if one.model_type == form.model_type)
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in SPECIAL_TOKENS}
    text = {
        "dtype": "bfloat16",
        "eos_token_id": ids["<|im_end|>"],
        "head_dim": HEAD,
        "hidden_act": "silu",
        "hidden_size": HIDDEN,
        "intermediate_size": 3 * HIDDEN,
        "max_position_embeddings": 4096,
        "model_type": f"{form.model_type}_text",
        "num_attention_heads": HEADS,
        "num_hidden_layers": form.layers[0],
        "num_key_value_heads": 1,
        "rms_norm_eps": 1e-6,
        "rope_scaling": INTERLEAVED,
        "rope_theta": 5_000_000,
        "tie_word_embeddings": form.tied,
        "vocab_size": len(tokenizer),
        **form.text,
    }
    if "rope_parameters" in form.text:
        del text["rope_scaling"], text["rope_theta"]
    vision = {
        "deepstack_visual_indexes": list(form.deepstack or ()),
        "depth": form.layers[1],
        "hidden_act": "gelu_pytorch_tanh",
        "hidden_size": 32,
        "in_channels": 3,
        "intermediate_size": 64,
        "model_type": form.model_type,
        "num_heads": 2,
        "num_position_embeddings": 16,
        "out_hidden_size": HIDDEN,
        "patch_size": 16,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
    }
    return {
        "architectures": [family.architecture],
        "image_token_id": ids["<|image_pad|>"],
        "model_type": form.model_type,
        "text_config": text,
        "tie_word_embeddings": form.tied,
        "video_token_id": ids["<|video_pad|>"],
        "vision_config": vision,
        "vision_end_token_id": ids["<|vision_end|>"],
        "vision_start_token_id": ids["<|vision_start|>"],
        **form.config,
    }


def dump(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")


def save(folder: Path, weights: dict[str, Tensor], shards: int) -> None:
    if shards == 1:
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        return
    names = list(weights)
    places = {}
    for number in range(shards):
        file = f"model-{number + 1:05d}-of-{shards:05d}.safetensors"
        part = {name: weights[name].clone() for name in names[number::shards]}
        save_file(part, folder / file, metadata={"format": "pt"})
        places.update(dict.fromkeys(part, file))
    dump(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": places})


def headers(folder: Path) -> dict[str, tuple[str, list[int], str]]:
    """Type, shape and file of every tensor of the checkpoint."""
    found = {}
    for path in sorted(folder.glob("model*.safetensors")):
        with safe_open(path, framework="np") as stored:
            for name in stored.keys():  # noqa: SIM118  (no mapping)
                part = stored.get_slice(name)
                found[name] = (part.get_dtype(), part.get_shape(), path.name)
    return found


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return {
        name: tensor.reshape(-1)
        for path in sorted(folder.glob("model*.safetensors"))
        for name, tensor in load_file(path).items()
    }


def aligned(model: Path, shop: Path, source: Path, out: Path, **settings: Any) -> Path:
    """One epoch of a few questions."""
    chosen = {"epochs": 1, "tokens": 2, "fields": ("color",), "batch_size": 64, **settings}
    align(AlignSettings(data=shop, model=model, source=source, out=out, **chosen))
    return out


def served_by_vllm(body: dict[str, Any], model: TrimmedModel) -> str:
    """The prompt that vLLM's chat route writes from a request with the folder's template, its image pads left out."""
    messages = [
        message if isinstance(message["content"], str) else {**message, "content": [
            {"type": "image"} if part["type"] == "image_embeds" else part for part in message["content"]
        ]}
        for message in body["messages"]
    ]  # fmt: skip
    written: str = model.writer.tokenizer.apply_chat_template(
        messages,
        chat_template=model.writer.template,
        tokenize=False,
        add_generation_prompt=body.get("add_generation_prompt", True),
        continue_final_message=body.get("continue_final_message", False),
        **body.get("chat_template_kwargs", {}),
    )
    return written.replace("<|image_pad|>", "")


Made = Callable[[str], tuple[Path, Path, TrimReport]]


def forms_in(folder: Path) -> Made:
    """A form's checkpoint, the trimmed one, and the report of a verified trim; each is made once."""
    kept: dict[str, tuple[Path, Path, TrimReport]] = {}

    def make(name: str) -> tuple[Path, Path, TrimReport]:
        if name not in kept:
            full, out = write_form(folder / name, FORMS[name]), folder / f"{name}-trimmed"
            kept[name] = full, out, trim(TrimSettings(model=str(full), out=out, verify=True))
        return kept[name]

    return make


def trim_of(full: Path, tmp_path: Path) -> Path:
    trim(TrimSettings(model=str(full), out=tmp_path / "trimmed"))
    return tmp_path / "trimmed"

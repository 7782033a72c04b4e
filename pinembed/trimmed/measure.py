"""What a request costs: operations counted from a config, and one request to both models, timed.

A multiplication and an addition count two. Both models have the same language model, and other images.

Shape legend: T prompt tokens, I images, P patches of all images, C patch floats, m soft tokens of one item, H width,
D floats of one embedding.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pinembed.errors import UsageError
from pinembed.trimmed.checkpoint import import_transformers, without_bars
from pinembed.trimmed.model import image_outputs
from pinembed.trimmed.projector import Projector

VISION_FORMULA = (
    "2nhCtp^2 + L(2n(4h^2 + 2hi) + 4n^2h) + (1 + S)(n/2)(16h^2 + 4hH): n patches of p px, t frames, C channels; "
    "tower of L layers, width h, MLP i; S DeepStack levels; language model of width H"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class VisionShape:
    """The sizes of a vision tower that decide its cost; defaults as in transformers' Qwen3VLVisionConfig."""

    depth: int
    hidden: int
    intermediate: int
    channels: int
    patch_px: int
    frames: int
    merge: int
    levels: int
    out_hidden: int

    @classmethod
    def of(cls, vision_config: Mapping[str, Any]) -> VisionShape:
        """From config.json's `vision_config`."""
        return cls(
            depth=int(vision_config.get("depth", 27)),
            hidden=int(vision_config.get("hidden_size", 1152)),
            intermediate=int(vision_config.get("intermediate_size", 4304)),
            channels=int(vision_config.get("in_channels", 3)),
            patch_px=int(vision_config.get("patch_size", 16)),
            frames=int(vision_config.get("temporal_patch_size", 2)),
            merge=int(vision_config.get("spatial_merge_size", 2)),
            levels=len(vision_config.get("deepstack_visual_indexes") or ()),
            out_hidden=int(vision_config.get("out_hidden_size", 3584)),
        )

    def tokens(self, image_px: int) -> int:
        """Language-model tokens of one square image."""
        return (image_px // (self.patch_px * self.merge)) ** 2

    def flops(self, image_px: int) -> int:
        """Operations that one square image costs in the tower; see VISION_FORMULA."""
        n = self.tokens(image_px) * self.merge**2
        h, merged = self.hidden, self.hidden * self.merge**2
        embed = 2 * n * h * self.channels * self.frames * self.patch_px**2
        layer = 2 * n * (4 * h * h + 2 * h * self.intermediate) + 4 * n * n * h
        merger = 2 * (n // self.merge**2) * (merged * merged + merged * self.out_hidden)
        return embed + self.depth * layer + (1 + self.levels) * merger


def prefill_flops(text_config: Mapping[str, Any], tokens: int) -> int:
    """Operations of the language model over one prompt, causal attention, logits of the last token only.

    Args:
        text_config: config.json's `text_config`, dense or MoE, all attention or with layers of linear attention.
        tokens: T, the prompt's length.
    """
    hidden = int(text_config["hidden_size"])
    mlp = 2 * tokens * _mlp_weights(text_config)
    mixers = {
        FULL: lambda: _attention_flops(text_config, tokens),
        LINEAR: lambda: _linear_attention_flops(text_config, tokens),
    }
    kinds = text_config.get("layer_types") or [FULL] * int(text_config["num_hidden_layers"])
    return sum(mlp + mixers[kind]() for kind in kinds) + 2 * hidden * int(text_config["vocab_size"])


FULL, LINEAR = "full_attention", "linear_attention"


def _mlp_weights(text: Mapping[str, Any]) -> int:
    """Weights of an MLP that one token meets: all of them, or those of its experts, the shared one and the router."""
    hidden = int(text["hidden_size"])
    experts = int(text.get("num_experts") or text.get("num_local_experts") or 0)
    if not experts:
        return 3 * hidden * int(text["intermediate_size"])
    shared = int(text.get("shared_expert_intermediate_size") or 0)
    width = int(text["num_experts_per_tok"]) * int(text["moe_intermediate_size"]) + shared
    return 3 * hidden * width + hidden * experts + (hidden if shared else 0)


def _attention_flops(text: Mapping[str, Any], tokens: int) -> int:
    hidden, heads = int(text["hidden_size"]), int(text["num_attention_heads"])
    head = int(text.get("head_dim") or hidden // heads)
    kv_heads = int(text.get("num_key_value_heads") or heads)
    gate = hidden * heads * head if text.get("layer_types") else 0  # the hybrid families gate what attention gives
    weights = 2 * hidden * heads * head + 2 * hidden * kv_heads * head + gate
    return 2 * tokens * weights + 2 * tokens * tokens * heads * head


def _linear_attention_flops(text: Mapping[str, Any], tokens: int) -> int:
    """Projections, the short convolution, and the gated delta rule (arXiv:2412.06464) token by token.

    Each token reads a value head's state (key x value floats) for its key, corrects it, and reads it for its query.
    """
    hidden, values = int(text["hidden_size"]), int(text["linear_num_value_heads"])
    key, value = int(text["linear_key_head_dim"]), int(text["linear_value_head_dim"])
    convolved = 2 * int(text["linear_num_key_heads"]) * key + values * value
    weights = hidden * (convolved + 2 * values * value + 2 * values)
    convolution = convolved * int(text["linear_conv_kernel_dim"])
    return 2 * tokens * (weights + convolution + 3 * values * key * value)


ROPE = {"rope_type": "default", "rope_theta": 5_000_000.0, "mrope_section": [24, 20, 20], "mrope_interleaved": True}
TEXT = {
    "2B": {"hidden_size": 2048, "intermediate_size": 6144, "num_hidden_layers": 28, "num_attention_heads": 16},
    "4B": {"hidden_size": 2560, "intermediate_size": 9728, "num_hidden_layers": 36, "num_attention_heads": 32},
    "8B": {"hidden_size": 4096, "intermediate_size": 12288, "num_hidden_layers": 36, "num_attention_heads": 32},
}
SMALL_TOWER = {"depth": 24, "hidden_size": 1024, "intermediate_size": 4096, "deepstack_visual_indexes": [5, 11, 17]}
LARGE_TOWER = {"depth": 27, "hidden_size": 1152, "intermediate_size": 4304, "deepstack_visual_indexes": [8, 16, 24]}
VISION = {"2B": SMALL_TOWER, "4B": SMALL_TOWER, "8B": LARGE_TOWER}
TIED = {"2B": True, "4B": True, "8B": False}
SHAPES = tuple(TEXT)


def shape_config(shape: str) -> Any:
    """Transformers' Qwen3VLConfig of a published size.

    Raises:
        UsageError: no such size.
        MissingExtraError: the extra `vlm` is missing.
    """
    if shape not in TEXT:
        raise UsageError(f"--shape {shape} is not one of {', '.join(SHAPES)}.", remedy="Give one of these.")
    transformers = import_transformers("Measuring a multimodal model")
    shared = {"vocab_size": 151_936, "num_key_value_heads": 8, "head_dim": 128, "max_position_embeddings": 262_144}
    return transformers.Qwen3VLConfig(
        text_config={**TEXT[shape], **shared, "rope_parameters": dict(ROPE), "tie_word_embeddings": TIED[shape]},
        vision_config={**VISION[shape], "num_heads": 16, "out_hidden_size": TEXT[shape]["hidden_size"]},
        tie_word_embeddings=TIED[shape],
    )


QUESTION_TOKENS = 32
FILL = 1 << 16
WEIGHT_STD = 0.02


@dataclass(frozen=True, kw_only=True)
class Timing:
    """One request; the fields are those of `RequestCost`."""

    prompt_tokens: int
    vision_s: float
    first_token_s: float
    request_s: float
    peak_bytes: int | None


class Bench:
    """A full model, a projector and questions about n images of one size.

    Args:
        model: transformers' model with its vision tower, in evaluation mode.
        answer_tokens: of every answer, the first one included.
    """

    def __init__(self, model: Any, projector: Projector, *, image_px: int, answer_tokens: int) -> None:
        self.model = model
        self.projector = projector
        self.answer_tokens = answer_tokens
        self.device: torch.device = model.device
        self.dtype: torch.dtype = model.dtype
        vision = model.config.vision_config
        self._shape = VisionShape.of(vision.to_dict())
        self._side = image_px // (self._shape.patch_px * self._shape.merge) * self._shape.merge
        self._image_px = self._side * self._shape.patch_px
        self._patch_floats = self._shape.channels * self._shape.frames * self._shape.patch_px**2

    @property
    def image_tokens(self) -> int:
        """Language-model tokens of one image in the full model."""
        return self._shape.tokens(self._image_px)

    def flops(self, images: int, *, full: bool) -> int:
        """Counted operations to the first token."""
        text = self.model.config.text_config.to_dict()
        if full:
            return images * self._shape.flops(self._image_px) + prefill_flops(
                text, self._length(images, self.image_tokens)
            )
        config = self.projector.config
        soft = config.tokens * config.hidden
        projector = 2 * (config.inner * (config.dim + soft) + config.dim * soft)
        return images * projector + prefill_flops(text, self._length(images, config.tokens))

    @torch.inference_mode()
    def full(self, images: int) -> Timing:
        """Pixels to answer, through the tower."""
        pixels_PC = torch.randn(images * self._side**2, self._patch_floats).to(self.device, self.dtype)
        grid_I3 = torch.tensor([[1, self._side, self._side]] * images, device=self.device)

        def see() -> Any:
            return self.model.model.get_image_features(pixels_PC, grid_I3, return_dict=True)

        with without_bars(import_transformers("Measuring")):
            return self._time(see, grid_I3, self.image_tokens)

    @torch.inference_mode()
    def trimmed(self, images: int) -> Timing:
        """Stored embeddings to answer, through the projector."""
        m = self.projector.config.tokens
        embeddings_ID = torch.randn(images, self.projector.config.dim)
        grid_I3 = torch.tensor([[1, 2, 2 * m]] * images, device=self.device)

        def see() -> Any:
            return image_outputs(self.projector(embeddings_ID.to(self.device)).to(self.dtype))

        with without_bars(import_transformers("Measuring")):
            return self._time(see, grid_I3, m)

    def _length(self, images: int, tokens: int) -> int:
        return images * (tokens + 2) + QUESTION_TOKENS

    def _time(self, see: Callable[[], Any], grid_I3: Tensor, tokens: int) -> Timing:
        config = self.model.config
        one = [config.vision_start_token_id, *[config.image_token_id] * tokens, config.vision_end_token_id]
        ids_1T = torch.tensor([one * len(grid_I3) + [1] * QUESTION_TOKENS], device=self.device)
        memory = PeakMemory(self.device)
        began = self._now()
        seen = see()
        vision = self._now()
        made = self.model(
            input_ids=ids_1T,
            image_grid_thw=grid_I3,
            mm_token_type_ids=(ids_1T == config.image_token_id).long(),
            mm_encoder_outputs={"image": seen},
            use_cache=True,
            logits_to_keep=1,
        )
        next_11 = made.logits[:, -1:].argmax(dim=-1)
        first = self._now()
        for _ in range(self.answer_tokens - 1):
            made = self.model(input_ids=next_11, past_key_values=made.past_key_values, use_cache=True)
            next_11 = made.logits[:, -1:].argmax(dim=-1)
        last = self._now()
        return Timing(
            prompt_tokens=ids_1T.shape[1],
            vision_s=vision - began,
            first_token_s=first - began,
            request_s=last - began,
            peak_bytes=memory.peak_bytes(),
        )

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


class PeakMemory:
    """The most memory that was held since this was made, above what was held then."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self._before: int | None = torch.cuda.memory_allocated(device)
        else:
            self._before = _reset_high_water()

    def peak_bytes(self) -> int | None:
        if self._before is None:
            return None
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) - self._before
        return max(0, _status_bytes("VmHWM") - self._before)


def free_bytes(device: torch.device) -> int | None:
    """Memory that can still be had; None where the system does not tell."""
    if device.type == "cuda":
        return (
            torch.cuda.mem_get_info(device)[0]
            + torch.cuda.memory_reserved(device)
            - torch.cuda.memory_allocated(device)
        )
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def random_model(shape: str, *, device: torch.device, dtype: torch.dtype) -> Any:
    """A published size with drawn weights, filled block by block: drawing every one of them would take minutes.

    Raises:
        UsageError: no such size.
        MissingExtraError: the extra `vlm` is missing.
    """
    transformers = import_transformers("Measuring a multimodal model")
    config = shape_config(shape)
    with torch.device("meta"):
        model = transformers.Qwen3VLForConditionalGeneration(config)
    model = model.to(dtype).to_empty(device=device).eval()
    model.tie_weights()
    block = (WEIGHT_STD * torch.randn(FILL, generator=torch.Generator().manual_seed(0))).to(device, dtype)
    with torch.no_grad():
        for parameter in model.parameters():
            _fill(parameter.view(-1), block) if parameter.ndim > 1 else parameter.fill_(1)
    for module in model.modules():
        if hasattr(module, "inv_freq"):
            model._init_weights(module.float())  # the rotary tables are no weights, and to_empty emptied them
    return model


def _fill(flat_N: Tensor, block: Tensor) -> None:
    whole = len(flat_N) // FILL * FILL
    flat_N[:whole].view(-1, FILL).copy_(block.expand(whole // FILL, FILL))
    flat_N[whole:].copy_(block[: len(flat_N) - whole])


def _reset_high_water() -> int | None:
    """Linux starts a new high-water mark of this process's memory when 5 is written here."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return None
    return _status_bytes("VmRSS")


def _status_bytes(name: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    return 0

"""What a request costs, counted from a config: operations of the vision tower and of the language model.

A multiplication and an addition count two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

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

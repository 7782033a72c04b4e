"""Floating-point operations of the vision tower and of the language model's prefill, from their configs.

A multiplication and an addition count two. Norms, activations, softmax and positions are left out: under 1 %.
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
    """The sizes of a Qwen3-VL vision tower that decide its cost; defaults as in transformers' Qwen3VLVisionConfig."""

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
            levels=len(vision_config.get("deepstack_visual_indexes", (8, 16, 24))),
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
        text_config: config.json's `text_config`, dense or MoE.
        tokens: T, the prompt's length.
    """
    hidden, layers = int(text_config["hidden_size"]), int(text_config["num_hidden_layers"])
    heads = int(text_config["num_attention_heads"])
    head = int(text_config.get("head_dim") or hidden // heads)
    kv_heads = int(text_config.get("num_key_value_heads") or heads)
    experts = int(text_config.get("num_experts") or text_config.get("num_local_experts") or 0)
    if experts:
        active = int(text_config["num_experts_per_tok"]) * 3 * hidden * int(text_config["moe_intermediate_size"])
        mlp = active + hidden * experts
    else:
        mlp = 3 * hidden * int(text_config["intermediate_size"])
    projections = 2 * hidden * heads * head + 2 * hidden * kv_heads * head
    per_layer = 2 * tokens * (projections + mlp) + 2 * tokens * tokens * heads * head
    return layers * per_layer + 2 * hidden * int(text_config["vocab_size"])

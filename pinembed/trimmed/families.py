"""The families of models that can be trimmed: the next one is a row here and a row in the tests' published forms.

What they share: a vision tower under `visual`, a language model under `language_model`, items in the place of the
tower's output (`mm_encoder_outputs`), and M-RoPE positions from a patch grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
LINEAR_ATTENTION = ("in_proj_qkv", "in_proj_z", "in_proj_b", "in_proj_a", "out_proj")
MLP = ("gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True, kw_only=True)
class Family:
    """One kind of checkpoint, as transformers and its config.json know it.

    Attributes:
        architecture: transformers' class, which config.json names.
        deepstack: indexes of the tower's layers that feed the language model's first layers, where config.json does
            not give them; empty for a family whose tower has one output alone.
        low_rank: the language model's linear layers that `align --lora` adapts.
        reads_single_experts: whether transformers reads experts that are stored one by one.
    """

    model_type: str
    name: str
    architecture: str
    deepstack: tuple[int, ...]
    low_rank: tuple[str, ...]
    reads_single_experts: bool = False

    @property
    def low_rank_layers(self) -> str:
        """Regular expression of the layers' complete names: all linear ones, as QLoRA (arXiv:2305.14314) has it."""
        return rf"model\.language_model\.layers\.\d+\..*\.({'|'.join(self.low_rank)})"


FAMILIES = (
    Family(
        model_type="qwen3_vl",
        name="Qwen3-VL",
        architecture="Qwen3VLForConditionalGeneration",
        deepstack=(8, 16, 24),
        low_rank=(*ATTENTION, *MLP),
    ),
    Family(
        model_type="qwen3_vl_moe",
        name="Qwen3-VL MoE",
        architecture="Qwen3VLMoeForConditionalGeneration",
        deepstack=(8, 16, 24),
        low_rank=(*ATTENTION, *MLP),
    ),
    Family(
        model_type="qwen3_5",
        name="Qwen3.5",
        architecture="Qwen3_5ForConditionalGeneration",
        deepstack=(),
        low_rank=(*ATTENTION, *LINEAR_ATTENTION, *MLP),
    ),
    Family(
        model_type="qwen3_5_moe",
        name="Qwen3.5 MoE",
        architecture="Qwen3_5MoeForConditionalGeneration",
        deepstack=(),
        low_rank=(*ATTENTION, *LINEAR_ATTENTION, *MLP),
        reads_single_experts=True,
    ),
)


def family_of(config: dict[str, Any]) -> Family | None:
    """The family that a config.json describes; None for one that cannot be trimmed."""
    return next((family for family in FAMILIES if family.model_type == config.get("model_type")), None)


STUB_SIDE = 4
STUB = {
    "depth": 1,
    "hidden_size": STUB_SIDE,
    "num_heads": 1,
    "intermediate_size": STUB_SIDE,
    "num_position_embeddings": 1,
    "patch_size": 2,
    "temporal_patch_size": 1,
    "in_channels": 1,
    "spatial_merge_size": 2,
}
"""The vision tower of a trimmed checkpoint: one block, since SGLang looks into the first; no picture fits it."""


def has_stub(vision_config: dict[str, Any]) -> bool:
    """Whether the tower is the stub that `trim` leaves."""
    return all(vision_config.get(name) == size for name, size in STUB.items())


def stub_shapes(out_hidden: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the stub's tensors, the same in all families.

    Args:
        out_hidden: width of the language model.

    Source: Qwen3VLVisionModel and Qwen3_5VisionModel of transformers 5.23.
    """
    side, merged = STUB_SIDE, STUB_SIDE * 2**2
    linear = {
        "blocks.0.attn.qkv": (3 * side, side),
        "blocks.0.attn.proj": (side, side),
        "blocks.0.mlp.linear_fc1": (side, side),
        "blocks.0.mlp.linear_fc2": (side, side),
        "merger.linear_fc1": (merged, merged),
        "merger.linear_fc2": (out_hidden, merged),
        "patch_embed.proj": (side, 1, 1, 2, 2),
    }
    norms = ("blocks.0.norm1", "blocks.0.norm2", "merger.norm")
    return {
        "pos_embed.weight": (1, side),
        **{f"{name}.weight": shape for name, shape in linear.items()},
        **{f"{name}.bias": shape[:1] for name, shape in linear.items()},
        **{f"{name}.{part}": (side,) for name in norms for part in ("weight", "bias")},
    }

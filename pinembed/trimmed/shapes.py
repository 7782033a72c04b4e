"""The published Qwen3-VL sizes as configurations, for measurements that need no weights.

Source: config.json of Qwen/Qwen3-VL-2B-Instruct, -4B-Instruct and -8B-Instruct.
"""

from __future__ import annotations

from typing import Any

from pinembed.errors import UsageError
from pinembed.trimmed.imports import import_transformers

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

"""What trimming a checkpoint removed and kept."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ParityCheck:
    """One comparison of the trimmed model with the full one, fed the same soft tokens and zero DeepStack levels.

    Attributes:
        name: `one item`, `two items`, `left-padded batch` or `beams`.
        max_difference: greatest absolute difference of two logits; 0 for texts that are equal.
        equal: within the tolerance, and for beams the same text.
    """

    name: str
    max_difference: float
    equal: bool


@dataclass(frozen=True, kw_only=True)
class TrimReport:
    """Result of `pinembed trim`.

    Attributes:
        model: the checkpoint that was read.
        out: the folder that was written.
        model_type: `qwen3_vl` or `qwen3_vl_moe`.
        parameters: of the checkpoint.
        parameters_removed: of the vision tower.
        parameters_kept: of the language model.
        size_bytes: of the checkpoint's weight files.
        size_bytes_removed: by how much the new weight files are smaller.
        image_px: side of the square image that the next two speak of.
        tokens_per_image: language-model tokens that such an image took.
        vision_flops_per_image: operations of the tower that fall away with it.
        vision_flops_formula: how they are counted.
        files: how many weight files were written.
        parity: checks against the full model; empty unless asked for.
        seconds: of the whole run.
    """

    model: str
    out: str
    model_type: str
    parameters: int
    parameters_removed: int
    parameters_kept: int
    size_bytes: int
    size_bytes_removed: int
    image_px: int
    tokens_per_image: int
    vision_flops_per_image: int
    vision_flops_formula: str
    files: int
    parity: tuple[ParityCheck, ...]
    seconds: float

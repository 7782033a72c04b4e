"""Quantised checkpoints: FP8 in blocks is read as Qwen publishes it, everything else is refused before any work."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pinembed.errors import ModelError
from pinembed.trimmed.shards import FLOAT_BYTES, StoredTensor

FP8 = "fp8"
FP8_DTYPE = "F8_E4M3"
SCALE = "_scale_inv"
OTHER_CONFIGS = ("quantize_config.json", "quant_config.json", "hf_quant_config.json")  # GPTQ's, AWQ's and ModelOpt's


def quantisation(config: dict[str, Any]) -> str | None:
    """The method that config.json names, in any of the places where tools write it; None for plain weights."""
    for part in (config, config.get("text_config") or {}):
        for key in ("quantization_config", "quantization", "compression_config"):  # the second is MLX's
            stored = part.get(key)
            if isinstance(stored, dict) and stored:
                return str(stored.get("quant_method") or ("mlx" if "bits" in stored else "an unnamed method")).lower()
    return None


def check_quantisation(config: dict[str, Any], tensors: Sequence[StoredTensor], folder: Path) -> None:
    """Pass plain weights, and FP8 matrices with their scales in blocks.

    Experts that are stored in one tensor of three axes are none: transformers 5.23 reads those without their scales.

    Raises:
        ModelError: any other quantisation; names the method, or a tensor that shows it.
    """
    method = quantisation(config)
    wanted = f"{folder} holds weights quantised by {{}}; wanted BF16, FP16 or FP32 ones, or FP8 in blocks."
    remedy = "Give the checkpoint that it was made from, and quantise the aligned model with your server's tool."
    if method is None:
        found = next((name for name in OTHER_CONFIGS if (folder / name).is_file()), None) or _odd(tensors, plain=True)
        if found is not None:
            raise ModelError(wanted.format(f"a method that config.json does not name (see {found})"), remedy=remedy)
    elif method != FP8 or not isinstance((config.get("quantization_config") or {}).get("weight_block_size"), list):
        raise ModelError(wanted.format(method if method != FP8 else "fp8 without blocks"), remedy=remedy)
    elif (found := _odd(tensors, plain=False)) is not None:
        raise ModelError(wanted.format(f"fp8, without a scale or of another type in {found}"), remedy=remedy)
    elif fused := [tensor.name for tensor in tensors if tensor.dtype == FP8_DTYPE and len(tensor.shape) != 2]:
        raise ModelError(wanted.format(f"fp8, with all experts in one tensor in {fused[0]}"), remedy=remedy)


def _odd(tensors: Sequence[StoredTensor], *, plain: bool) -> str | None:
    """The first tensor that neither plain weights nor, unless `plain`, FP8 ones with a scale beside them hold."""
    names = {tensor.name for tensor in tensors}
    return next(
        (
            tensor.name
            for tensor in tensors
            if tensor.dtype not in FLOAT_BYTES
            and (plain or tensor.dtype != FP8_DTYPE or tensor.name + SCALE not in names)
        ),
        None,
    )


def keep_stub_plain(config: dict[str, Any], layers: Sequence[str]) -> None:
    """Add the stub's linear layers to those that a quantised config leaves in floating point; their weights are.

    Args:
        config: of the trimmed checkpoint, changed in place.
        layers: complete names.
    """
    if quantisation(config) is not None:
        stored = config["quantization_config"]
        stored["modules_to_not_convert"] = sorted({*(stored.get("modules_to_not_convert") or ()), *layers})

"""A trained language model written as its checkpoint was: the same files, names, layouts, types and order of tensors.

Transformers holds some tensors in another layout than the published one (experts transposed, or fused into one), all of
them in one type, and a few not at all. So the written files follow the base's headers: what did not change is copied
byte by byte, what did is brought into the base's layout and type.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from pinembed.errors import ModelError
from pinembed.trimmed.checkpoint import Checkpoint, write_index
from pinembed.trimmed.shards import EXPERT, Shard, StoredTensor, stored_bytes, write_shard

HALVES = {"gate_proj": 0, "up_proj": 1}


def check_can_learn(checkpoint: Checkpoint) -> None:
    """Refuse to train a language model whose weights are no numbers that can move.

    Raises:
        ModelError: the checkpoint is quantised.
    """
    if checkpoint.is_quantised:
        raise ModelError(
            f"{checkpoint.folder} holds quantised weights, which cannot learn.",
            remedy="Train the projector alone (--freeze-language-model), or give the checkpoint in BF16.",
        )


def check_can_write_back(checkpoint: Checkpoint, model: Any) -> None:
    """Look for a place for every weight of the language model, before any of it learns.

    Raises:
        ModelError: the checkpoint holds a weight in an unknown layout.
    """
    weights = model.state_dict()
    placed = {
        name
        for tensor in checkpoint.tensors
        for name in [_source(tensor, weights)]
        if name is not None and _in_layout(tensor, weights[name]) is not None
    }
    lacking = [
        name
        for name, _ in model.named_parameters()  # a tied head is not among them
        if not name.startswith("model.visual.") and name not in placed
    ]
    if lacking:
        raise ModelError(
            f"{checkpoint.folder} holds {len(lacking)} weight(s) in a layout that cannot be written back, "
            f"among them {lacking[0]}.",
            remedy="Train the projector alone (--freeze-language-model), or give the checkpoint as it is published.",
        )


def write_back(checkpoint: Checkpoint, folder: Path, model: Any) -> None:
    """Write the checkpoint's weight files and their index with the model's weights in them."""
    weights: dict[str, Tensor] = model.state_dict()
    for shard in checkpoint.shards:
        with safe_open(shard.path, framework="pt") as stored:
            write_shard(folder / shard.path.name, shard.tensors, _content(shard, stored, weights))
    write_index(folder, checkpoint.shards)


def _content(shard: Shard, stored: Any, weights: Mapping[str, Tensor]) -> Callable[[StoredTensor], Iterable[bytes]]:
    def content(tensor: StoredTensor) -> Iterable[bytes]:
        name = _source(tensor, weights)
        learned = None if name is None else _in_layout(tensor, weights[name])
        if learned is None:
            return stored_bytes(shard.path, tensor)
        before = stored.get_tensor(tensor.name)
        if torch.equal(before.to(learned.dtype), learned.cpu()):
            return stored_bytes(shard.path, tensor)
        raw = learned.detach().cpu().to(before.dtype).contiguous().reshape(-1).view(torch.uint8)
        return [raw.numpy().tobytes()]

    return content


def _source(tensor: StoredTensor, weights: Mapping[str, Tensor]) -> str | None:
    """The model's name for a stored tensor; None for one that the model has no use for, as those of `mtp`."""
    expert = EXPERT.fullmatch(tensor.name)
    plain = tensor.name if expert is None else f"{expert['experts']}.{_fused(expert['part'])}"
    return next((name for name in (plain, f"model.{plain}") if name in weights), None)


def _fused(part: str) -> str:
    return "gate_up_proj" if part in HALVES else part


def _in_layout(tensor: StoredTensor, weight: Tensor) -> Tensor | None:
    """The model's weight in the layout of the stored tensor; None where no known change leads there."""
    expert = EXPERT.fullmatch(tensor.name)
    if expert is not None:
        weight = weight[int(expert["number"])]
        weight = weight.chunk(2)[HALVES[expert["part"]]] if expert["part"] in HALVES else weight
    if tuple(weight.shape) != tensor.shape and weight.ndim == 3:
        weight = weight.transpose(1, 2)  # Qwen3-VL's experts
    return weight if tuple(weight.shape) == tensor.shape else None

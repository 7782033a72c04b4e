"""A Qwen3-VL checkpoint without its vision tower, made by copying bytes: no tensor is ever in memory as a whole.

The tower's class stays in the architecture, so the trimmed checkpoint keeps a stub of depth 0 (a few thousand zeros)
in its place. Stock transformers then reloads it with no missing and no unexpected key; a checkpoint with the tower's
keys simply left out would get a whole tower of random weights at reload. `compare` shows that both models say the same.
"""

from __future__ import annotations

import copy
import gc
import json
import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from pinembed.errors import ModelError
from pinembed.reports.trimmed import ParityCheck
from pinembed.trimmed.checkpoint import INDEX_NAME, SINGLE_NAME, Checkpoint, Shard, StoredTensor, write_json
from pinembed.trimmed.model import TrimmedModel, load_parts
from pinembed.trimmed.projector import new_projector

COPY_BYTES = 16 << 20
STUB_SIDE = 4
TEXT_SUFFIXES = frozenset({".json", ".jinja", ".md", ".model", ".tiktoken", ".txt"})
TEXT_NAMES = ("LICENSE", "LICENCE", "NOTICE", "COPYING")
NOT_CARRIED = frozenset({"config.json", INDEX_NAME, "pinembed.json", "projector_config.json"})
MAX_TEXT_BYTES = 64 << 20
ITEM_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}

Copied = Callable[[int], None]


def trim_checkpoint(checkpoint: Checkpoint, folder: Path, *, copied: Copied = lambda size_bytes: None) -> None:
    """Write the checkpoint without its vision tower; `copied` is called with the bytes of every finished tensor.

    Raises:
        ModelError: the checkpoint has no tower to remove.
    """
    if checkpoint.is_trimmed:
        raise ModelError(
            f"{checkpoint.folder} has a vision tower of depth 0: it is trimmed already.",
            remedy="Use it as it is with `pinembed align` or `pinembed ask`.",
        )
    config = trimmed_config(checkpoint.config)
    write_json(folder / "config.json", config)
    carry_texts(checkpoint.folder, folder)
    kept = [(shard, [t for t in shard.tensors if not t.is_vision]) for shard in checkpoint.shards]
    kept = [(shard, tensors) for shard, tensors in kept if tensors]
    vision = next(tensor for tensor in checkpoint.tensors if tensor.is_vision)
    stub = stub_tensors(config, prefix=vision.name[: vision.name.index("visual.")], dtype=_weights_dtype(checkpoint))
    weight_map: dict[str, str] = {}
    for position, (shard, tensors) in enumerate(kept, start=1):
        name = SINGLE_NAME if len(kept) == 1 else f"model-{position:05d}-of-{len(kept):05d}.safetensors"
        extra = stub if position == 1 else []
        _write_shard(folder / name, shard, tensors, extra, copied)
        weight_map.update({tensor.name: name for tensor in (*tensors, *extra)})
    if len(kept) > 1:
        total = sum(tensor.size_bytes for _, tensors in kept for tensor in tensors) + sum(t.size_bytes for t in stub)
        index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
        write_json(folder / INDEX_NAME, index)


def trimmed_config(config: dict[str, Any]) -> dict[str, Any]:
    """The config with a vision tower of depth 0; everything else as it was."""
    trimmed = copy.deepcopy(config)
    trimmed["vision_config"].update(
        depth=0,
        deepstack_visual_indexes=[],
        hidden_size=STUB_SIDE,
        num_heads=1,
        intermediate_size=STUB_SIDE,
        num_position_embeddings=1,
        patch_size=2,
        temporal_patch_size=1,
        in_channels=1,
        spatial_merge_size=2,
        out_hidden_size=trimmed["text_config"]["hidden_size"],
    )
    return trimmed


def stub_tensors(config: dict[str, Any], *, prefix: str, dtype: str) -> list[StoredTensor]:
    """What the architecture asks for at depth 0; offsets are set when they are written.

    Source: Qwen3VLVisionModel and Qwen3VLVisionPatchMerger of transformers 5.23.
    """
    vision = config["vision_config"]
    side, merged = STUB_SIDE, STUB_SIDE * vision["spatial_merge_size"] ** 2
    shapes: dict[str, tuple[int, ...]] = {
        "patch_embed.proj.weight": (side, 1, 1, 2, 2),
        "patch_embed.proj.bias": (side,),
        "pos_embed.weight": (1, side),
        "merger.norm.weight": (side,),
        "merger.norm.bias": (side,),
        "merger.linear_fc1.weight": (merged, merged),
        "merger.linear_fc1.bias": (merged,),
        "merger.linear_fc2.weight": (vision["out_hidden_size"], merged),
        "merger.linear_fc2.bias": (vision["out_hidden_size"],),
    }
    return [
        StoredTensor(
            name=f"{prefix}visual.{name}",
            dtype=dtype,
            shape=shape,
            start=0,
            size_bytes=math.prod(shape) * ITEM_BYTES[dtype],
        )
        for name, shape in shapes.items()
    ]


def carry_texts(source: Path, folder: Path) -> list[str]:
    """Copy tokenizer, chat template, generation and processor configs, licence and readme; returns their names."""
    names = sorted(
        path.name
        for path in source.iterdir()
        if path.is_file()
        and path.name not in NOT_CARRIED
        and not path.name.startswith(".")
        and (path.suffix.lower() in TEXT_SUFFIXES or path.name.upper().startswith(TEXT_NAMES))
        and path.stat().st_size <= MAX_TEXT_BYTES
    )
    for name in names:
        shutil.copyfile(source / name, folder / name)
    return names


def _weights_dtype(checkpoint: Checkpoint) -> str:
    """The type of the token embeddings: quantised checkpoints keep those in a floating-point type."""
    for tensor in checkpoint.tensors:
        if tensor.name.endswith("embed_tokens.weight") and tensor.dtype in ITEM_BYTES:
            return tensor.dtype
    raise ModelError(
        f"{checkpoint.folder} has no floating-point embed_tokens.weight; wanted a language model beside the tower.",
        remedy="Give the whole checkpoint as Qwen publishes it.",
    )


def _write_shard(
    path: Path, shard: Shard, kept: Sequence[StoredTensor], stub: Sequence[StoredTensor], copied: Copied
) -> None:
    """One safetensors file: header, the kept tensors' bytes as they are, the stub's zeros."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for tensor in (*kept, *stub):
        span = [end, end + tensor.size_bytes]
        header[tensor.name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": span}
        end += tensor.size_bytes
    header_bytes = json.dumps(header, separators=(",", ":")).encode()
    header_bytes += b" " * (-len(header_bytes) % 8)  # the format aligns the tensors to 8 bytes
    with shard.path.open("rb") as read, path.open("wb") as write:
        write.write(len(header_bytes).to_bytes(8, "little") + header_bytes)
        for tensor in kept:
            _copy_bytes(read, write, tensor)
            copied(tensor.size_bytes)
        for tensor in stub:
            write.write(bytes(tensor.size_bytes))


def _copy_bytes(read: BinaryIO, write: BinaryIO, tensor: StoredTensor) -> None:
    read.seek(tensor.start)
    left = tensor.size_bytes
    while left:
        block = read.read(min(left, COPY_BYTES))
        if not block:
            raise ModelError(f"{read.name} ended inside {tensor.name}.", remedy="Download the file again.")
        write.write(block)
        left -= len(block)


DIM, TOKENS, NEW_TOKENS = 8, 4, 8
TOLERANCE = 1e-3
QUESTIONS = ("What is this?", "Which of the two is larger, and what tells you so?")


def compare(full: Path, trimmed: Path) -> tuple[ParityCheck, ...]:
    """Run one item, two items, a left-padded batch and beams through both, one model in memory at a time.

    Raises:
        ModelError: a folder cannot be loaded.
    """
    logits_full, text_full = _answers(full)
    logits_trimmed, text_trimmed = _answers(trimmed)
    differences = [
        float((a - b).abs().max()) for a, b in zip(logits_full.values(), logits_trimmed.values(), strict=True)
    ]
    checks = [
        ParityCheck(name=name, max_difference=difference, equal=difference <= TOLERANCE)
        for name, difference in zip(logits_full, differences, strict=True)
    ]
    return (*checks, ParityCheck(name="beams", max_difference=0.0, equal=text_full == text_trimmed))


def _answers(folder: Path) -> tuple[dict[str, Tensor], list[str]]:
    model, writer = load_parts(folder)
    probe = TrimmedModel(model, writer)
    probe.projector = new_projector(
        dim=DIM, tokens=TOKENS, token_embeddings_VH=probe.token_embeddings_VH, encoder_fingerprint="parity", seed=0
    ).eval()
    rows_ID = torch.randn(3, DIM, generator=torch.Generator().manual_seed(0))
    one, two = rows_ID[:1], rows_ID[1:]
    cases: dict[str, tuple[Sequence[str], list[Tensor]]] = {
        "one item": (QUESTIONS[:1], [one]),
        "two items": (QUESTIONS[1:], [two]),
        "left-padded batch": (QUESTIONS, [one, two]),
    }
    logits = {name: probe.logits(questions, items) for name, (questions, items) in cases.items()}
    text = probe.generate(QUESTIONS, [one, two], max_new_tokens=NEW_TOKENS, beams=2)
    del probe, model
    gc.collect()
    return logits, text

"""A checkpoint without its vision tower, made by copying bytes: no tensor is ever in memory as a whole.

The tower's class stays in the architecture, so the trimmed checkpoint keeps a stub of one tiny block, all zeros, in its
place. Stock transformers then reloads it with no missing and no unexpected key; a checkpoint with the tower's keys
simply left out would get a whole tower of random weights at reload. `compare` shows that both models say the same.
"""

from __future__ import annotations

import copy
import gc
import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pinembed.errors import ModelError
from pinembed.reports.trimmed import ParityCheck
from pinembed.trimmed.checkpoint import SINGLE_NAME, Checkpoint, write_index, write_json
from pinembed.trimmed.families import STUB, Family, stub_shapes
from pinembed.trimmed.model import TrimmedModel, load_parts
from pinembed.trimmed.projector import new_projector
from pinembed.trimmed.quantised import keep_stub_plain
from pinembed.trimmed.shards import FLOAT_BYTES, Shard, StoredTensor, stored_bytes, write_shard

TEXT_SUFFIXES = frozenset({".json", ".jinja", ".md", ".model", ".tiktoken", ".txt"})
TEXT_NAMES = ("LICENSE", "LICENCE", "NOTICE", "COPYING")
NOT_CARRIED = frozenset({"config.json", "pinembed.json", "projector_config.json"})
INDEX_SUFFIX = ".index.json"  # of weights in any format; those that are written get one of their own
MAX_TEXT_BYTES = 64 << 20

Copied = Callable[[int], None]


def trim_checkpoint(checkpoint: Checkpoint, folder: Path, *, copied: Copied = lambda size_bytes: None) -> None:
    """Write the checkpoint without its vision tower; `copied` is called with the bytes of every finished tensor.

    Raises:
        ModelError: the checkpoint has no tower to remove.
    """
    if checkpoint.is_trimmed:
        raise ModelError(
            f"{checkpoint.folder} has a stub for a vision tower: it is trimmed already.",
            remedy="Use it as it is with `pinembed align` or `pinembed ask`.",
        )
    vision = next(tensor for tensor in checkpoint.tensors if tensor.is_vision)
    tower = vision.name[: vision.name.index("visual.")] + "visual."
    config = trimmed_config(checkpoint.config, checkpoint.family)
    stub = stub_tensors(config, tower=tower, dtype=checkpoint.token_dtype)
    keep_stub_plain(config, [tensor.name.removesuffix(".weight") for tensor in stub if len(tensor.shape) == 2])
    write_json(folder / "config.json", config)
    carry_texts(checkpoint.folder, folder)
    kept = [(shard, [t for t in shard.tensors if not t.is_vision]) for shard in checkpoint.shards]
    kept = [(shard, tensors) for shard, tensors in kept if tensors]
    written: list[Shard] = []
    for position, (shard, tensors) in enumerate(kept, start=1):
        name = SINGLE_NAME if len(kept) == 1 else f"model-{position:05d}-of-{len(kept):05d}.safetensors"
        every = (*tensors, *stub) if position == 1 else tuple(tensors)
        write_shard(folder / name, every, _content(shard, {tensor.name for tensor in tensors}, copied))
        written.append(Shard(path=folder / name, tensors=every))
    write_index(folder, written)


def trimmed_config(config: dict[str, Any], family: Family) -> dict[str, Any]:
    """The config with the stub for a vision tower; everything else as it was."""
    trimmed = copy.deepcopy(config)
    trimmed["architectures"] = [family.architecture]
    trimmed["vision_config"].update(
        STUB, deepstack_visual_indexes=[], out_hidden_size=trimmed["text_config"]["hidden_size"]
    )
    return trimmed


def stub_tensors(config: dict[str, Any], *, tower: str, dtype: str) -> list[StoredTensor]:
    """What the architecture asks for in the place of the tower; offsets are set when they are written.

    Args:
        config: of the trimmed checkpoint.
        tower: what the names of its tensors begin with.
        dtype: safetensors' name of a floating-point type.
    """
    return [
        StoredTensor(
            name=tower + name, dtype=dtype, shape=shape, start=0, size_bytes=math.prod(shape) * FLOAT_BYTES[dtype]
        )
        for name, shape in stub_shapes(config["vision_config"]["out_hidden_size"]).items()
    ]


def carry_texts(source: Path, folder: Path) -> list[str]:
    """Copy tokenizer, chat template, generation and processor configs, licence and readme; returns their names."""
    names = sorted(
        path.name
        for path in source.iterdir()
        if path.is_file()
        and path.name not in NOT_CARRIED
        and not path.name.startswith(".")
        and not path.name.endswith(INDEX_SUFFIX)
        and (path.suffix.lower() in TEXT_SUFFIXES or path.name.upper().startswith(TEXT_NAMES))
        and path.stat().st_size <= MAX_TEXT_BYTES
    )
    for name in names:
        shutil.copyfile(source / name, folder / name)
    return names


def _content(shard: Shard, kept: set[str], copied: Copied) -> Callable[[StoredTensor], Iterator[bytes]]:
    """The kept tensors' bytes as they are, the stub's zeros."""

    def content(tensor: StoredTensor) -> Iterator[bytes]:
        if tensor.name not in kept:
            yield bytes(tensor.size_bytes)
            return
        yield from stored_bytes(shard.path, tensor)
        copied(tensor.size_bytes)

    return content


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

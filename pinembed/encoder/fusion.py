"""Item vectors: the normalised weighted mean of an image embedding and of the embeddings of texts from the metadata.

Shape legend: N items, F fused fields, D embedding floats.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pinembed.errors import EncoderError, UsageError
from pinembed.nouns.encoder_spec import Fusion, make_fusion
from pinembed.settings.option import names_in

FUSION_NAME = "pinembed_fusion.json"
SHORTEST = 1e-3
"""A sum this short has no direction to speak of: image and texts point to opposite sides."""

Floats = NDArray[np.float32]


def fuse(image_ND: Floats, text_FND: Floats, image_weight: float, text_weights: Sequence[float]) -> Floats:
    """One unit vector an item.

    A missing text is a row of zeros: it adds nothing, and as the sum is normalised, that is the mean over what the item
    has, with the weights brought to the sum 1. An item without any text gets its image embedding.

    Args:
        image_ND: rows of L2 norm 1.
        text_FND: rows of L2 norm 1, or zeros where an item lacks the field.
        image_weight: positive.
        text_weights: F positive numbers.

    Returns:
        (N, D) float32, each row of L2 norm 1.
    Source: Zhu et al. 2024, Generalized contrastive learning for multi-modal retrieval and ranking, arXiv:2404.08535.
    """
    weights_F = np.asarray(text_weights, dtype=np.float32)
    sum_ND = np.float32(image_weight) * image_ND + np.tensordot(weights_F, text_FND, axes=1)
    norm_N1 = np.linalg.norm(sum_ND, axis=1, keepdims=True)
    is_long_N1 = norm_N1 >= SHORTEST
    return np.where(is_long_N1, sum_ND / np.where(is_long_N1, norm_N1, 1), image_ND).astype(np.float32)


def read_fusion(folder: Path) -> Fusion | None:
    """The fusion of an encoder folder; None where its items are their images.

    Raises:
        EncoderError: the file is damaged.
    """
    path = folder / FUSION_NAME
    try:
        return Fusion.from_json(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise EncoderError(
            f"{path} holds no weights of a fusion: {error}.",
            remedy='Write {"image": 0.9, "fields": [{"name": "title", "weight": 0.1, "template": "{}"}]}, '
            "or remove the file for vectors of the image alone.",
        ) from error


def write_fusion(folder: Path, fusion: Fusion | None) -> None:
    """Store a fusion beside the weights; None leaves none there."""
    if fusion is None:
        (folder / FUSION_NAME).unlink(missing_ok=True)
    else:
        (folder / FUSION_NAME).write_text(json.dumps(asdict(fusion), indent=1) + "\n", encoding="utf-8")


def parse_fusion(words: str) -> Fusion:
    """`image=.9,title=.1` as it is typed.

    Raises:
        UsageError: it cannot be meant.
    """
    try:
        pairs = [part.split("=") for part in names_in(words)]
        weights = {name.strip(): float(weight) for name, weight in pairs}
        if len(weights) != len(pairs):
            raise ValueError("a name occurs twice")
        return make_fusion(weights)
    except ValueError as error:
        raise UsageError(
            f"--fusion {words!r} cannot be read: {error}.",
            remedy="Give auto, off, or weights such as image=.9,title=.1.",
        ) from error
